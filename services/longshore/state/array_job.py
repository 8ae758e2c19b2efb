"""Array parents: how many children are in which status, and what single children wait for."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from longshore.domain.job import JobKey, JobStatus
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


@dataclass(frozen=True, slots=True)
class ArrayCounts:
    """Children of an array by status."""

    job_id: uuid.UUID
    size: int
    counts: Mapping[JobStatus, int]

    @property
    def finished(self) -> bool:
        """Whether every child is final."""
        return self.counts[JobStatus.SUCCEEDED] + self.counts[JobStatus.FAILED] == self.size


@dataclass(frozen=True, slots=True)
class NewArray:
    """An array whose children begin to exist."""

    job_id: uuid.UUID
    size: int
    runnable: int
    sequential: bool


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
) -> list[ArrayCounts]:
    """Moves children between statuses and returns the arrays' new counts."""
    job_ids = sorted(job_id for job_id, diff in differences.items() if any(diff.values()))
    if not job_ids:
        return []
    columns = [[differences[j].get(status, 0) for j in job_ids] for status in COUNTED]
    return [_counts(row) for row in await conn.fetch(_SQL["change"], job_ids, *columns, now)]


async def load(conn: Connection, job_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, ArrayCounts]:
    """Counts of arrays that are spawned."""
    if not job_ids:
        return {}
    rows = await conn.fetch(_SQL["load"], list(job_ids))
    return {row["job_id"]: _counts(row) for row in rows}


async def load_waits(conn: Connection, keys: Iterable[JobKey]) -> dict[JobKey, int]:
    """How many edges children still wait for; those of which none has fired are absent."""
    pairs = list(keys)
    if not pairs:
        return {}
    rows = await conn.fetch(
        _SQL["load_waits"], [k.job_id for k in pairs], [k.array_index for k in pairs]
    )
    return {JobKey(row["job_id"], row["array_index"]): row["dependencies_left"] for row in rows}


async def set_waits(conn: Connection, waits: Mapping[JobKey, int]) -> None:
    """Stores how many edges children still wait for.

    Nothing is kept of those that wait for none.
    """
    left = [(key, n) for key, n in waits.items() if n > 0]
    done = [key for key, n in waits.items() if n <= 0]
    if left:
        await conn.execute(
            _SQL["set_waits"],
            [key.job_id for key, _ in left],
            [key.array_index for key, _ in left],
            [n for _, n in left],
        )
    if done:
        await conn.execute(
            _SQL["drop_waits"], [k.job_id for k in done], [k.array_index for k in done]
        )


async def drop_all_waits(conn: Connection, job_ids: Sequence[uuid.UUID]) -> None:
    """Forgets what the children of some arrays wait for."""
    if job_ids:
        await conn.execute(_SQL["drop_all_waits"], list(job_ids))


def _counts(row: Any) -> ArrayCounts:
    return ArrayCounts(
        job_id=row["job_id"],
        size=row["size"],
        counts={status: row[status.value.lower()] for status in COUNTED},
    )
