"""A job as it was when it reached a status, from what is known of it later."""

from dataclasses import dataclass, replace
from datetime import datetime

from longshore.domain.job.job import JobStatus
from longshore.domain.request.reading import AttemptRecord, DescribedJob


@dataclass(frozen=True, slots=True)
class Moment:
    """When a job reached a status: its latest attempt then, counted from 1, or 0."""

    status: JobStatus
    status_reason: str | None
    attempt: int
    at: datetime


def as_of(described: DescribedJob, moment: Moment) -> DescribedJob:
    """What was known of a job when it reached a status.

    A status that is reached again after an attempt was given back shows what is known of the
    attempt that has its number now.
    """
    final = moment.status.final
    job, attempts = described.job, _attempts(described, moment)
    running = attempts[-1].started_at if moment.status is JobStatus.RUNNING and attempts else None
    if job.key.is_node and attempts:
        # It is where its latest attempt is, which may be a later one.
        latest = attempts[-1]
        job = replace(
            job,
            exit_code=latest.exit_code,
            reason=latest.reason,
            started_at=latest.started_at,
            stopped_at=latest.stopped_at,
        )
    return replace(
        described,
        job=replace(
            job,
            status=moment.status,
            status_reason=moment.status_reason,
            counts=job.counts if final else None,
            is_cancelled=final and job.is_cancelled,
            is_terminated=final and job.is_terminated,
            exit_code=job.exit_code if final else None,
            reason=job.reason if final else None,
            started_at=job.started_at if final else running,
            stopped_at=job.stopped_at if final else None,
            rerun_of=None,
        ),
        attempts=attempts,
        rerun_index=None,
        rerun_indexes=(),
        memory_mib=None,
    )


def _attempts(described: DescribedJob, moment: Moment) -> tuple[AttemptRecord, ...]:
    """The attempts that there were, each as far as it was."""
    found = []
    for known in described.attempts:
        attempt = known if known.memory_mib is None else replace(known, memory_mib=None)
        if attempt.attempt > moment.attempt:
            continue
        if attempt.attempt < moment.attempt or moment.status.final:
            found.append(attempt)
        elif moment.status is JobStatus.RUNNING:
            found.append(_under_way(attempt, started_at=attempt.started_at))
        elif moment.status is JobStatus.STARTING:
            found.append(_under_way(attempt, started_at=None))
        elif attempt.stopped_at is not None and attempt.stopped_at <= moment.at:
            found.append(attempt)
    return tuple(found)


def _under_way(attempt: AttemptRecord, started_at: datetime | None) -> AttemptRecord:
    """An attempt before its end, and without a start also before that."""
    is_started = started_at is not None
    return replace(
        attempt,
        started_at=started_at,
        stopped_at=None,
        exit_code=None,
        reason=None,
        status_reason=None,
        address=attempt.address if is_started else None,
        containers={
            name: {"name": name, "started": state.get("started", False)}
            for name, state in attempt.containers.items()
            if is_started
        },
    )
