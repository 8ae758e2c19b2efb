"""Changes of jobs that wait: checked and recorded here, decided by the scheduler."""

import asyncio
from collections.abc import Callable

import structlog

from longshore.backoff import Backoff
from longshore.domain.arn import JOB_QUEUE, parse_name
from longshore.domain.checks import Json
from longshore.domain.errors import LimitExceeded, Unavailable
from longshore.domain.fair_share import ACTIVE_MAX
from longshore.domain.job.altering import Alteration
from longshore.domain.limits import Limits
from longshore.domain.request.submission import check_queue
from longshore.domain.request.update import (
    Change,
    JobUpdate,
    WaitingJob,
    change_of,
    check_target,
    check_update,
    check_waiting,
    turned_down,
    with_container,
)
from longshore.rpc.permission import SUBMIT, current_user, demand
from longshore.state.pool import Connection, Pool, connection, transaction
from longshore.state.submission import job_submission, share
from longshore.state.submission import job_update_request as state
from longshore.submission.job_access import check_jobs

log = structlog.get_logger()

#: How long the scheduler may take; a pass takes a small part of it.
DECIDE_SECONDS = 5.0
#: Between looks at what it has decided.
LOOK_FIRST_SECONDS = 0.01
LOOK_LAST_SECONDS = 0.25
#: How long outcomes are kept that nobody took.
KEPT_SECONDS = 3600


class Updating:
    """Changes jobs that wait."""

    def __init__(
        self, pool: Pool, encode_container: Callable[[Json], bytes], limits: Limits
    ) -> None:
        """Makes it.

        Args:
            pool: of the database.
            encode_container: serializes container properties as agents get them.
            limits: what jobs may ask for.
        """
        self._pool = pool
        self._limits = limits
        self._encode_container = encode_container

    async def check(self, text: str, job_queue: str) -> None:
        """Checks that the caller may change a job, and move it to a queue if it is to be moved.

        Raises:
            PermissionDenied: he may not.
        """
        await check_jobs(self._pool, [text])
        if job_queue and (user := current_user()) is not None:
            name = parse_name(JOB_QUEUE, job_queue, member="jobQueue")
            demand((user.arns.job_queue(name),), action=SUBMIT)

    async def update(self, text: str, update: JobUpdate) -> None:
        """Changes a job, or its children that wait; returns once that is so.

        Raises:
            InvalidRequest: a member is wrong.
            NotFound: there is no such job or queue.
            PreconditionFailed: nothing of it waits, it is over, or the queue takes no jobs.
            Unavailable: the scheduler did not act in time; nothing was changed.
        """
        key = check_target(text)
        check_update(update, self._limits)
        async with transaction(self._pool) as conn:
            update_id = await state.claim(conn, key.job_id)
            if update_id is None:
                raise Unavailable(f"Another change of job {key} is under way; try again.")
            job = check_waiting(key, await state.find(conn, key.job_id))
            await state.fill(conn, update_id, await self._change(conn, job, update))
        try:
            outcome = await self._outcome(update_id)
        except asyncio.CancelledError:
            # The caller has left, or its time is over: a change that it took for not made would
            # otherwise be made once the scheduler is back.
            await self._withdraw(update_id)
            raise
        if outcome is not Alteration.APPLIED:
            raise turned_down(key, outcome)

    async def _change(self, conn: Connection, job: WaitingJob, update: JobUpdate) -> Change:
        name = update.job_queue or job.job_queue
        found = (await job_submission.lock_queues(conn, [name])).get(name)
        moves = name != job.job_queue
        # A job may change in a queue that takes no new ones.
        queue = check_queue(name, found) if moves or found is None else found
        change = change_of(job, update, queue, self._limits)
        entered = change.share or (job.share if moves and queue.is_shared else None)
        if entered and await share.enter(conn, {(name, entered)}, ACTIVE_MAX):
            raise LimitExceeded(
                f"JobQueue {name} has {ACTIVE_MAX} active shares, the most that there may be; "
                f"change the job once another share's jobs are over."
            )
        if "container" in change.detail:
            return with_container(change, self._encode_container(change.detail["container"]))
        return change

    async def _outcome(self, update_id: int) -> Alteration:
        """What the scheduler decides of a change.

        Raises:
            Unavailable: it did not in time, and will not any more.
        """
        pause = Backoff(LOOK_FIRST_SECONDS, LOOK_LAST_SECONDS)
        clock = asyncio.get_running_loop().time
        deadline = clock() + DECIDE_SECONDS
        while True:
            async with connection(self._pool) as conn:
                outcome = await state.outcome(conn, update_id)
                if outcome is not None:
                    return outcome
                if clock() > deadline and await state.withdraw(conn, update_id):
                    raise Unavailable(
                        "The scheduler did not act in time, and nothing was changed; try again."
                    )
            await asyncio.sleep(pause.delay())

    async def _withdraw(self, update_id: int) -> None:
        try:
            async with connection(self._pool) as conn:
                await state.withdraw(conn, update_id)
        except Unavailable as error:
            log.warning("update.not_withdrawn", update_id=update_id, reason=error.message)


async def forget_outcomes(pool: Pool) -> None:
    """Forgets outcomes that nobody took."""
    async with transaction(pool) as conn:
        await state.prune(conn, KEPT_SECONDS)
