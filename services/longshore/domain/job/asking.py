"""Requests to cancel and to terminate.

Cancel: a job that waits for capacity fails; one that waits for dependencies is marked and fails
when they are met; one that is placed runs on. Terminate: what waits fails at once, what is placed
is stopped. On an array parent both mean every child: so many a step, and of the others none is
placed meanwhile. Final jobs stay as they are.
"""

from dataclasses import replace

from longshore.domain.job.changes import Changes
from longshore.domain.job.ending import stop
from longshore.domain.job.happening import StopAsked
from longshore.domain.job.job import WHOLE, JobKey, JobStatus, Stop, StopKind
from longshore.domain.job.record import JobFacts, JobFlag, NewChild
from longshore.domain.job.snapshot import JobsSnapshot
from longshore.domain.job.tally import stopped_by
from longshore.domain.job.waiting import fail_children

_WAITING = (JobStatus.SUBMITTED, JobStatus.PENDING, JobStatus.RUNNABLE)


def act(jobs: JobsSnapshot, changes: Changes, asked: StopAsked) -> None:
    """Acts on a request; one of a job that does not exist, or is over, comes to nothing."""
    parent = jobs.rows.get(asked.key.parent)
    if parent is None or parent.status.final:
        return
    is_spawned = asked.key.job_id in jobs.spawned
    if asked.key.array_index != WHOLE:
        if is_spawned and asked.key.array_index < (parent.array_size or 0):
            _child(jobs, changes, asked)
    elif is_spawned:
        _children(jobs, changes, asked)
    else:
        _job(jobs, changes, asked, parent)


def _job(jobs: JobsSnapshot, changes: Changes, asked: StopAsked, row: JobFacts) -> None:
    """A single or multi-node job, or an array whose children do not exist yet."""
    if row.status in _WAITING and (asked.terminate or row.status is not JobStatus.PENDING):
        if row.status is JobStatus.RUNNABLE:
            changes.unready.append(row.key)
        changes.flags.append(_flag(asked))
        changes.fail(
            row.key,
            asked.reason,
            row.attempt,
            row.job_queue,
            stopped_by(cancelled=not asked.terminate, terminated=asked.terminate),
            number=row.array_size or 1,
        )
    elif row.status is JobStatus.PENDING:
        changes.flags.append(_flag(asked))
    elif asked.terminate:
        _stop(jobs, changes, asked)


def _child(jobs: JobsSnapshot, changes: Changes, asked: StopAsked) -> None:
    """One child of an array whose children exist."""
    key, row = asked.key, jobs.rows.get(asked.key)
    if key in jobs.runnable:
        changes.unready.append(key)
        _fail_child(jobs, changes, asked, JobStatus.RUNNABLE)
    elif row is None or row.status is JobStatus.PENDING:
        if asked.terminate:
            _fail_child(jobs, changes, asked, JobStatus.PENDING)
        elif row is None:
            changes.children.append(NewChild(key, JobStatus.PENDING, asked.reason, cancelled=True))
    elif asked.terminate:
        _stop(jobs, changes, asked)


def _fail_child(jobs: JobsSnapshot, changes: Changes, asked: StopAsked, before: JobStatus) -> None:
    row = jobs.rows.get(asked.key)
    if row is None:
        changes.children.append(
            NewChild(
                asked.key,
                JobStatus.PENDING,
                asked.reason,
                cancelled=not asked.terminate,
                terminated=asked.terminate,
            )
        )
    else:
        changes.flags.append(_flag(asked))
    changes.count(asked.key, before, JobStatus.FAILED)
    changes.fail(
        asked.key,
        asked.reason,
        0 if row is None else row.attempt,
        jobs.rows[asked.key.parent].job_queue,
        stopped_by(cancelled=not asked.terminate, terminated=asked.terminate),
    )


def _children(jobs: JobsSnapshot, changes: Changes, asked: StopAsked) -> None:
    """Some children of an array: those not placed fail, and on terminate those placed stop.

    From the first of them on no child of the array is placed that never was.
    """
    job_id = asked.key.job_id
    changes.flags.append(_flag(asked))
    changes.held.append(job_id)
    waiting: list[JobKey] = []
    for index in range(asked.first, asked.end):
        key = JobKey(job_id, index)
        row = jobs.rows.get(key)
        if row is None or row.status in _WAITING:
            waiting.append(key)
        if row is not None and row.status in _WAITING:
            changes.flags.append(_flag(replace(asked, key=key)))
        if row is not None and row.status is JobStatus.RUNNABLE:
            changes.unready.append(key)
            # Counted as PENDING first, so that all that fail are moved in one way.
            changes.count(key, JobStatus.RUNNABLE, JobStatus.PENDING)
    fail_children(
        jobs,
        changes,
        waiting,
        asked.reason,
        cancelled=not asked.terminate,
        terminated=asked.terminate,
    )
    if asked.terminate:
        for index in range(asked.first, asked.end):
            _stop(jobs, changes, replace(asked, key=JobKey(job_id, index)))


def _stop(jobs: JobsSnapshot, changes: Changes, asked: StopAsked) -> None:
    for live in jobs.attempts.live_of(asked.key):
        changes.flags.append(_flag(asked))
        stop(jobs.attempts, changes, live, Stop(StopKind.TERMINATED, asked.reason))


def _flag(asked: StopAsked) -> JobFlag:
    return JobFlag(asked.key, not asked.terminate, asked.terminate, asked.reason)
