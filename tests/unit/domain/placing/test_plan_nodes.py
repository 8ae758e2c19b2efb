"""Multi-node jobs: all nodes at once, on empty instances of one type, or none."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.shapes import NOW, a_job, a_queue, a_shape, a_snapshot, an_instance, placed

from longshore.domain.job.job import JobKey
from longshore.domain.placing.plan import HOLD_AFTER, plan
from longshore.domain.placing.room import Room
from longshore.domain.placing.shapes import QueueEntry, Shape

LONG = HOLD_AFTER + timedelta(seconds=1)
NODES = a_shape(1, vcpus=2, nodes=2)
SINGLE = a_shape(2, vcpus=1)


def a_room(name: str, *, vcpus: float = 4, free: float | None = None, kind: str = "a") -> Room:
    return an_instance(name, vcpus=vcpus, free=free, instance_type=kind)


def nodes_of(entry: QueueEntry, *names: str) -> list[tuple[int, int, str]]:
    """What a plan says of a job whose nodes go to instances, in order."""
    return [
        (entry.seq, JobKey.node(entry.job_id, index).array_index, name)
        for index, name in enumerate(names)
    ]


def test_each_node_has_an_instance_to_itself() -> None:
    job = a_job(NODES)
    rooms = [a_room("i-0"), a_room("i-1")]
    proposal = plan(a_snapshot([NODES, SINGLE], rooms, job, a_job(SINGLE, 2)), NOW, 0)
    assert placed(proposal) == nodes_of(job, "i-0", "i-1")
    assert {s: w.ready_at for s, w in proposal.unplaced.items()} == {2: NOW}


def test_the_smallest_type_of_which_there_are_enough() -> None:
    job = a_job(NODES)
    rooms = [a_room(f"i-{n}", vcpus=8, kind="large") for n in (0, 1)]
    rooms += [a_room(f"i-{n}", vcpus=4, kind="small") for n in (2, 3)]
    assert placed(plan(a_snapshot([NODES], rooms, job), NOW, 0)) == nodes_of(job, "i-2", "i-3")
    # One small one short, the large ones it is; never one of each.
    assert placed(plan(a_snapshot([NODES], rooms[:3], job), NOW, 0)) == nodes_of(job, "i-0", "i-1")
    assert not placed(plan(a_snapshot([NODES], rooms[1:3], job), NOW, 0))


def test_an_instance_in_use_takes_no_node() -> None:
    rooms = [a_room("i-0"), a_room("i-1", free=3)]
    assert not placed(plan(a_snapshot([NODES], rooms, a_job(NODES)), NOW, 0))


def test_the_only_type_that_will_do() -> None:
    shape = a_shape(1, vcpus=2, nodes=1, instance_type="b")
    job = a_job(shape)
    rooms = [a_room("i-0", kind="a"), a_room("i-1", kind="b")]
    assert placed(plan(a_snapshot([shape], rooms, job), NOW, 0)) == nodes_of(job, "i-1")


def test_what_is_there_already_is_kept_for_it_from_the_beginning() -> None:
    """Else a job of later order takes each instance as it comes."""
    rooms = [a_room("i-0")]
    later = a_job(SINGLE, 2)
    proposal = plan(a_snapshot([NODES, SINGLE], rooms, a_job(NODES), later), NOW, 0)
    assert not proposal.placements
    assert proposal.held == {NODES.shape_id}
    # Parked, too.
    waiting = {NODES: timedelta(seconds=1)}
    proposal = plan(a_snapshot([NODES, SINGLE], rooms, later, parked=waiting), NOW, 0)
    assert not proposal.placements


def test_an_earlier_job_of_a_higher_queue_still_goes_first() -> None:
    urgent = a_shape(3, queue="urgent", vcpus=1)
    queues = [a_queue(), a_queue("urgent", priority=9)]
    snapshot = a_snapshot(
        [NODES, urgent],
        [a_room("i-0"), a_room("i-1")],
        a_job(NODES),
        a_job(urgent, 2),
        queues=queues,
    )
    assert placed(plan(snapshot, NOW, 0)) == [(2, -1, "i-0")]


def test_nothing_is_kept_where_there_is_no_hope() -> None:
    rooms = [a_room("i-0")]
    snapshot = a_snapshot([NODES, SINGLE], rooms, a_job(NODES), a_job(SINGLE, 2), hopeless=[NODES])
    assert placed(plan(snapshot, NOW, 0)) == [(2, -1, "i-0")]


def test_without_hope_of_more_it_still_gets_what_there_is_enough_of() -> None:
    """That runs dry, whatever becomes of the provider."""
    rooms = [a_room("i-0", free=3), a_room("i-1", free=3)]
    snapshot = a_snapshot(
        [NODES, SINGLE], rooms, a_job(SINGLE, 2), parked={NODES: LONG}, hopeless=[NODES]
    )
    proposal = plan(snapshot, NOW, 0)
    assert not proposal.placements
    assert proposal.held == {NODES.shape_id}


@pytest.mark.parametrize("seed", [0, 1])
def test_what_was_gathered_is_not_lost_when_it_is_tried_again(seed: int) -> None:
    """Whichever of the queues of equal priority goes first."""
    other = a_shape(3, queue="z", vcpus=1)
    rooms = [a_room("i-0"), a_room("i-1")]
    again, single = a_job(NODES, 1), a_job(other, 2)
    snapshot = a_snapshot([NODES, other], rooms, again, single, parked={NODES: LONG})
    assert placed(plan(snapshot, NOW, seed)) == nodes_of(again, "i-0", "i-1")


def test_at_the_maximum_no_more_is_held_for_one_that_is_tried_again() -> None:
    large = a_shape(1, vcpus=3, nodes=2)
    rooms = [a_room("i-0"), *(a_room(f"i-{n}", vcpus=2, free=1, kind="b") for n in (1, 2, 3))]
    entries = a_job(large, 1, waited=LONG), a_job(SINGLE, 2)
    snapshot = a_snapshot([large, SINGLE], rooms, *entries, parked={large: LONG}, maxv_cpus=13)
    assert [name for _, _, name in placed(plan(snapshot, NOW, 0))] == ["i-3"]


def test_instances_in_use_are_kept_once_it_has_waited_long() -> None:
    rooms = [a_room("i-0", free=3), a_room("i-1", free=3)]
    waiting = {NODES: timedelta(seconds=1)}
    snapshot = a_snapshot([NODES, SINGLE], rooms, a_job(SINGLE, 2), parked=waiting)
    assert len(placed(plan(snapshot, NOW, 0))) == 1
    snapshot = a_snapshot([NODES, SINGLE], rooms, a_job(SINGLE, 2), parked={NODES: LONG})
    assert not plan(snapshot, NOW, 0).placements


def test_at_the_maximum_instances_of_other_types_are_kept_too_so_that_they_go() -> None:
    """One is there of the type; what the other one needs is given back by others."""
    large = a_shape(1, vcpus=3, nodes=2)
    rooms = [a_room("i-0"), *(a_room(f"i-{n}", vcpus=2, free=1, kind="b") for n in (1, 2, 3))]
    singles = [a_job(SINGLE, seq) for seq in (2, 3, 4)]
    below = a_snapshot([large, SINGLE], rooms, *singles, parked={large: LONG}, maxv_cpus=14)
    assert len(plan(below, NOW, 0).placements) == 3
    at = a_snapshot([large, SINGLE], rooms, *singles, parked={large: LONG}, maxv_cpus=13)
    assert [name for _, _, name in placed(plan(at, NOW, 0))] == ["i-3"]
    soon = a_snapshot([large, SINGLE], rooms, *singles, parked={large: LONG / 9}, maxv_cpus=13)
    assert len(plan(soon, NOW, 0).placements) == 3


def test_what_is_held_for_nodes_is_not_held_against_earlier_jobs() -> None:
    """A retried job is the first of its queue; its shape was not tried since that is so."""
    first = a_shape(3, vcpus=2, nodes=2)
    rooms = [a_room("i-0"), a_room("i-1")]
    large = a_shape(1, vcpus=2, nodes=3)
    retried = a_job(first, 9, retried=True)
    snapshot = a_snapshot([large, first], rooms, retried, parked={large: LONG})
    assert placed(plan(snapshot, NOW, 0)) == nodes_of(retried, "i-0", "i-1")
    single = a_job(SINGLE, 9, retried=True)
    snapshot = a_snapshot([large, SINGLE], rooms, single, parked={large: LONG})
    assert len(placed(plan(snapshot, NOW, 0))) == 1


def test_an_environment_without_nodes_is_passed_over() -> None:
    rooms = [
        an_instance(f"i-{n}", vcpus=4, environment=name, instance_type="a")
        for n, name in enumerate(("spot", "spot", "ce", "ce"))
    ]
    job = a_job(NODES)
    snapshot = a_snapshot([NODES], rooms, job, queues=[a_queue("q", "spot", "ce")])
    assert placed(plan(snapshot, NOW, 0)) == nodes_of(job, "i-2", "i-3")


def test_many_nodes_that_do_not_fit_keep_nobody_behind_them_from_being_tried() -> None:
    shape = a_shape(3, vcpus=8, nodes=3)
    rooms = [a_room("i-0"), a_room("i-1")]
    jobs = a_job(SINGLE, 1), a_job(shape, 2), a_job(SINGLE, 3)
    proposal = plan(a_snapshot([SINGLE, shape], rooms, *jobs), NOW, 0, limit=3)
    assert [seq for seq, _, _ in placed(proposal)] == [1, 3]
    assert {s: w.ready_at for s, w in proposal.unplaced.items()} == {3: NOW}
    assert not proposal.partial


def test_a_job_with_more_nodes_than_a_plan_takes_has_one_to_itself() -> None:
    shape = a_shape(1, vcpus=1, nodes=5)
    rooms = [a_room(f"i-{n}") for n in range(10)]
    first, second = a_job(shape, 1), a_job(shape, 2)
    proposal = plan(a_snapshot([shape], rooms, first, second), NOW, 0, limit=3)
    assert len(proposal.placements) == 5
    assert {p.entry.seq for p in proposal.placements} == {1}
    assert proposal.partial


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Shape], list[Room], list[QueueEntry]]:
    """Single and multi-node jobs, and instances of few types, some of them in use."""
    shapes = [
        a_shape(n, vcpus=draw(st.integers(1, 4)), nodes=draw(st.integers(0, 3))) for n in range(4)
    ]
    rooms = []
    for n in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from([2, 4, 8]))
        free = draw(st.integers(0, kind))
        rooms.append(a_room(f"i-{n}", vcpus=kind, free=free, kind=str(kind)))
    jobs = [
        a_job(shapes[draw(st.integers(0, 3))], seq, waited=draw(st.sampled_from([LONG, LONG / 9])))
        for seq in range(draw(st.integers(0, 8)))
    ]
    return shapes, rooms, jobs


@settings(max_examples=200, deadline=None)
@given(worlds(), st.integers(0, 5))
def test_all_nodes_or_none_each_alone_all_of_one_type(
    world: tuple[list[Shape], list[Room], list[QueueEntry]], seed: int
) -> None:
    shapes, rooms, jobs = world
    proposal = plan(a_snapshot(shapes, rooms, *jobs), NOW, seed)
    by_name = {room.instance_id: room for room in rooms}
    load = Counter(p.instance_id for p in proposal.placements)
    for job in jobs:
        shape = shapes[job.shape_id]
        mine = [p for p in proposal.placements if p.entry is job]
        if not shape.nodes:
            continue
        assert len(mine) in (0, shape.nodes)
        assert [p.array_index for p in mine] == [
            JobKey.node(job.job_id, n).array_index for n in range(len(mine))
        ]
        assert len({by_name[p.instance_id].instance_type for p in mine}) <= 1
        for placement in mine:
            room = by_name[placement.instance_id]
            assert load[placement.instance_id] == 1
            assert room.free == room.total
            assert room.total.holds(shape.need)
