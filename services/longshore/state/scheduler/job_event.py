"""What happened to jobs, in order, append-only."""

from collections.abc import Sequence

from longshore.domain.job.record import JobEvent
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("job_event")


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
            [e.end_index for e in events],
        )
