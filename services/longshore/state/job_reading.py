"""Reading jobs for those who ask: describe and list."""

import uuid
from collections import defaultdict
from collections.abc import Sequence

import asyncpg

from longshore.domain.job import JobKey, JobStatus
from longshore.domain.reading import (
    ArrayCounts,
    AttemptRecord,
    DescribedJob,
    JobFilter,
    JobRecord,
)
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("job_reading")
_COUNTED = ("PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
#: No job is submitted this late.
_BEYOND = 2**63 - 1
_BEFORE_START = ("SUBMITTED", "PENDING", "RUNNABLE")


async def describe_jobs(conn: Connection, keys: Sequence[JobKey]) -> list[DescribedJob]:
    """Jobs with all that is known of them, in the order asked for; unknown ones are left out."""
    columns = [key.job_id for key in keys], [key.array_index for key in keys]
    rows = await conn.fetch(_SQL["describe_jobs"], *columns)
    attempts: dict[JobKey, list[AttemptRecord]] = defaultdict(list)
    for row in await conn.fetch(_SQL["read_attempts"], *columns):
        attempts[JobKey(row["job_id"], row["array_index"])].append(_attempt(row))
    return [
        DescribedJob(job, row["detail"], row["tags"], tuple(attempts[job.key]))
        for row in rows
        for job in (_job(row),)
    ]


async def list_queue(
    conn: Connection, queue: str, wanted: JobFilter, *, before_seq: int | None, limit: int
) -> list[JobRecord]:
    """Single jobs and array parents of a queue, newest first."""
    rows = await conn.fetch(
        _SQL["list_queue"],
        queue,
        wanted.statuses,
        _BEYOND if before_seq is None else before_seq,
        limit,
        wanted.name_pattern,
        wanted.definition_pattern,
        wanted.definition_revision,
        wanted.created_before,
        wanted.created_after,
    )
    return [_job(row) for row in rows]


async def list_children(
    conn: Connection, job_id: uuid.UUID, status: str, *, after_index: int, limit: int
) -> list[JobRecord]:
    """Children of an array job in a status, by index."""
    rows = await conn.fetch(_SQL["list_children"], job_id, status, after_index, limit)
    indexes = [row["array_index"] for row in rows]
    children = await conn.fetch(_SQL["describe_jobs"], [job_id] * len(indexes), indexes)
    return [_job(row) for row in children]


async def is_array(conn: Connection, job_id: uuid.UUID) -> bool | None:
    """Whether a job is an array parent, None if there is no such job."""
    found: bool | None = await conn.fetchval(_SQL["is_array"], job_id)
    return found


def _job(row: asyncpg.Record) -> JobRecord:
    status = JobStatus(row["status"])
    # What was asked for counts at once, before the scheduler has acted on it.
    cancels = row["cancels"] and row["status"] in _BEFORE_START
    terminates = row["terminates"] and not status.final
    is_child = row["array_index"] >= 0
    counts = None
    if row["pending"] is not None and not is_child:
        by_status = {name: row[name.lower()] for name in _COUNTED}
        counts = ArrayCounts({"SUBMITTED": 0, **by_status}, row["changed_at"])
    return JobRecord(
        key=JobKey(row["job_id"], row["array_index"]),
        seq=row["seq"],
        name=row["name"],
        job_queue=row["job_queue"],
        definition_name=row["definition_name"],
        definition_revision=row["definition_revision"],
        status=status,
        status_reason=row["status_reason"],
        array_size=row["array_size"],
        counts=counts,
        is_cancelled=row["is_cancelled"] or cancels,
        is_terminated=row["is_terminated"] or terminates,
        exit_code=row["exit_code"],
        reason=row["reason"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        stopped_at=row["stopped_at"],
    )


def _attempt(row: asyncpg.Record) -> AttemptRecord:
    return AttemptRecord(
        attempt=row["attempt"],
        attempt_id=row["attempt_id"],
        instance_id=row["instance_id"],
        compute_environment=row["compute_environment"],
        environment_id=row["environment_id"],
        log_stream_name=row["log_stream_name"],
        started_at=row["started_at"],
        stopped_at=row["stopped_at"],
        exit_code=row["exit_code"],
        reason=row["reason"],
        status_reason=row["status_reason"],
    )
