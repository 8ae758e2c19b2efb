"""Attempts that were given up with their instance, and whose agent comes back.

What was lost ended, as far as anyone could know. A job that is final stays so, and one that was
started again goes on where it is. But where the job still waits for its next attempt, the last one
was not over: it is live again, on the instance that it never left, and how it ends decides.
"""

from longshore.domain.job.changes import Changes
from longshore.domain.job.happening import Returned
from longshore.domain.job.job import JobStatus
from longshore.domain.job.record import JobFacts, JobMove
from longshore.domain.job.snapshot import JobsSnapshot
from longshore.domain.job.tally import Moved


def take_back(jobs: JobsSnapshot, changes: Changes, returned: Returned) -> None:
    """Lets an attempt be live again if nobody has started its job again.

    What was told to stop is not wanted any more, and nodes of multi-node jobs never are: the others
    of their try have ended.
    """
    live, row = returned.live, jobs.rows.get(returned.live.key)
    is_wanted = returned.is_lost and live.stop is None and not live.key.is_node
    if not is_wanted or row is None or not _waits(row, live.attempt):
        return
    status = JobStatus.RUNNING if live.running else JobStatus.STARTING
    changes.count(live.key, JobStatus.RUNNABLE, status)
    move = JobMove(live.key, status, started_at=live.started_at)
    changes.move(move, live.attempt, Moved(live.job_queue, status))
    changes.demand[live.shape_id] -= 1
    changes.revived.append(live)


def _waits(row: JobFacts, attempt: int) -> bool:
    """Whether a job waits for the attempt after this one, and is to have it."""
    return (
        row.status is JobStatus.RUNNABLE
        and row.attempt == attempt
        and not row.is_cancelled
        and not row.is_terminated
    )
