"""Array parents: how many children are in which status."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from longshore.domain.job.job import JobStatus
from longshore.domain.job.record import ChildCounts, NewArray
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("array_job")
#: Statuses that are counted, in the order of the columns.
COUNTED = (
    JobStatus.PENDING,
    JobStatus.RUNNABLE,
    JobStatus.STARTING,
    JobStatus.RUNNING,
    JobStatus.SUCCEEDED,
    JobStatus.FAILED,
)


async def insert(conn: Connection, arrays: Sequence[NewArray], now: datetime | None = None) -> None:
    """Spawns arrays: counts begin with what is ready at once."""
    if arrays:
        await conn.execute(
            _SQL["insert"],
            [a.job_id for a in arrays],
            [a.size for a in arrays],
            [a.runnable for a in arrays],
            [a.sequential for a in arrays],
            now,
        )


async def change(
    conn: Connection,
    differences: Mapping[uuid.UUID, Mapping[JobStatus, int]],
    now: datetime | None = None,
) -> list[ChildCounts]:
    """Moves children between statuses and returns the arrays' new counts."""
    job_ids = sorted(job_id for job_id, diff in differences.items() if any(diff.values()))
    if not job_ids:
        return []
    columns = [[differences[j].get(status, 0) for j in job_ids] for status in COUNTED]
    return [_counts(row) for row in await conn.fetch(_SQL["change"], job_ids, *columns, now)]


async def load(conn: Connection, job_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, ChildCounts]:
    """Counts of arrays that are spawned."""
    if not job_ids:
        return {}
    rows = await conn.fetch(_SQL["load"], list(job_ids))
    return {row["job_id"]: _counts(row) for row in rows}


def _counts(row: Any) -> ChildCounts:
    return ChildCounts(
        job_id=row["job_id"],
        size=row["size"],
        counts={status: row[status.value.lower()] for status in COUNTED},
    )
