"""Edges between jobs, stored at submission."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from longshore.domain.arrays import ArrayRules
from longshore.domain.job import JobStatus
from longshore.state.pool import Connection
from longshore.state.queries import load_history_queries, load_queries

_SQL = load_queries("job_dependency")
_ALL = load_history_queries("job_dependency")


@dataclass(frozen=True, slots=True)
class Dependency:
    """An edge with the present status of what is depended on; None: a child without a row."""

    job_id: uuid.UUID
    depends_on: uuid.UUID | None
    depends_on_index: int
    type: str
    status: JobStatus | None
    parent_status: JobStatus | None
    #: Whether what is depended on is an array whose children exist.
    spawned: bool


@dataclass(frozen=True, slots=True)
class Dependent:
    """An edge seen from what is depended on."""

    job_id: uuid.UUID
    depends_on: uuid.UUID
    depends_on_index: int
    type: str


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
        )
        for row in rows
    ]


async def dependents(conn: Connection, job_ids: Iterable[uuid.UUID]) -> list[Dependent]:
    """Edges of admitted, unfinished jobs onto some jobs."""
    return [Dependent(**row) for row in await conn.fetch(_SQL["dependents"], list(job_ids))]


async def rules(conn: Connection, job_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, ArrayRules]:
    """How the children of arrays wait; jobs that are no arrays are absent."""
    return {
        row["job_id"]: ArrayRules(row["array_size"], row["n_to_n"], row["sequential"])
        for row in await conn.fetch(_SQL["rules"], list(job_ids))
    }
