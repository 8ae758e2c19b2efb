"""Changes of jobs that wait: their queue, share, priority, needs and timeout.

A job that has started goes on as it was submitted. Of an array, the children that wait change, and
those that run do not; an array changes its queue only as a whole, while none of its children has
started.
"""

from enum import StrEnum

from longshore.domain.job.changes import Changes
from longshore.domain.job.happening import Altered
from longshore.domain.job.job import JobStatus
from longshore.domain.job.record import ChildCounts, JobFacts, NewEntry
from longshore.domain.job.snapshot import JobsSnapshot

_WAITING = (JobStatus.SUBMITTED, JobStatus.PENDING, JobStatus.RUNNABLE)


class Alteration(StrEnum):
    """What becomes of a change."""

    APPLIED = "APPLIED"
    #: Nothing of the job waits.
    STARTED = "STARTED"
    #: It is over, or about to end.
    OVER = "OVER"


def judge(row: JobFacts | None, counts: ChildCounts | None, *, moves: bool) -> Alteration:
    """What becomes of a change of a job.

    Args:
        row: the job, None if it is not among the live ones.
        counts: of its children, if it is an array that has some.
        moves: whether its queue or share changes.
    """
    if row is None or row.status.final or row.is_cancelled or row.is_terminated:
        return Alteration.OVER
    if counts is None:
        return Alteration.APPLIED if row.status in _WAITING else Alteration.STARTED
    waits = counts.counts[JobStatus.PENDING] + counts.counts[JobStatus.RUNNABLE]
    runs = counts.counts[JobStatus.STARTING] + counts.counts[JobStatus.RUNNING]
    return Alteration.APPLIED if waits and not (moves and runs) else Alteration.STARTED


def alter(jobs: JobsSnapshot, changes: Changes, asked: Altered) -> None:
    """Changes a job that waits; what may be placed waits in its new shapes, where it did."""
    row, counts = jobs.rows.get(asked.key), jobs.counts.get(asked.key.job_id)
    if judge(row, counts, moves=asked.moves) is not Alteration.APPLIED:
        return
    changes.altered.append(asked)
    entries = jobs.entries.get(asked.key.job_id, ())
    if not entries:
        return
    changes.unready.append(asked.key)
    for entry in entries:
        shape_id, job_queue = asked.shapes[entry.shape_id]
        changes.make_ready(
            NewEntry(
                job_queue,
                entry.job_id,
                shape_id,
                entry.seq,
                entry.next_index,
                entry.end_index,
                entry.rank,
                entry.ready_at,
            )
        )
