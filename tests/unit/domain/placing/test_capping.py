"""Caps of arrays and queues: what they hold back, what goes ahead of that, and what is said."""

import random
import uuid
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.shapes import (
    NOW,
    a_job,
    a_queue,
    a_shape,
    a_snapshot,
    an_array,
    an_instance,
    instances,
    placed,
)

from longshore.domain.catalogue import Catalogue, local_types
from longshore.domain.fair_share import Standing
from longshore.domain.placing import round as placing_round
from longshore.domain.placing import words
from longshore.domain.placing.capping import ANY, Caps, Running
from longshore.domain.placing.parking import Parking
from longshore.domain.placing.plan import HOLD_AFTER, plan
from longshore.domain.placing.round import Ground
from longshore.domain.placing.shapes import (
    PlacingSnapshot,
    Plan,
    QueueEntry,
    QueueSharing,
    Shape,
    Waiting,
)
from longshore.domain.placing.waiting import EnvironmentFacts, Supply

LONG = HOLD_AFTER + timedelta(seconds=1)
CAPPED = a_shape(1, max_running=3)
OTHER = a_shape(2)
CATALOGUE = Catalogue(local_types(vcpus=16, memory_mib=16_384, gpus=0, architecture="x86_64"))


def by_shape(proposal: Plan) -> dict[int, int]:
    return dict(Counter(p.entry.shape_id for p in proposal.placements))


def of_arrays(snapshot: PlacingSnapshot, **left: int) -> PlacingSnapshot:
    """With what caps of arrays leave, as `s1=2`."""
    return replace(snapshot, left_of_arrays={int(name[1:]): n for name, n in left.items()})


# ---------------------------------------------------------------- a plan


def test_a_capped_array_at_the_head_holds_nobody_up() -> None:
    entries = an_array(CAPPED, 1, end=10, waited=LONG), an_array(OTHER, 2, end=4)
    snapshot = a_snapshot([CAPPED, OTHER], instances(1, vcpus=8), *entries)
    proposal = plan(of_arrays(snapshot, s1=2), NOW, 0)
    assert by_shape(proposal) == {1: 2, 2: 4}
    # It waits for no room, so no instance is held for it.
    assert (proposal.unplaced, proposal.held, proposal.partial) == ({}, set(), False)


def test_children_that_grew_are_of_the_same_array() -> None:
    """Another shape of it, and one cap for both."""
    array = uuid.UUID(int=7)
    grown, others = (replace(a_shape(n, max_running=3), array_job=array) for n in (1, 2))
    entries = an_array(grown, 1, end=2), an_array(others, 2, end=9)
    running = Running()
    running.count(array, "q", 1)
    left = {array: Caps(running=running).of_array(others)}
    snapshot = a_snapshot([grown, others], instances(1, vcpus=8), *entries)
    assert by_shape(plan(replace(snapshot, left_of_arrays=left), NOW, 0)) == {1: 2}


def test_the_cap_of_a_queue_counts_all_its_jobs_and_no_others() -> None:
    foreign = a_shape(3, queue="other")
    entries = a_job(OTHER, 1), an_array(CAPPED, 2, end=9), an_array(foreign, 3, end=5)
    snapshot = a_snapshot(
        [CAPPED, OTHER, foreign],
        instances(2, vcpus=8),
        *entries,
        queues=(a_queue("q", "ce"), a_queue("other", "ce")),
    )
    snapshot = replace(snapshot, left_of_queues={"q": 3}, left_of_arrays={1: 9})
    assert by_shape(plan(snapshot, NOW, 0)) == {1: 2, 2: 1, 3: 5}


def test_a_multi_node_job_is_one() -> None:
    nodes = a_shape(1, vcpus=4, nodes=2)
    entries = a_job(nodes, 1), a_job(nodes, 2), a_job(OTHER, 3)
    rooms = instances(6, vcpus=4, instance_type="a")
    snapshot = a_snapshot([nodes, OTHER], rooms, *entries)
    proposal = plan(replace(snapshot, left_of_queues={"q": 2}), NOW, 0)
    assert by_shape(proposal) == {1: 4}


@pytest.mark.parametrize(("left", "small"), [(1, 0), (2, 1), (ANY, 4)])
def test_the_place_of_a_job_for_which_an_instance_is_held_is_kept(left: int, small: int) -> None:
    """Else jobs that find room at once would take each place as it comes, and it none."""
    large = a_shape(1, vcpus=8)
    rooms = [an_instance("i-0", vcpus=8, free=4), an_instance("i-1", vcpus=4)]
    entries = a_job(large, 1, waited=LONG), an_array(OTHER, 2, end=4)
    snapshot = a_snapshot([large, OTHER], rooms, *entries)
    proposal = plan(replace(snapshot, left_of_queues={"q": left}), NOW, 0)
    assert by_shape(proposal) == ({2: small} if small else {})
    assert proposal.held == {1}
    # Nor in the next plan, where it is not tried.
    later = a_snapshot([large, OTHER], rooms, entries[1], parked={large: LONG})
    again = plan(replace(later, left_of_queues={"q": left}), NOW, 0)
    assert by_shape(again) == by_shape(proposal)


def test_two_jobs_that_are_held_for_do_not_wait_for_each_other() -> None:
    one, other = a_shape(1, vcpus=8), a_shape(2, vcpus=6)
    rooms = [an_instance("i-0", vcpus=8), an_instance("i-1", vcpus=6)]
    entries = a_job(one, 1, waited=LONG), a_job(other, 2, waited=LONG)
    snapshot = a_snapshot([one, other], rooms, *entries, parked={one: LONG, other: LONG})
    assert by_shape(plan(replace(snapshot, left_of_queues={"q": 1}), NOW, 0)) == {1: 1}


def test_shares_take_turns_up_to_the_cap() -> None:
    first, second = a_shape(1, share="a", max_running=2), a_shape(2, share="b")
    sharing = {"q": QueueSharing({"a": Standing(1), "b": Standing(1)})}
    entries = an_array(first, 1, end=9), an_array(second, 2, end=9)
    snapshot = a_snapshot([first, second], instances(2, vcpus=16), *entries, sharing=sharing)
    for queue, expected in ((6, {1: 2, 2: 4}), (3, {1: 2, 2: 1}), (ANY, {1: 2, 2: 9})):
        capped = replace(snapshot, left_of_queues={"q": queue}, left_of_arrays={1: 2})
        proposal = plan(capped, NOW, 0)
        assert by_shape(proposal) == expected
        assert (proposal.partial, proposal.unplaced) == (False, {})


@st.composite
def snapshots(draw: st.DrawFn) -> PlacingSnapshot:
    """Some queues with and without shares, with and without caps."""
    shared = draw(st.booleans())
    shapes = [
        a_shape(
            number,
            queue=draw(st.sampled_from(["q", "p"])),
            vcpus=draw(st.sampled_from([1, 2, 4])),
            share=draw(st.sampled_from("ab")) if shared else "",
            max_running=draw(st.sampled_from([0, 1, 3])),
        )
        for number in range(1, draw(st.integers(2, 6)))
    ]
    entries = [
        an_array(
            draw(st.sampled_from(shapes)),
            seq,
            end=draw(st.integers(1, 6)),
            waited=draw(st.sampled_from([timedelta(), LONG])),
        )
        for seq in range(1, draw(st.integers(2, 10)))
    ]
    standings = {"a": Standing(1), "b": Standing(2)}
    snapshot = a_snapshot(
        shapes,
        instances(draw(st.integers(1, 4)), vcpus=draw(st.sampled_from([2, 4, 8]))),
        *entries,
        queues=(a_queue("q", "ce"), a_queue("p", "ce")),
        sharing=dict.fromkeys(("q", "p"), QueueSharing(standings)) if shared else {},
    )
    return replace(
        snapshot,
        left_of_arrays={
            s.shape_id: draw(st.integers(1, s.max_running)) for s in shapes if s.max_running
        },
        left_of_queues=draw(st.dictionaries(st.sampled_from("qp"), st.integers(1, 8))),
    )


@settings(max_examples=150, deadline=None)
@given(snapshots())
def test_no_cap_is_passed_and_what_is_left_out_has_a_reason(snapshot: PlacingSnapshot) -> None:
    proposal = plan(snapshot, NOW, 0)
    shapes, counts = snapshot.shapes, by_shape(proposal)
    of_queue = Counter(shapes[p.entry.shape_id].job_queue for p in proposal.placements)
    for shape_id, left in snapshot.left_of_arrays.items():
        assert counts.get(shape_id, 0) <= left
    for name, left in snapshot.left_of_queues.items():
        assert of_queue[name] <= left
    held = [shapes[shape_id] for shape_id in proposal.held]
    waiting = Counter[int]()
    for entries in snapshot.heads.values():
        for entry in entries:
            waiting[entry.shape_id] += entry.end_index - entry.next_index
    for shape_id, count in waiting.items():
        shape = shapes[shape_id]
        array_left = snapshot.left_of_arrays.get(shape_id, ANY) - counts.get(shape_id, 0)
        queue_left = snapshot.left_of_queues.get(shape.job_queue, ANY) - of_queue[shape.job_queue]
        kept = sum(one.job_queue == shape.job_queue for one in held)
        is_capped = array_left <= 0 or queue_left <= kept
        assert is_capped or shape_id in proposal.unplaced or counts.get(shape_id) == count


KINDS = {vcpus: a_shape(vcpus, vcpus=vcpus) for vcpus in (1, 2, 4, 8)}


@settings(max_examples=150, deadline=None)
@given(
    arrays=st.lists(
        st.tuples(st.sampled_from(sorted(KINDS)), st.integers(1, 5), st.sampled_from([0, 1])),
        min_size=1,
        max_size=12,
    ),
    parked=st.lists(st.sampled_from(sorted(KINDS)), max_size=4),
    frees=st.lists(st.integers(0, 8), min_size=1, max_size=5),
)
def test_many_arrays_with_caps_are_to_instances_what_they_are_without(
    arrays: list[tuple[int, int, int]], parked: list[int], frees: list[int]
) -> None:
    """Each has a shape to itself then; as many find room, and as much is held for them."""
    rooms = [an_instance(f"i-{n}", vcpus=8, free=free) for n, free in enumerate(frees)]
    arrays = [one for one in arrays if one[0] not in parked] or [(1, 1, 0)]
    parked = [vcpus for vcpus in parked if vcpus not in {one[0] for one in arrays}]
    entries = [
        an_array(KINDS[vcpus], seq, end=end, waited=LONG * late)
        for seq, (vcpus, end, late) in enumerate(arrays, start=1)
    ]
    together = a_snapshot(
        list(KINDS.values()), rooms, *entries, parked={KINDS[v]: LONG for v in parked}
    )
    apart = {
        100 + entry.seq: replace(KINDS[entry.shape_id], shape_id=100 + entry.seq, max_running=99)
        for entry in entries
    }
    waiting = {
        1000 + n: replace(KINDS[vcpus], shape_id=1000 + n, max_running=99)
        for n, vcpus in enumerate(parked * 2)
    }
    split = a_snapshot(
        [*apart.values(), *waiting.values()],
        rooms,
        *(replace(entry, shape_id=100 + entry.seq) for entry in entries),
        parked=dict.fromkeys(waiting.values(), LONG),
    )
    split = replace(split, left_of_arrays=dict.fromkeys(split.shapes, 99))
    whole, parts = plan(together, NOW, 0), plan(split, NOW, 0)
    assert placed(whole) == placed(parts)
    assert len(whole.held) == len(parts.held)


# ---------------------------------------------------------------- rounds


def a_ground(*shapes: Shape, runnable: int = 1, **queues: int) -> Ground:
    """One environment; so many jobs of each shape are RUNNABLE, and queues have caps."""
    environment = EnvironmentFacts("ce", True, True, True, 64, ("local",))
    return Ground(
        {shape.shape_id: shape for shape in shapes},
        {shape.shape_id: runnable for shape in shapes},
        {shape.job_queue: (1, [environment]) for shape in shapes},
        CATALOGUE,
        Supply(),
        caps=Caps(queues, Running()),
    )


def test_what_a_cap_holds_back_does_not_try_until_something_ends_or_the_cap_is_raised() -> None:
    ground, parking = a_ground(CAPPED, OTHER), Parking()
    running = ground.caps.running
    for _ in range(3):
        running.count(CAPPED.shape_id, "q", 1)
    assert placing_round.begin(ground, parking, NOW) == {"q": [2]}
    (by,) = placing_round.capped(ground, parking).values()
    assert words.capped(by) == "Held by the cap of its array: 3 of 3 run."
    narrow = replace(ground, caps=Caps({"q": 2}, running))
    assert placing_round.begin(narrow, parking, NOW) == {}
    said = {s: words.capped(by) for s, by in placing_round.capped(narrow, parking).items()}
    assert said[2] == "Held by the cap of its queue: more than 2 of 2 run."
    running.count(CAPPED.shape_id, "q", -1)
    assert placing_round.begin(ground, parking, NOW) == {"q": [1, 2]}
    assert placing_round.begin(narrow, parking, NOW) == {}
    assert placing_round.begin(replace(narrow, caps=Caps({"q": 3}, running)), parking, NOW) == {
        "q": [1, 2]
    }


def test_what_waits_for_a_cap_and_for_an_earlier_job_is_told_so() -> None:
    large = a_shape(1, vcpus=8)
    ground, parking = a_ground(large, OTHER, q=1), Parking()
    rooms = (an_instance("i-0", vcpus=8, free=4),)
    heads = {"q": (a_job(large, 1, waited=LONG), a_job(OTHER, 2))}
    proposal = placing_round.propose(ground, parking, heads, {}, rooms, NOW, 0)
    assert placed(proposal) == []
    parking.take_in(proposal, ground.runnable)
    # It does not try again, and again, while the place is kept.
    assert placing_round.hungry(ground, parking) == {}
    (by,) = placing_round.capped(ground, parking).values()
    assert words.capped(by) == (
        "Held by the cap of its queue of 1: the next to run is an earlier job, which waits for "
        "room or units."
    )


def test_no_place_is_kept_for_a_job_that_has_its_room() -> None:
    """What waits behind it goes on at once, not with the next news."""
    large = a_shape(1, vcpus=8)
    ground, parking = a_ground(large, OTHER, q=2), Parking()
    heads = {"q": (a_job(large, 1, waited=LONG), a_job(OTHER, 2, waited=LONG))}
    tight = (an_instance("i-0", vcpus=8, free=4),)
    parking.take_in(
        placing_round.propose(ground, parking, {"q": heads["q"][:1]}, {}, tight, NOW, 0),
        ground.runnable,
    )
    assert parking.held == {1}
    assert placing_round.hungry(ground, parking) == {"q": [2]}
    # Its room is free; the other one is not reached in the same plan.
    trying = placing_round.begin(ground, parking, NOW, [(tight[0].total, True)])
    assert trying == {"q": [1, 2]}
    room = (an_instance("i-0", vcpus=8),)
    proposal = placing_round.propose(ground, parking, {"q": heads["q"][:1]}, {}, room, NOW, 0)
    parking.take_in(proposal, ground.runnable)
    ground.caps.running.count(1, "q", 1)
    left = replace(ground, runnable={2: 1})
    assert placing_round.hungry(left, parking) == {"q": [2]}
    assert placing_round.capped(left, parking) == {}


def test_nothing_is_held_for_what_a_cap_holds_back() -> None:
    large = a_shape(1, vcpus=8, max_running=1)
    ground, parking = a_ground(large, OTHER), Parking()
    parking.parked[1] = Waiting(1, NOW - LONG, 0, 1)
    ground.caps.running.count(1, "q", 1)
    rooms = (an_instance("i-0", vcpus=8, free=4),)
    heads = {"q": (an_array(OTHER, 2, end=9),)}
    proposal = placing_round.propose(ground, parking, heads, {}, rooms, NOW, 0)
    assert (len(proposal.placements), proposal.held) == (4, set())


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(
        st.tuples(st.sampled_from([1, 2, 8]), st.integers(0, 3)), min_size=1, max_size=5
    ),
    cap=st.integers(1, 5),
    ends=st.randoms(use_true_random=False),
)
def test_all_run_in_the_end_and_never_more_than_the_caps_let(
    sizes: list[tuple[int, int]], cap: int, ends: random.Random
) -> None:
    """Arrays of six on one instance of eight vCPUs; what runs ends in any order."""
    shapes = [
        a_shape(n, vcpus=vcpus, max_running=most) for n, (vcpus, most) in enumerate(sizes, start=1)
    ]
    ground, parking = a_ground(*shapes, runnable=6, q=cap), Parking()
    runnable = dict(ground.runnable)
    ground = replace(ground, runnable=runnable)
    running = ground.caps.running
    next_index = dict.fromkeys(runnable, 0)
    lives: list[Shape] = []
    now, freed = NOW, False
    for _ in range(600):
        free = 8 - sum(int(s.need.vcpu_milli / 1000) for s in lives)
        room = an_instance("i-0", vcpus=8, free=free)
        trying = placing_round.begin(
            ground, parking, now, [(room.free, not lives)] if freed else []
        )
        if trying:
            heads = tuple(
                QueueEntry(a_job(shapes[s - 1], s).job_id, s, 0, s, next_index[s], 6, NOW)
                for s in sorted(trying["q"])
            )
            proposal = placing_round.propose(ground, parking, {"q": heads}, {}, (room,), now, 0)
            parking.take_in(proposal, runnable)
            for placement in proposal.placements:
                shape = ground.shapes[placement.entry.shape_id]
                next_index[shape.shape_id] += 1
                runnable[shape.shape_id] -= 1
                if not runnable[shape.shape_id]:
                    del runnable[shape.shape_id]
                    parking.forget(shape.shape_id)
                running.count(shape.shape_id, "q", 1)
                lives.append(shape)
        assert len(lives) <= cap
        for shape in shapes:
            assert not shape.max_running or lives.count(shape) <= shape.max_running
        if not runnable and not lives:
            break
        freed = bool(lives)
        if lives:
            over = lives.pop(ends.randrange(len(lives)))
            running.count(over.shape_id, "q", -1)
        now += timedelta(seconds=30)
    assert not runnable, "it does not come to an end"
    assert not running.by_queue
    assert not running.by_array
