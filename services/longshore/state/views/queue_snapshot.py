"""The front of a job queue, and what its jobs hold."""

from dataclasses import dataclass
from datetime import datetime

from longshore.domain.job.job import JobKey
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("queue_snapshot")


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


async def read_snapshot(conn: Connection, queue: str, limit: int) -> QueueSnapshot:
    """The first so many jobs and children of a queue, and what its attempts hold."""
    front: list[FrontJob] = []
    for row in await conn.fetch(_SQL["front"], queue, limit):
        end = min(row["end_index"], row["next_index"] + limit - len(front))
        front += (
            FrontJob(JobKey(row["job_id"], index), row["since"])
            for index in range(row["next_index"], end)
        )
    return QueueSnapshot(tuple(front), await conn.fetchval(_SQL["held_vcpus"], queue))
