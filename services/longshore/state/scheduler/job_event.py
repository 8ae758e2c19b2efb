"""What happened to jobs, in order, append-only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from longshore.domain.job.job import JobKey, JobStatus
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("job_event")


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A job reached a status."""

    key: JobKey
    attempt: int
    status: JobStatus
    status_reason: str | None
    at: datetime


async def insert(conn: Connection, events: Sequence[JobEvent]) -> None:
    """Appends events."""
    if events:
        await conn.execute(
            _SQL["insert"],
            [e.key.job_id for e in events],
            [e.key.array_index for e in events],
            [e.attempt for e in events],
            [e.status.value for e in events],
            [e.status_reason for e in events],
            [e.at for e in events],
        )
