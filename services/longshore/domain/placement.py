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

from longshore.domain.catalogue import FARGATE_FAMILY
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
class Room:
    """What an instance of a compute environment has free, and what it offers in all."""

    instance_id: str
    compute_environment: str
    free: Resources
    total: Resources
    draining: bool = False
    #: Its agent has no stream now: what is placed there would wait for it.
    away: bool = False
    #: It takes one attempt in all, of exactly its size. One that has its attempt is draining.
    slot: bool = False


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
    by_environment: dict[str, _Fleet] = {}
    for room in snapshot.rooms:
        if not room.draining and not room.away:
            by_environment.setdefault(room.compute_environment, _Fleet()).add(room)
    for fleet in by_environment.values():
        if fleet.rooms:
            shift = seed % len(fleet.rooms)
            fleet.rooms[:] = fleet.rooms[shift:] + fleet.rooms[:shift]
    result = Plan()
    long_since = now - hold_after
    for queue, environments in _in_turn(snapshot, by_environment, long_since, seed):
        for entry in snapshot.heads.get(queue.name, ()):
            _fill(result, entry, snapshot.shapes[entry.shape_id], environments, limit, long_since)
    result.held = {
        open_.held_for
        for fleet in by_environment.values()
        for open_ in fleet.rooms
        if open_.held_for is not None
    }
    return result


def _in_turn(
    snapshot: Snapshot, by_environment: Mapping[str, "_Fleet"], long_since: datetime, seed: int
) -> Iterator[tuple[Queue, list["_Fleet"]]]:
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


def is_slot(instance_type: str) -> bool:
    """Whether an instance of a type is a slot: for one job, of exactly its size."""
    return instance_type.partition(".")[0] == FARGATE_FAMILY


class _Open:
    """An instance during a plan: what is free shrinks; `held_for` keeps it for one shape."""

    __slots__ = ("free", "held_for", "room")

    def __init__(self, room: Room) -> None:
        self.room = room
        self.free = room.free
        self.held_for: int | None = None


class _Fleet:
    """The instances of one environment during a plan: shared ones, and slots by their size."""

    __slots__ = ("rooms", "slots")

    def __init__(self) -> None:
        self.rooms: list[_Open] = []
        self.slots: dict[Resources, list[Room]] = {}

    def add(self, room: Room) -> None:
        """Adds an instance. A slot of which something is held already takes nothing more."""
        if not room.slot:
            self.rooms.append(_Open(room))
        elif room.free == room.total:
            self.slots.setdefault(room.total, []).append(room)


def _fill(
    result: Plan,
    entry: Entry,
    shape: Shape,
    environments: list[_Fleet],
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


def _place(entry: Entry, shape: Shape, environments: list[_Fleet], result: Plan, limit: int) -> int:
    """Places as many of an entry as fit and returns how many.

    In each environment slots come first, then the fullest instances.
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
            best = _best(fleet.rooms, shape)
            if best is None:
                break
            for _ in range(
                min(
                    best.free.count(shape.need),
                    entry.end_index - index,
                    limit - len(result.placements),
                )
            ):
                result.placements.append(
                    Placement(entry, index, best.room.instance_id, best.room.compute_environment)
                )
                best.free = best.free - shape.need
                index += 1
        if index == entry.end_index:
            break
    return index - entry.next_index


def _best(rooms: list[_Open], shape: Shape) -> _Open | None:
    """The instance with the least vCPU left that has room.

    Packing keeps others empty, so that they can go.
    """
    best: _Open | None = None
    for open_ in rooms:
        if open_.held_for not in (None, shape.shape_id) or not open_.free.holds(shape.need):
            continue
        if best is None or open_.free.vcpu_milli < best.free.vcpu_milli:
            best = open_
    return best


def _hold(environments: list[_Fleet], shape: Shape) -> None:
    """Holds the instance where the shape would fit soonest.

    That is one large enough, and with the most free already.
    """
    candidates = [
        open_
        for fleet in environments
        for open_ in fleet.rooms
        if open_.held_for is None and open_.room.total.holds(shape.need)
    ]
    if any(open_.held_for == shape.shape_id for fleet in environments for open_ in fleet.rooms):
        return
    if candidates:
        chosen = max(
            candidates, key=lambda o: (o.free.vcpu_milli, o.free.memory_mib, o.room.instance_id)
        )
        chosen.held_for = shape.shape_id


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
