"""A round of placement: who tries, what is proposed, why the others wait."""

from dataclasses import replace
from typing import Any

from support.shapes import NOW, a_job, a_shape, an_instance, placed, resources

from longshore.domain.catalogue import Catalogue, local_types
from longshore.domain.fair_share import Ledger, SharePolicy, Usage
from longshore.domain.placing import round as placing_round
from longshore.domain.placing.parking import Parking
from longshore.domain.placing.round import Ground
from longshore.domain.placing.shapes import Shape
from longshore.domain.placing.waiting import CapacityShortage, EnvironmentFacts, Supply, Why

CATALOGUE = Catalogue(local_types(vcpus=16, memory_mib=16_384, gpus=0, architecture="x86_64"))


def a_ground(*shapes: Shape, **facts: Any) -> Ground:
    """One queue on one environment; one job of each shape is RUNNABLE."""
    usual: dict[str, Any] = {"managed": True, "enabled": True, "valid": True, "maxv_cpus": 64}
    environment = EnvironmentFacts("ce", instance_types=("local",), **usual | facts)
    return Ground(
        {shape.shape_id: shape for shape in shapes},
        {shape.shape_id: 1 for shape in shapes},
        {"q": (1, [environment])},
        CATALOGUE,
        Supply(),
    )


def test_what_found_no_room_tries_again_once_room_is_freed() -> None:
    large, small = a_shape(1, vcpus=8), a_shape(2, vcpus=1)
    ground, parking = a_ground(large, small), Parking()
    assert placing_round.begin(ground, parking, NOW) == {"q": [1, 2]}
    heads = {"q": (a_job(large, 1), a_job(small, 2))}
    rooms = (an_instance("i-0", vcpus=4),)
    proposal = placing_round.propose(ground, parking, heads, {}, rooms, NOW, 0)
    assert placed(proposal) == [(2, -1, "i-0")]
    parking.take_in(proposal, ground.runnable)
    assert placing_round.begin(ground, parking, NOW, [(resources(4), True)]) == {"q": [2]}
    assert placing_round.begin(ground, parking, NOW, [(resources(8), True)]) == {"q": [1, 2]}


def test_a_shape_of_a_queue_that_is_gone_does_not_try() -> None:
    gone = a_shape(3, queue="gone")
    assert placing_round.hungry(a_ground(a_shape(1), gone), Parking()) == {"q": [1]}


def test_nothing_is_placed_where_the_environment_is_disabled() -> None:
    shape = a_shape(1)
    ground, parking = a_ground(shape, enabled=False), Parking()
    rooms = (an_instance("i-0", vcpus=4),)
    proposal = placing_round.propose(ground, parking, {"q": (a_job(shape),)}, {}, rooms, NOW, 0)
    assert not proposal.placements
    seen = placing_round.look(ground, proposal.unplaced, rooms)
    (wait,) = placing_round.waits(ground, proposal.unplaced, seen).values()
    assert wait.why is Why.DISABLED


def test_nothing_is_gathered_for_what_can_never_be() -> None:
    nodes, many = a_shape(1, vcpus=2, nodes=2), a_shape(2, vcpus=16, nodes=5)
    assert a_ground(nodes, many).hopeless([1, 2]) == {2}
    assert not a_ground(nodes, many).hopeless([1])


def test_news_of_orders_let_all_try_again_where_instances_are_held_for_nodes() -> None:
    nodes, other = a_shape(1, nodes=2), a_shape(2)
    short = CapacityShortage(
        "local.host", "", "ON_DEMAND", "INSUFFICIENT_INSTANCE_CAPACITY", NOW, NOW
    )
    shapes, parking = a_ground(nodes, other).shapes, Parking()
    parking.parked = {2: _waiting(2)}
    parking.held = {1}
    assert not placing_round.see_supply(parking, shapes, Supply(), Supply())
    assert parking.parked
    assert placing_round.see_supply(parking, shapes, Supply(), Supply((short,)))
    assert not parking.parked


def a_shared_ground(*shapes: Shape, running_vcpus: float = 0, reservation: int = 0) -> Ground:
    """The same queue with a policy; share `a` uses so many of its 64 vCPUs."""
    usage = Usage(NOW, running_milli=int(running_vcpus * 1000), used_at=NOW)
    return replace(
        a_ground(*shapes),
        policies={"q": SharePolicy(compute_reservation=reservation)},
        ledger=Ledger({("q", "a"): usage}),
    )


def test_among_shares_it_is_the_turn_of_whom_uses_less() -> None:
    a, b = a_shape(1, vcpus=2, share="a"), a_shape(2, vcpus=2, share="b")
    ground, parking = a_shared_ground(a, b, running_vcpus=8), Parking()
    trying = placing_round.begin(ground, parking, NOW)
    turn = placing_round.turns(ground, parking, trying, NOW)["q"]
    assert list(turn.shape_ids) == [2, 1]
    assert turn.usable_milli is None
    heads, sharing = {"q": (a_job(a, 1), a_job(b, 2))}, {"q": turn.sharing(frozenset())}
    rooms = (an_instance("i-0", vcpus=2),)
    proposal = placing_round.propose(ground, parking, heads, sharing, rooms, NOW, 0)
    assert placed(proposal) == [(2, -1, "i-0")]


def test_a_queue_in_which_nothing_waits_has_no_turn() -> None:
    ground = replace(a_shared_ground(), policies={"q": SharePolicy(), "other": SharePolicy()})
    assert not placing_round.turns(ground, Parking(), {}, NOW)


def test_what_is_reserved_is_said_and_tried_again_once_it_is_not() -> None:
    shape, parking = a_shape(1, vcpus=8, share="a"), Parking()
    ground = a_shared_ground(shape, running_vcpus=32, reservation=50)
    rooms = (an_instance("i-0", vcpus=32),)
    trying = placing_round.begin(ground, parking, NOW)
    turn = placing_round.turns(ground, parking, trying, NOW)["q"]
    assert turn.usable_milli == 0
    sharing, heads = {"q": turn.sharing(frozenset())}, {"q": (a_job(shape),)}
    proposal = placing_round.propose(ground, parking, heads, sharing, rooms, NOW, 0)
    assert (proposal.placements, proposal.reserved) == ([], {1})
    seen = placing_round.look(ground, [1], rooms, proposal.reserved)
    assert placing_round.waits(ground, [1], seen)[1].lacking.is_reserved
    parking.take_in(proposal, ground.runnable)
    assert not placing_round.begin(ground, parking, NOW)
    less = a_shared_ground(shape, running_vcpus=24, reservation=50)
    assert placing_round.begin(less, parking, NOW) == {"q": [1]}


def test_what_is_alike_is_looked_at_once_whosever_it_is() -> None:
    a, b, other = a_shape(1, share="a"), a_shape(2, share="b"), a_shape(3, vcpus=2, share="a")
    ground = a_shared_ground(a, b, other)
    seen = placing_round.look(ground, [1, 2, 3], (an_instance("i-0", vcpus=4, free=0),))
    assert seen[1] is seen[2]
    assert seen[1] is not seen[3]
    waits = placing_round.waits(ground, [1, 2, 3], seen)
    assert waits[1] is waits[2]


def _waiting(shape_id: int) -> Any:
    return placing_round.propose(
        a_ground(a_shape(shape_id)), Parking(), {"q": (a_job(a_shape(shape_id)),)}, {}, (), NOW, 0
    ).unplaced[shape_id]
