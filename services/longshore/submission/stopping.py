"""Jobs that are stopped together, by what they have in common."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from longshore.domain.checks import check_reason
from longshore.domain.errors import NotFound
from longshore.domain.job.job import JobKey
from longshore.domain.request.selection import Selection, check_selection
from longshore.state.pool import Pool, connection, transaction
from longshore.state.submission import job_control, job_queue, job_selection
from longshore.submission.job_access import allowed_jobs

#: Jobs looked at in one transaction.
BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Stopped:
    """How far it is."""

    jobs: int
    children: int
    complete: bool = False


class Stopping:
    """Cancels and terminates by selection."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def stop(
        self, selection: Selection, *, terminate: bool, reason: str, dry_run: bool
    ) -> AsyncIterator[Stopped]:
        """Asks that all jobs selected stop, part by part; tells after each how many it are.

        Raises:
            InvalidRequest: the selection or the reason is wrong.
            NotFound: there is no such queue.
        """
        wanted = check_selection(selection, terminate=terminate)
        if not dry_run:
            check_reason(reason)
        kind = job_control.TERMINATE if terminate else job_control.CANCEL
        jobs = children = 0
        for queue in await self._queues(wanted):
            after_seq: int | None = -1
            while after_seq is not None:
                async with transaction(self._pool) as conn:
                    part = await job_selection.select(
                        conn, queue, wanted, terminate=terminate, after_seq=after_seq, limit=BATCH
                    )
                    job_ids, of_arrays = part.job_ids, part.children
                    # Others' jobs, with which the caller may not do this, are not meant.
                    if job_ids and (allowed := await allowed_jobs(conn, job_ids)) is not None:
                        job_ids, of_arrays = allowed
                    if job_ids and not dry_run:
                        keys = [JobKey(job_id) for job_id in job_ids]
                        await job_control.insert_requests(conn, keys, kind, reason)
                after_seq = part.after_seq
                jobs += len(job_ids)
                children += of_arrays
                yield Stopped(jobs, children)
        yield Stopped(jobs, children, complete=True)

    async def _queues(self, wanted: Selection) -> list[str]:
        async with connection(self._pool) as conn:
            if wanted.job_queue is None:
                return await job_selection.queue_names(conn)
            if not await job_queue.read_queues(conn, [wanted.job_queue]):
                raise NotFound(
                    f"JobQueue {wanted.job_queue} not found.", member="selection.jobQueue"
                )
            return [wanted.job_queue]
