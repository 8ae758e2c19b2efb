"""Builders for placement that read like a spec: shapes, entries, instances, queues, snapshots."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from longshore.domain.consumable import Stock, units_of
from longshore.domain.placing.room import Room
from longshore.domain.placing.shapes import (
    PlacingSnapshot,
    Plan,
    Queue,
    QueueEntry,
    QueueSharing,
    Shape,
    Waiting,
)
from longshore.domain.resources import Resources

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def resources(vcpus: float, memory_mib: int | None = None, gpus: int = 0) -> Resources:
    """vCPUs, with 1 GiB each unless said otherwise."""
    return Resources(
        int(vcpus * 1000), int(vcpus * 1024) if memory_mib is None else memory_mib, gpus
    )


def a_shape(
    shape_id: int = 1,
    *,
    queue: str = "q",
    vcpus: float = 1,
    memory_mib: int | None = None,
    gpus: int = 0,
    nodes: int = 0,
    instance_type: str = "",
    share: str = "",
    priority: int = 0,
    max_running: int = 0,
    **units: int,
) -> Shape:
    """Jobs of a queue with these needs, and so many units of resources."""
    need = resources(vcpus, memory_mib, gpus)
    return Shape(
        shape_id,
        queue,
        need,
        nodes,
        instance_type,
        share,
        priority,
        max_running,
        units_of(units.items()),
    )


def a_job(
    shape: Shape, seq: int = 1, *, waited: timedelta = timedelta(), retried: bool = False
) -> QueueEntry:
    """A single job that waits."""
    return QueueEntry(_id(seq), shape.shape_id, -1 if retried else 0, seq, -1, 0, NOW - waited)


def an_array(
    shape: Shape, seq: int = 1, *, first: int = 0, end: int, waited: timedelta = timedelta()
) -> QueueEntry:
    """Children of an array that wait."""
    return QueueEntry(_id(seq), shape.shape_id, 0, seq, first, end, NOW - waited)


def an_instance(
    name: str = "i-0",
    *,
    vcpus: float,
    free: float | None = None,
    memory_mib: int | None = None,
    gpus: int = 0,
    environment: str = "ce",
    draining: bool = False,
    slot: bool = False,
    instance_type: str = "",
) -> Room:
    """An instance; all of it is free unless said otherwise."""
    total = resources(vcpus, memory_mib, gpus)
    left = total if free is None else resources(free, gpus=gpus)
    return Room(name, environment, left, total, draining, slot=slot, instance_type=instance_type)


def instances(
    count: int, *, vcpus: float, environment: str = "ce", **members: object
) -> list[Room]:
    """Instances that are alike and empty."""
    return [
        an_instance(f"i-{environment}-{n}", vcpus=vcpus, environment=environment, **members)
        for n in range(count)
    ]


def a_queue(name: str = "q", *environments: str, priority: int = 1) -> Queue:
    """A queue on environments, in order."""
    return Queue(name, priority, environments or ("ce",))


def a_snapshot(
    shapes: Sequence[Shape],
    rooms: Sequence[Room],
    *entries: QueueEntry,
    queues: Sequence[Queue] | None = None,
    parked: Mapping[Shape, timedelta] | None = None,
    hopeless: Sequence[Shape] = (),
    maxv_cpus: int = 256,
    sharing: Mapping[str, QueueSharing] | None = None,
    held: Sequence[Shape] = (),
    stock: Stock | None = None,
) -> PlacingSnapshot:
    """A snapshot; entries are sorted into their queues' dispatch order, shapes parked as told."""
    by_id = {shape.shape_id: shape for shape in shapes}
    heads: dict[str, list[QueueEntry]] = {}
    for entry in sorted(entries, key=lambda e: (e.rank, e.seq, e.next_index)):
        heads.setdefault(by_id[entry.shape_id].job_queue, []).append(entry)
    return PlacingSnapshot(
        queues=tuple(queues or (a_queue(name) for name in sorted({s.job_queue for s in shapes}))),
        shapes=by_id,
        rooms=tuple(rooms),
        heads={name: tuple(waiting) for name, waiting in heads.items()},
        parked=tuple(
            Waiting(shape.shape_id, NOW - waited) for shape, waited in (parked or {}).items()
        ),
        node_environments={
            room.compute_environment: maxv_cpus
            for room in rooms
            if room.compute_environment != "spot"
        },
        hopeless=frozenset(shape.shape_id for shape in hopeless),
        sharing=sharing or {},
        held=frozenset(shape.shape_id for shape in held),
        stock=stock or Stock(),
    )


def placed(plan: Plan) -> list[tuple[int, int, str]]:
    """What a plan says: seq, array index and instance of each placement, in order."""
    return [(p.entry.seq, p.array_index, p.instance_id) for p in plan.placements]


def _id(seq: int) -> uuid.UUID:
    return uuid.UUID(int=seq)
