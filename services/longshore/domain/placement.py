"""Placement: which waiting jobs go to which instances now.

Simple meaning: queues in descending priority, those of equal priority in turn; in each queue jobs
in dispatch order; each job goes to the first of the queue's compute environments, in order, that
has an instance with room. A job that does not fit is passed over, and smaller ones behind it may go
ahead, but not for ever: once the first job of a shape has waited past `hold_after`, the instance
where it would fit soonest is held for it and takes nothing else of later order. A slot takes one
job, of exactly its size, and is never held.

How the code differs: jobs of one shape are alike, so a shape that was found not to fit is not tried
again in the same pass, and entries stand for ranges of array children. The cost is in shapes,
entries and instances, never in the length of the backlog.
"""

import itertools
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from longshore.domain.opening import OpenRooms, Room
from longshore.domain.resources import Resources

#: Most placements of one plan: bounds the transaction that applies it.
PLAN_LIMIT = 1_000
HOLD_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Shape:
    """Jobs of one queue with the same needs."""

    shape_id: int
    job_queue: str
    need: Resources


@dataclass(frozen=True, slots=True)
class Entry:
    """A single job, or some children of an array.

    Of an array the children from `next_index` up to `end_index`, exclusive; -1 and 0 for a single
    job.
    """

    job_id: uuid.UUID
    shape_id: int
    rank: int
    seq: int
    next_index: int
    end_index: int
    ready_at: datetime


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, and the environments that may take its jobs (enabled and valid ones, in order)."""

    name: str
    priority: int
    compute_environments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A shape that did not fit before, so that its entries are not in the snapshot's heads."""

    shape_id: int
    ready_at: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a plan is made from. `heads` are in dispatch order: rank, seq, next_index."""

    queues: tuple[Queue, ...]
    shapes: dict[int, Shape]
    rooms: tuple[Room, ...]
    heads: dict[str, tuple[Entry, ...]]
    parked: tuple[Waiting, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """One job or child, and the instance it goes to."""

    entry: Entry
    array_index: int
    instance_id: str
    compute_environment: str


@dataclass(slots=True)
class Plan:
    """What is proposed.

    `unplaced` are the shapes that found no room, with the time of their first job.
    """

    placements: list[Placement] = field(default_factory=list)
    unplaced: dict[int, datetime] = field(default_factory=dict)
    #: True if the plan is full and another pass may place more.
    partial: bool = False
    #: Shapes for which an instance is held, so that others found less room than there is.
    held: set[int] = field(default_factory=set)


def plan(
    snapshot: Snapshot,
    now: datetime,
    seed: int,
    *,
    limit: int = PLAN_LIMIT,
    hold_after: timedelta = HOLD_AFTER,
) -> Plan:
    """Proposes placements for the heads of all queues.

    Args:
        snapshot: queues, shapes, instances and the first waiting jobs.
        now: the time of the decision.
        seed: shifts which of equally good instances is taken, so that load spreads from pass to
            pass, and which of the queues of equal priority goes first.
        limit: most placements.
        hold_after: how long a job waits before an instance is held for it.
    """
    rooms: dict[str, list[Room]] = {}
    for room in snapshot.rooms:
        if not room.draining and not room.away:
            rooms.setdefault(room.compute_environment, []).append(room)
    by_environment = {
        name: OpenRooms(found[seed % len(found) :] + found[: seed % len(found)])
        for name, found in rooms.items()
    }
    result = Plan()
    long_since = now - hold_after
    for queue, environments in _in_turn(snapshot, by_environment, long_since, seed):
        for entry in snapshot.heads.get(queue.name, ()):
            _fill(result, entry, snapshot.shapes[entry.shape_id], environments, limit, long_since)
    result.held = {held for fleet in by_environment.values() for held in fleet.held()}
    return result


def _in_turn(
    snapshot: Snapshot, by_environment: Mapping[str, OpenRooms], long_since: datetime, seed: int
) -> Iterator[tuple[Queue, list[OpenRooms]]]:
    """Queues in the order in which they may take room, each with the instances it may use.

    Before the queues of a priority take anything, instances are held for their parked shapes that
    wait since `long_since` or longer, the longest wait first.
    """
    waited = sorted(
        (w for w in snapshot.parked if w.ready_at <= long_since), key=lambda w: w.ready_at
    )
    ordered = sorted(snapshot.queues, key=lambda queue: (-queue.priority, queue.name))
    for _, equals in itertools.groupby(ordered, key=lambda queue: queue.priority):
        turn = {
            queue.name: (
                queue,
                [
                    by_environment[name]
                    for name in queue.compute_environments
                    if name in by_environment
                ],
            )
            for queue in equals
        }
        for waiting in waited:
            shape = snapshot.shapes[waiting.shape_id]
            if shape.job_queue in turn:
                _hold(turn[shape.job_queue][1], shape)
        queues = list(turn.values())
        shift = seed % len(queues)
        yield from queues[shift:] + queues[:shift]


def _fill(
    result: Plan,
    entry: Entry,
    shape: Shape,
    environments: list[OpenRooms],
    limit: int,
    long_since: datetime,
) -> None:
    """Places what fits of an entry, and notes what is left: as more to do, or as unplaced."""
    if result.partial or shape.shape_id in result.unplaced:
        return
    if len(result.placements) < limit:
        done = _place(entry, shape, environments, result, limit)
        if done == entry.end_index - entry.next_index:
            return
    if len(result.placements) >= limit:
        result.partial = True
        return
    result.unplaced[shape.shape_id] = entry.ready_at
    if entry.ready_at <= long_since:
        _hold(environments, shape)


def _place(
    entry: Entry, shape: Shape, environments: list[OpenRooms], result: Plan, limit: int
) -> int:
    """Places as many of an entry as fit and returns how many.

    In each environment slots come first, then shared instances (see `longshore.domain.opening`).
    """
    index = entry.next_index
    for fleet in environments:
        slots = fleet.slots.get(shape.need)
        while slots and index < entry.end_index and len(result.placements) < limit:
            room = slots.pop()
            result.placements.append(
                Placement(entry, index, room.instance_id, room.compute_environment)
            )
            index += 1
        while index < entry.end_index and len(result.placements) < limit:
            best = fleet.best(shape.shape_id, shape.need)
            if best is None:
                break
            room = fleet.rooms[best]
            bound = min(entry.end_index - index, limit - len(result.placements))
            for _ in range(fleet.take(best, shape.need, bound)):
                result.placements.append(
                    Placement(entry, index, room.instance_id, room.compute_environment)
                )
                index += 1
        if index == entry.end_index:
            break
    return index - entry.next_index


def _hold(environments: list[OpenRooms], shape: Shape) -> None:
    """Holds the instance where the shape would fit soonest.

    That is one large enough, and with the most free already.
    """
    if any(shape.shape_id in fleet.held() for fleet in environments):
        return
    candidates = [
        (fleet.free(index), fleet.rooms[index].instance_id, fleet, index)
        for fleet in environments
        if (index := fleet.candidate(shape.need)) is not None
    ]
    if candidates:
        _, _, fleet, index = max(candidates, key=lambda found: found[:2])
        fleet.hold(index, shape.shape_id)


class Lack(StrEnum):
    """What an instance lacks for a shape."""

    DRAINING = "DRAINING"
    AWAY = "OUT_OF_TOUCH"
    VCPU = "SHORT_OF_VCPU"
    MEMORY = "SHORT_OF_MEMORY"
    GPU = "SHORT_OF_GPU"
    HELD = "HELD_FOR_AN_EARLIER_JOB"
    SLOT_SIZE = "SLOT_OF_ANOTHER_SIZE"


_LACK_WORDS = {
    Lack.DRAINING: "draining",
    Lack.AWAY: "out of touch",
    Lack.VCPU: "short of vCPU",
    Lack.MEMORY: "short of memory",
    Lack.GPU: "short of GPUs",
    Lack.HELD: "held for an earlier job",
}


def lacks(shape: Shape, environments: tuple[str, ...], rooms: tuple[Room, ...]) -> dict[Lack, int]:
    """Counts the instances of a shape's environments by the first thing each lacks.

    The most frequent comes first. Slots that have their job are not counted: nobody else could ever
    have used them.
    """
    counts: dict[Lack, int] = {}
    for room in rooms:
        if room.compute_environment not in environments or (room.slot and room.draining):
            continue
        if room.draining:
            lack = Lack.DRAINING
        elif room.slot and room.total != shape.need:
            lack = Lack.SLOT_SIZE
        elif room.away:
            lack = Lack.AWAY
        elif room.free.vcpu_milli < shape.need.vcpu_milli:
            lack = Lack.VCPU
        elif room.free.memory_mib < shape.need.memory_mib:
            lack = Lack.MEMORY
        elif room.free.gpus < shape.need.gpus:
            lack = Lack.GPU
        else:
            lack = Lack.HELD
        counts[lack] = counts.get(lack, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


NONE_YET = "Waiting for an instance: none is there yet."


def explain(counts: dict[Lack, int]) -> str:
    """The counts as a sentence: `12 instances: 8 short of memory, 4 draining`."""
    total = sum(counts.values())
    if not total:
        return NONE_YET
    parts = ", ".join(f"{count} {_words(lack, count)}" for lack, count in counts.items())
    return f"Waiting for room: {total} instance{'s' if total > 1 else ''}: {parts}."


def _words(lack: Lack, count: int) -> str:
    if lack is Lack.SLOT_SIZE:
        return "slot of another size" if count == 1 else "slots of another size"
    return _LACK_WORDS[lack]
