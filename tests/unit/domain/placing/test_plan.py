"""Placement: examples of what it does, and what must hold for any snapshot."""

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
    resources,
)

from longshore.domain.placing.plan import HOLD_AFTER, plan
from longshore.domain.placing.shapes import PlacingSnapshot, Plan, QueueEntry, Room, Shape
from longshore.domain.resources import Resources

#: Enough to find what breaks, in seconds for all properties together.
fewer = settings(max_examples=40, deadline=None)

LONG = HOLD_AFTER + timedelta(seconds=1)


def seqs(proposal: Plan) -> list[int]:
    return [p.entry.seq for p in proposal.placements]


# ---------------------------------------------------------------- examples


def test_jobs_go_in_dispatch_order() -> None:
    shape = a_shape(vcpus=1)
    proposal = plan(
        a_snapshot(
            [shape], instances(1, vcpus=2), a_job(shape, 1), a_job(shape, 2), a_job(shape, 3)
        ),
        NOW,
        0,
    )
    assert seqs(proposal) == [1, 2]
    assert {s: w.ready_at for s, w in proposal.unplaced.items()} == {shape.shape_id: NOW}


def test_a_retried_job_goes_first() -> None:
    shape = a_shape(vcpus=1)
    waiting = [a_job(shape, 1), a_job(shape, 5, retried=True)]
    assert seqs(plan(a_snapshot([shape], instances(1, vcpus=1), *waiting), NOW, 0)) == [5]


def test_smaller_jobs_pass_one_that_does_not_fit() -> None:
    large, small = a_shape(1, vcpus=8), a_shape(2, vcpus=1)
    waiting = [a_job(large, 1), a_job(small, 2), a_job(large, 3), a_job(small, 4)]
    proposal = plan(a_snapshot([large, small], instances(1, vcpus=4), *waiting), NOW, 0)
    assert seqs(proposal) == [2, 4]
    assert set(proposal.unplaced) == {large.shape_id}


def test_instances_are_filled_one_after_the_other() -> None:
    shape = a_shape(vcpus=1)
    proposal = plan(a_snapshot([shape], instances(3, vcpus=4), an_array(shape, end=4)), NOW, 0)
    assert len({p.instance_id for p in proposal.placements}) == 1


def test_the_seed_turns_which_of_equal_instances_is_taken() -> None:
    shape = a_shape(vcpus=1)
    snapshot = a_snapshot([shape], instances(3, vcpus=4), a_job(shape))
    assert len({plan(snapshot, NOW, seed).placements[0].instance_id for seed in range(3)}) == 3


def test_environments_are_taken_in_the_queues_order() -> None:
    shape = a_shape(vcpus=2)
    rooms = [*instances(1, vcpus=2, environment="b"), *instances(1, vcpus=2, environment="a")]
    snapshot = a_snapshot([shape], rooms, an_array(shape, end=2), queues=[a_queue("q", "b", "a")])
    assert placed(plan(snapshot, NOW, 0)) == [(1, 0, "i-b-0"), (1, 1, "i-a-0")]


def test_an_environment_that_is_not_the_queues_is_left_alone() -> None:
    shape = a_shape()
    snapshot = a_snapshot([shape], instances(1, vcpus=8, environment="other"), a_job(shape))
    assert not plan(snapshot, NOW, 0).placements


def test_a_slot_takes_one_job_of_exactly_its_size() -> None:
    fits, small = a_shape(1, vcpus=1, memory_mib=2048), a_shape(2, vcpus=0.5, memory_mib=1024)
    slots = instances(2, vcpus=1, memory_mib=2048, slot=True)
    snapshot = a_snapshot([fits, small], slots, a_job(small, 1), an_array(fits, 2, end=3))
    proposal = plan(snapshot, NOW, 0)
    assert [(seq, index) for seq, index, _ in placed(proposal)] == [(2, 0), (2, 1)]
    assert len({p.instance_id for p in proposal.placements}) == 2
    assert set(proposal.unplaced) == {fits.shape_id, small.shape_id}


def test_a_slot_of_which_something_is_held_is_never_used_again() -> None:
    shape = a_shape(vcpus=1, memory_mib=1024)
    used = replace(an_instance(vcpus=2, memory_mib=2048, slot=True), free=Resources(1000, 1024))
    assert not plan(a_snapshot([shape], [used], a_job(shape)), NOW, 0).placements


def test_slots_are_never_held() -> None:
    shape, other = a_shape(1, vcpus=1), a_shape(2, vcpus=2)
    slot = an_instance(vcpus=2, slot=True)
    snapshot = a_snapshot(
        [shape, other], [slot], a_job(shape, 1, waited=LONG), a_job(other, 2), parked={shape: LONG}
    )
    proposal = plan(snapshot, NOW, 0)
    assert seqs(proposal) == [2]
    assert not proposal.held


def test_draining_instances_take_nothing() -> None:
    shape = a_shape()
    rooms = instances(2, vcpus=8, draining=True)
    assert not plan(a_snapshot([shape], rooms, a_job(shape)), NOW, 0).placements


def test_the_queue_of_higher_priority_goes_first() -> None:
    low, high = a_shape(1, queue="a"), a_shape(2, queue="b")
    snapshot = a_snapshot(
        [low, high],
        instances(1, vcpus=1),
        a_job(low, 1),
        a_job(high, 2),
        queues=[a_queue("a", priority=1), a_queue("b", priority=2)],
    )
    assert seqs(plan(snapshot, NOW, 0)) == [2]


def test_queues_of_equal_priority_take_turns() -> None:
    """A queue with an endless backlog does not keep out another one of the same priority."""
    one, other = a_shape(1, queue="a"), a_shape(2, queue="b")
    snapshot = a_snapshot(
        [one, other],
        instances(1, vcpus=1),
        an_array(one, 1, end=1_000),
        an_array(other, 2, end=1_000),
        queues=[a_queue("a"), a_queue("b")],
    )
    assert {tuple(seqs(plan(snapshot, NOW, seed))) for seed in range(4)} == {(1,), (2,)}


def test_a_full_plan_says_that_there_is_more() -> None:
    shape = a_shape()
    snapshot = a_snapshot([shape], instances(1, vcpus=10), an_array(shape, end=10))
    proposal = plan(snapshot, NOW, 0, limit=4)
    assert [p.array_index for p in proposal.placements] == [0, 1, 2, 3]
    assert proposal.partial
    assert not proposal.unplaced
    assert not plan(snapshot, NOW, 0).partial


def test_gpus_are_counted() -> None:
    shape = a_shape(vcpus=1, gpus=1)
    rooms = [an_instance("i-cpu", vcpus=8), an_instance("i-gpu", vcpus=8, gpus=2)]
    proposal = plan(a_snapshot([shape], rooms, an_array(shape, end=3)), NOW, 0)
    assert placed(proposal) == [(1, 0, "i-gpu"), (1, 1, "i-gpu")]


# ---------------------------------------------------------------- holding


def test_room_is_kept_for_a_job_that_waited_long() -> None:
    large, small = a_shape(1, vcpus=8), a_shape(2, vcpus=1)
    rooms = [an_instance("i-0", vcpus=8, free=4), an_instance("i-1", vcpus=8, free=2)]
    waiting = [a_job(large, 1, waited=LONG), an_array(small, 2, end=20)]
    proposal = plan(a_snapshot([large, small], rooms, *waiting), NOW, 0)
    assert {p.instance_id for p in proposal.placements} == {"i-1"}
    assert len(proposal.placements) == 2


def test_room_is_kept_for_a_parked_shape_too() -> None:
    large, small = a_shape(1, vcpus=8), a_shape(2, vcpus=1)
    rooms = [an_instance("i-0", vcpus=8, free=4)]
    snapshot = a_snapshot([large, small], rooms, a_job(small, 2), parked={large: LONG})
    assert not plan(snapshot, NOW, 0).placements
    snapshot = a_snapshot([large, small], rooms, a_job(small, 2), parked={large: timedelta()})
    assert seqs(plan(snapshot, NOW, 0)) == [2]


def test_nothing_is_kept_where_the_job_could_never_run() -> None:
    large, small = a_shape(1, vcpus=16), a_shape(2, vcpus=1)
    waiting = [a_job(large, 1, waited=LONG), a_job(small, 2)]
    assert seqs(plan(a_snapshot([large, small], instances(2, vcpus=8), *waiting), NOW, 0)) == [2]


@pytest.mark.parametrize("seed", range(20))
def test_a_large_job_is_placed_although_small_ones_keep_coming(seed: int) -> None:
    """Passes over a minute and more: small jobs take every gap, the large one needs an instance."""
    world = _World(seed, count=3, vcpus=8)
    large, small = a_shape(1, vcpus=8), a_shape(2, vcpus=1)
    started = world.run_until_placed(large, small, seconds=400)
    assert started is not None
    assert started > 0, "there was no contention, the test shows nothing"


class _World:
    """Instances full of small jobs that end one by one at seeded times, one pass a second."""

    def __init__(self, seed: int, *, count: int, vcpus: int) -> None:
        self._seed = seed
        self._totals = {f"i-{n}": resources(vcpus) for n in range(count)}
        # When the vCPU of each running small job is given back.
        self._running: dict[str, list[int]] = {
            name: [1 + (seed * 7 + n * 13 + slot * 5) % 30 for slot in range(vcpus)]
            for n, name in enumerate(self._totals)
        }

    def run_until_placed(self, large: Shape, small: Shape, seconds: int) -> int | None:
        parked: dict[Shape, timedelta] = {}
        for second in range(seconds):
            for ends in self._running.values():
                ends[:] = [end for end in ends if end > second]
            rooms = [
                Room(name, "ce", total - resources(len(self._running[name])), total)
                for name, total in self._totals.items()
            ]
            now = NOW + timedelta(seconds=second)
            waited = timedelta(seconds=second)
            small_entry = replace(an_array(small, 2, end=100), ready_at=now)
            if any(room.free.holds(large.need) for room in rooms):
                parked = {}
            heads = [small_entry] if parked else [a_job(large, 1), small_entry]
            snapshot = a_snapshot([large, small], rooms, *heads, parked=parked)
            snapshot = replace(
                snapshot, parked=tuple(replace(w, ready_at=NOW) for w in snapshot.parked)
            )
            proposal = plan(snapshot, now, self._seed + second)
            if any(p.entry.seq == 1 for p in proposal.placements):
                return second
            parked = {large: waited}
            for n, p in enumerate(proposal.placements):
                self._running[p.instance_id].append(second + 5 + (self._seed + n * 11) % 30)
        return None


# ---------------------------------------------------------------- any snapshot


@st.composite
def snapshots(draw: st.DrawFn) -> PlacingSnapshot:
    """Up to three queues on up to three shared environments, some jobs long in waiting."""
    names = ("a", "b", "c")[: draw(st.integers(1, 3))]
    environments = st.permutations(["x", "y", "z"]).flatmap(
        lambda order: st.integers(1, 3).map(lambda n: tuple(order[:n]))
    )
    queues = [a_queue(n, *draw(environments), priority=draw(st.integers(0, 2))) for n in names]
    shapes = [
        a_shape(
            i,
            queue=draw(st.sampled_from(names)),
            vcpus=draw(st.sampled_from([0.25, 1, 2, 8])),
            memory_mib=draw(st.sampled_from([128, 2048, 8192])),
            gpus=draw(st.sampled_from([0, 0, 0, 1])),
        )
        for i in range(1, draw(st.integers(1, 5)) + 1)
    ]
    rooms = [
        an_instance(
            f"i-{i}",
            vcpus=total,
            free=draw(st.sampled_from([total, total / 2, 0])),
            gpus=draw(st.sampled_from([0, 1, 2])),
            environment=draw(st.sampled_from("xyz")),
            draining=draw(st.integers(0, 9)) == 0,
        )
        for i, total in enumerate(draw(st.lists(st.sampled_from([2, 8, 16]), max_size=6)))
    ]
    waited = st.sampled_from([timedelta(), timedelta(), LONG])
    parked = {s: draw(waited) for s in shapes if draw(st.integers(0, 5)) == 0}
    entries: list[QueueEntry] = []
    for seq in range(1, draw(st.integers(0, 12)) + 1):
        shape = draw(st.sampled_from(shapes))
        if shape in parked:
            continue
        if draw(st.booleans()):
            first = draw(st.integers(0, 5))
            end = first + draw(st.integers(1, 12))
            entries.append(an_array(shape, seq, first=first, end=end, waited=draw(waited)))
        else:
            entries.append(a_job(shape, seq, waited=draw(waited), retried=draw(st.booleans())))
    return a_snapshot(shapes, rooms, *entries, queues=queues, parked=parked)


def free_after(snapshot: PlacingSnapshot, proposal: Plan) -> dict[str, Resources]:
    """What instances have left when a plan is applied."""
    free = {room.instance_id: room.free for room in snapshot.rooms}
    for p in proposal.placements:
        free[p.instance_id] -= snapshot.shapes[p.entry.shape_id].need
    return free


@fewer
@given(snapshots(), st.integers(0, 100))
def test_no_instance_gives_more_than_it_has(snapshot: PlacingSnapshot, seed: int) -> None:
    proposal = plan(snapshot, NOW, seed)
    given_out = {p.instance_id for p in proposal.placements}
    for instance_id, free in free_after(snapshot, proposal).items():
        if instance_id in given_out:
            assert free.holds(Resources(0, 0, 0))


@fewer
@given(snapshots(), st.integers(0, 100))
def test_jobs_go_only_where_their_queue_may(snapshot: PlacingSnapshot, seed: int) -> None:
    queues = {queue.name: queue for queue in snapshot.queues}
    rooms = {room.instance_id: room for room in snapshot.rooms}
    for p in plan(snapshot, NOW, seed).placements:
        room = rooms[p.instance_id]
        assert not room.draining
        assert room.compute_environment == p.compute_environment
        queue = queues[snapshot.shapes[p.entry.shape_id].job_queue]
        assert p.compute_environment in queue.compute_environments


@fewer
@given(snapshots(), st.integers(0, 100))
def test_nothing_is_placed_twice_and_children_go_in_index_order(
    snapshot: PlacingSnapshot, seed: int
) -> None:
    """Of each entry the beginning is placed, without a gap: the rest stays one range."""
    indexes: dict[QueueEntry, list[int]] = {}
    for p in plan(snapshot, NOW, seed).placements:
        indexes.setdefault(p.entry, []).append(p.array_index)
    for entry, taken in indexes.items():
        assert taken == list(range(entry.next_index, entry.next_index + len(taken)))
        assert taken[-1] < entry.end_index


@fewer
@given(snapshots(), st.integers(0, 100))
def test_order_is_kept_within_a_queue_and_shape(snapshot: PlacingSnapshot, seed: int) -> None:
    """A job is passed over only by jobs of other shapes."""
    counts = Counter(p.entry for p in plan(snapshot, NOW, seed).placements)
    for shape_id in snapshot.shapes:
        entries = [e for head in snapshot.heads.values() for e in head if e.shape_id == shape_id]
        short = False
        for entry in entries:
            assert not (short and counts[entry])
            short = short or counts[entry] < entry.end_index - entry.next_index


@fewer
@given(snapshots(), st.integers(0, 100))
def test_what_is_left_does_not_fit(snapshot: PlacingSnapshot, seed: int) -> None:
    """With nothing held, no instance of a job's queue has room for what stays unplaced."""
    proposal = plan(snapshot, NOW, seed, hold_after=timedelta(days=1))
    counts = Counter(p.entry for p in proposal.placements)
    free = free_after(snapshot, proposal)
    queues = {queue.name: queue for queue in snapshot.queues}
    for name, head in snapshot.heads.items():
        rooms = [
            room
            for room in snapshot.rooms
            if room.compute_environment in queues[name].compute_environments and not room.draining
        ]
        for entry in head:
            if counts[entry] < entry.end_index - entry.next_index:
                assert entry.shape_id in proposal.unplaced
                need = snapshot.shapes[entry.shape_id].need
                assert not any(free[room.instance_id].holds(need) for room in rooms)
            else:
                assert counts[entry]


@fewer
@given(snapshots(), st.integers(0, 100))
def test_holding_costs_at_most_an_instance_for_each_shape(
    snapshot: PlacingSnapshot, seed: int
) -> None:
    """What stays unplaced although there is room stays for a shape that waited long."""
    proposal = plan(snapshot, NOW, seed)
    free = free_after(snapshot, proposal)
    queues = {queue.name: queue for queue in snapshot.queues}
    kept = set()
    for shape_id in proposal.unplaced:
        shape = snapshot.shapes[shape_id]
        kept |= {
            room.instance_id
            for room in snapshot.rooms
            if not room.draining
            and room.compute_environment in queues[shape.job_queue].compute_environments
            and free[room.instance_id].holds(shape.need)
        }
    waited = {
        e.shape_id for head in snapshot.heads.values() for e in head if NOW - e.ready_at >= LONG
    }
    waited |= {w.shape_id for w in snapshot.parked if NOW - w.ready_at >= LONG}
    assert len(kept) <= len(waited)


@fewer
@given(snapshots(), st.integers(0, 100))
def test_a_lower_queue_never_takes_what_a_higher_one_could_have(
    snapshot: PlacingSnapshot, seed: int
) -> None:
    """A queue's placements are the same whether or not there are queues of lower priority."""
    top = max(queue.priority for queue in snapshot.queues)
    names = {queue.name for queue in snapshot.queues if queue.priority == top}
    alone = replace(
        snapshot,
        queues=tuple(queue for queue in snapshot.queues if queue.name in names),
        heads={name: head for name, head in snapshot.heads.items() if name in names},
    )
    together = [
        p
        for p in plan(snapshot, NOW, seed).placements
        if snapshot.shapes[p.entry.shape_id].job_queue in names
    ]
    assert together == plan(alone, NOW, seed).placements


@fewer
@given(snapshots(), st.integers(0, 100))
def test_equal_arguments_give_equal_plans(snapshot: PlacingSnapshot, seed: int) -> None:
    assert plan(snapshot, NOW, seed) == plan(snapshot, NOW, seed)


@fewer
@given(snapshots(), st.integers(0, 100), st.integers(1, 20))
def test_a_plan_keeps_to_its_limit(snapshot: PlacingSnapshot, seed: int, limit: int) -> None:
    """A limited plan is the beginning of the unlimited one, and says that there is more."""
    whole, part = plan(snapshot, NOW, seed), plan(snapshot, NOW, seed, limit=limit)
    assert part.placements == whole.placements[:limit]
    assert part.partial or part.placements == whole.placements
