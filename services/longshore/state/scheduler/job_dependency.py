"""Edges between jobs, stored at submission."""

import uuid
from collections.abc import Collection, Iterable, Sequence

from longshore.domain.job.arrays import ArrayRules
from longshore.domain.job.dependency import Dependency, DependencyCondition, Dependent
from longshore.domain.job.happening import Ended
from longshore.domain.job.job import JobStatus
from longshore.state.pool import Connection
from longshore.state.queries import load_history_queries, load_queries

_SQL = load_queries("job_dependency")
_ALL = load_history_queries("job_dependency")
#: Comes before every id.
_FIRST = uuid.UUID(int=0)


async def of_jobs(conn: Connection, job_ids: Iterable[uuid.UUID]) -> list[Dependency]:
    """All edges of some jobs, onto live jobs and onto those that are history."""
    rows = await conn.fetch(_SQL["of_jobs"], list(job_ids))
    past = {r["job_id"] for r in rows if r["depends_on"] and r["parent_status"] is None}
    if past:
        rows = [row for row in rows if row["job_id"] not in past]
        rows += await conn.fetch(_ALL["of_jobs"], list(past))
    return [
        Dependency(
            job_id=row["job_id"],
            depends_on=row["depends_on"],
            depends_on_index=row["depends_on_index"],
            type=row["type"],
            status=None if row["status"] is None else JobStatus(row["status"]),
            parent_status=None if row["parent_status"] is None else JobStatus(row["parent_status"]),
            spawned=row["spawned"],
            condition=DependencyCondition(row["condition"]),
        )
        for row in rows
    ]


async def widths(conn: Connection, job_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, int]:
    """How many dependencies jobs have; those without are left out."""
    rows = await conn.fetch(_SQL["widths"], job_ids)
    return {row["job_id"]: row["width"] for row in rows}


async def depended_on(conn: Connection, job_ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    """Those of some jobs on which others depend, as a whole or on their children."""
    return {row["job_id"] for row in await conn.fetch(_SQL["depended_on"], list(job_ids))}


async def dependents(conn: Connection, ended: Sequence[Ended], limit: int) -> list[Dependent]:
    """A page of those who wait for each of some jobs, in order, whatever their own status."""
    rows = await conn.fetch(
        _SQL["dependents"],
        [e.key.job_id for e in ended],
        [e.key.array_index for e in ended],
        [e.after or _FIRST for e in ended],
        limit,
    )
    return [Dependent(**row) for row in rows]


async def downstream(
    conn: Connection, job_ids: Collection[uuid.UUID], limit: int
) -> list[uuid.UUID]:
    """The waiting jobs that need the success of some, directly or through others.

    Nearest first; at most `limit` of them.
    """
    rows = await conn.fetch(_SQL["downstream"], list(job_ids), len(job_ids) + limit)
    return [row["job_id"] for row in rows if row["job_id"] not in job_ids]


async def rules(conn: Connection, job_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, ArrayRules]:
    """How the children of arrays wait; jobs that are no arrays are absent."""
    return {
        row["job_id"]: ArrayRules(
            row["array_size"], row["n_to_n"], row["sequential"], row["on_any_end"]
        )
        for row in await conn.fetch(_SQL["rules"], list(job_ids))
    }
