"""The front of a job queue, and what its jobs hold."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from longshore.domain.fair_share import Ledger, SharePolicy, Usage
from longshore.domain.job.job import JobKey
from longshore.domain.placing.shapes import PlacingSnapshot, QueueEntry, QueueSharing, Shape
from longshore.domain.placing.sharing import QueueLine, first_in_turn
from longshore.domain.request.policy import share_policy
from longshore.domain.resources import Resources
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("queue_snapshot")
#: Shares of which it is told what they hold.
_TOP = 20


@dataclass(frozen=True, slots=True)
class FrontJob:
    """A RUNNABLE job or child, and since when it has been at its place."""

    key: JobKey
    since: datetime


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """What stands at the front of a queue, the next to be dispatched first."""

    front: tuple[FrontJob, ...]
    held_vcpus: float
    #: Of a queue with a policy.
    shares: "SharesInUse | None" = None


@dataclass(frozen=True, slots=True)
class SharesInUse:
    """What the shares of a queue hold."""

    active: int
    #: vCPUs by share, the one that holds most first.
    vcpus: tuple[tuple[str, float], ...]


async def read_snapshot(conn: Connection, queue: str, limit: int, now: datetime) -> QueueSnapshot:
    """The first so many jobs and children of a queue, and what its attempts hold."""
    held = await conn.fetchval(_SQL["held_vcpus"], queue)
    row = await conn.fetchrow(_SQL["policy"], queue)
    if row is not None and row["fairshare"] is not None:
        policy = share_policy(row["fairshare"])
        found, shares = await _in_turn(conn, queue, policy, limit, now)
        left_at = row["left_at"]
        front = [
            FrontJob(job.key, job.since if left_at is None else max(job.since, left_at))
            for job in found
        ]
        return QueueSnapshot(tuple(front), held, shares)
    front = []
    for row in await conn.fetch(_SQL["front"], queue, limit):
        end = min(row["end_index"], row["next_index"] + limit - len(front))
        front += (
            FrontJob(JobKey(row["job_id"], index), row["since"])
            for index in range(row["next_index"], end)
        )
    return QueueSnapshot(tuple(front), held)


async def _in_turn(
    conn: Connection, queue: str, policy: SharePolicy, limit: int, now: datetime
) -> tuple[list[FrontJob], SharesInUse]:
    """The first jobs of a queue with a policy, as if there were room for each; maybe fewer."""
    ledger = Ledger(
        {
            (queue, row["share_identifier"]): Usage(
                row["as_of"], row["average"], row["running_milli"], row["used_at"]
            )
            for row in await conn.fetch(_SQL["usages"], queue)
        }
    )
    shapes = {
        row["shape_id"]: Shape(
            row["shape_id"],
            queue,
            Resources(row["vcpu_milli"], row["memory_mib"], row["gpus"]),
            row["nodes"],
            row["instance_type"],
            row["share_identifier"],
            row["priority"],
        )
        for row in await conn.fetch(_SQL["shapes"], queue)
    }
    waiting = {shape.share for shape in shapes.values()}
    _, active = ledger.in_use(queue, policy, waiting, now)
    held = [(share, usage.running_milli / 1000) for (_, share), usage in ledger.usages.items()]
    shares = SharesInUse(
        active, tuple(sorted((h for h in held if h[1]), key=lambda h: (-h[1], h[0]))[:_TOP])
    )
    standings = ledger.standings(queue, policy, waiting, now)
    chosen = first_in_turn(shapes, shapes, standings, limit)
    each = max(limit * 4 // max(len(chosen), 1), 10)
    entries = tuple(QueueEntry(**row) for row in await conn.fetch(_SQL["heads"], chosen, each))
    counts = Counter(entry.shape_id for entry in entries)
    sharing = QueueSharing(
        standings,
        frozenset(shape_id for shape_id, count in counts.items() if count == each),
        dict.fromkeys(shapes.keys() - set(chosen)),
    )
    line = QueueLine(
        PlacingSnapshot((), shapes, (), {queue: entries}, sharing={queue: sharing}), queue
    )
    front: list[FrontJob] = []
    while line and len(front) < limit:
        entry = line.item
        if not isinstance(entry, QueueEntry):
            line.skip()
            continue
        count = min(line.most(entry), limit - len(front))
        keys = (JobKey(entry.job_id, line.index + offset) for offset in range(count))
        front += [FrontJob(key, entry.ready_at) for key in keys]
        line.take(entry, count)
    return front, shares
