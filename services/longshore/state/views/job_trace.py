"""What is on record of jobs that are over, for their traces."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from longshore.domain.job.job import JobKey, JobStatus
from longshore.domain.job.trace import TracedAttempt, TracedJob, is_sampled, parse_traceparent
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("job_trace")


async def read(conn: Connection, keys: Sequence[JobKey], ratio: float) -> list[TracedJob]:
    """Jobs that are over and whose traces are kept: those of failed ones are in any case."""
    kept = []
    for row in await conn.fetch(_SQL["jobs"], *_columns(keys)):
        key = JobKey(row["job_id"], row["array_index"])
        parent = parse_traceparent(row["traceparent"], row["tracestate"])
        if row["status"] == JobStatus.FAILED or is_sampled(key, parent, ratio):
            kept.append((key, row, parent))
    if not kept:
        return []
    columns = _columns([key for key, _, _ in kept])
    images = {key: row["image"] for key, row, _ in kept}
    attempts = defaultdict[JobKey, list[TracedAttempt]](list)
    for one in await conn.fetch(_SQL["attempts"], *columns):
        job = JobKey(one["job_id"], one["of_index"])
        attempts[job].append(
            TracedAttempt(
                key=JobKey(one["job_id"], one["array_index"]),
                attempt=one["attempt"],
                instance_id=one["instance_id"],
                image=images[job],
                placed_at=one["placed_at"],
                started_at=one["started_at"],
                stopped_at=one["stopped_at"],
                exit_code=one["exit_code"],
                status_reason=one["status_reason"],
                pull_seconds=one["pull_seconds"],
            )
        )
    events = defaultdict[JobKey, list[tuple[datetime, JobStatus]]](list)
    for event in await conn.fetch(_SQL["events"], *columns):
        happened = (event["at"], JobStatus(event["status"]))
        events[JobKey(event["job_id"], event["array_index"])].append(happened)
    return [
        TracedJob(
            key=key,
            name=row["name"],
            job_queue=row["job_queue"],
            definition=f"{row['definition_name']}:{row['definition_revision']}",
            status=JobStatus(row["status"]),
            status_reason=row["status_reason"],
            created_at=row["created_at"],
            stopped_at=row["stopped_at"],
            parent=parent,
            events=events[key],
            attempts=attempts[key],
        )
        for key, row, parent in kept
    ]


def _columns(keys: Sequence[JobKey]) -> tuple[list[object], list[int]]:
    return [key.job_id for key in keys], [key.array_index for key in keys]
