"""Arrays that run failed children of other arrays again."""

import uuid
from array import array
from collections.abc import Sequence

from longshore.domain.job.arrays import Origins
from longshore.domain.job.job import JobStatus
from longshore.domain.request.rerun import OldArray
from longshore.state.pool import Connection
from longshore.state.queries import load_history_queries, load_queries

_SQL = load_queries("job_rerun")
_ALL = load_history_queries("job_rerun")


async def find(conn: Connection, job_id: uuid.UUID) -> OldArray | None:
    """A job as it was submitted, live or history; None if there is no such job."""
    for queries in (_SQL, _ALL):
        for row in await conn.fetch(queries["find_array"], job_id):
            pairs = row["rerun_pairs"]
            return OldArray(
                job_id=job_id,
                name=row["name"],
                job_queue=row["job_queue"],
                definition_name=row["definition_name"],
                definition_revision=row["definition_revision"],
                size=row["array_size"],
                status=JobStatus(row["status"]),
                attempts_max=row["attempts_max"],
                timeout_seconds=row["timeout_seconds"],
                share=row["share_identifier"],
                detail=row["detail"],
                container=row["container"],
                task=row["task"],
                tags=row["tags"],
                origins=None if pairs is None else Origins(row["rerun_size"], array("i", pairs)),
            )
    return None


async def failed_runs(conn: Connection, job_id: uuid.UUID) -> list[tuple[int, int]]:
    """The failed children of an array that is over, live or history.

    Returns:
        The first of each run of them one after the other, and how many these are.
    """
    runs: Sequence[tuple[int, int]] = ()
    for queries in (_SQL, _ALL):
        if not runs:
            [row] = await conn.fetch(queries["failed_runs"], job_id)
            runs = list(zip(row["firsts"], row["lengths"], strict=True))
    return list(runs)


async def mark(
    conn: Connection, job_id: uuid.UUID, old_job_id: uuid.UUID, origins: Origins
) -> None:
    """Notes on an array just stored whose children it runs again, and what its own see."""
    await conn.execute(_SQL["mark_job"], job_id, old_job_id)
    await conn.execute(_SQL["mark_spec"], job_id, origins.size, origins.pairs)
