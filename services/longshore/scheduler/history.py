"""Finished jobs leave the live tables after a while, and the database after their time.

Both in bounded parts, besides the ticks: what is live is found quickly whatever was, and a week of
history is dropped whole. Of a large array the parent goes first and the children follow, so many at
a time: whoever looks for it meanwhile finds no live parent, and looks among all.

A job stays while something live needs it: an attempt that still ends, a request, an unfinished job
that depends on it.

Lost agents of instances that are over are forgotten at once: what of them is worth keeping is on
their instances' records by then. Machines that joined by themselves have no other record, and are
kept as long as jobs.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial

import structlog

from longshore.scheduler.apart import Aside, apart, nothing
from longshore.state.leadership import Leadership
from longshore.state.pool import Connection
from longshore.state.scheduler import agent, image_start, job_history
from longshore.state.scheduler.job_history import START, WEEK, OverJob

log = structlog.get_logger()

#: How long a finished job stays among the live ones: whoever submitted it asks for it there.
LINGER = timedelta(hours=1)
#: Jobs looked at in one transaction, and children moved in one.
BATCH = 500
CHILDREN = 5_000
#: Shapes forgotten on a day, and how long submission has not used them: it knows some for a day.
SHAPES_MOST = 10_000
SHAPES_KEPT = timedelta(days=3)
#: Agents forgotten in one transaction.
AGENTS = 1_000
#: Transactions of a pass, for jobs and for agents.
BATCHES_MOST = 20


class History:
    """Moves finished jobs to history and drops what is older than is kept."""

    def __init__(self, leadership: Leadership, kept: timedelta, linger: timedelta = LINGER) -> None:
        """Makes a keeper.

        Args:
            leadership: the lease of the domain.
            kept: for how long finished jobs are kept.
            linger: for how long they stay among the live ones.
        """
        self._leadership = leadership
        self._kept = kept
        self._linger = linger
        #: After which job the next pass goes on: those before it that were needed come later again.
        self._after = START
        #: Jobs that could not be moved lately.
        self._aside = Aside()
        #: The day on which shapes were last looked through: that reads all live jobs.
        self._shapes_on: date | None = None

    async def tick(self) -> None:
        """Moves some and drops what is due; what is left is for the next pass."""
        if not self._leadership.held:
            return
        now = datetime.now(UTC)
        moved = 0
        for _ in range(BATCHES_MOST):
            if await self._move_children():
                continue
            count, is_last = await self._move(now - self._linger)
            moved += count
            if is_last:
                break
        if moved:
            log.info("history.moved", jobs=moved)
        await self._forget_agents(now - self._kept)
        await self._drop(now - self._kept)
        if self._shapes_on != now.date():
            async with self._leadership.transaction() as conn:
                before = (now - SHAPES_KEPT).date()
                await job_history.prune_shapes(conn, before, SHAPES_MOST)
            self._shapes_on = now.date()

    async def _move(self, before: datetime) -> tuple[int, bool]:
        """Moves a batch; returns how many, and whether the end was reached."""
        async with self._leadership.transaction() as conn:
            found = await job_history.over(conn, before, self._after, BATCH)
            batch = bounded(found)
            paused = self._aside.paused("history")
            moving = [job for job in batch if not job.is_needed and job.job_id not in paused]
            tried = await apart(conn, moving, partial(_leave, conn), nothing)
        for job, error in tried.failed:
            self._aside.add("history", job.job_id, error, job_id=str(job.job_id))
        if tried.left:
            batch = batch[: batch.index(tried.left[0])]
        is_last = not tried.left and len(batch) == len(found) < BATCH
        self._after = START if is_last else (batch[-1].stopped_at, batch[-1].job_id)
        return len(moving) - len(tried.failed) - len(tried.left), is_last

    async def _move_children(self) -> bool:
        """Moves some children of an array whose parent went before; False if there is none."""
        async with self._leadership.transaction() as conn:
            return await job_history.move_children(conn, CHILDREN)

    async def _forget_agents(self, before: datetime) -> None:
        """Forgets agents that are lost for good; machines of ours, if they were so at a time."""
        forgotten = 0
        for _ in range(BATCHES_MOST):
            async with self._leadership.transaction() as conn:
                count = await agent.prune(conn, before, AGENTS)
            forgotten += count
            if count < AGENTS:
                break
        if forgotten:
            log.info("history.forgotten", what="agents", count=forgotten)

    async def _drop(self, before: datetime) -> None:
        """Drops the weeks that ended before a time."""
        async with self._leadership.transaction() as conn:
            weeks = await job_history.weeks(conn)
            await job_history.prune_costs(conn, before.date())
            await image_start.prune(conn, before.date())
        for week in weeks:
            if week + WEEK > before.date():
                break
            async with self._leadership.transaction() as conn:
                dropped = await job_history.drop(conn, week)
            log.info("history.dropped" if dropped else "history.needed", week=week.isoformat())


async def _leave(conn: Connection, jobs: Sequence[OverJob]) -> None:
    """Makes jobs history, or begins to."""
    await job_history.move(conn, [job for job in jobs if job.size <= CHILDREN])
    for job in jobs:
        if job.size > CHILDREN:
            await job_history.begin_to_move(conn, job)


def bounded(jobs: list[OverJob]) -> list[OverJob]:
    """The first of some jobs that together have no more children than a transaction moves."""
    children = 0
    for number, job in enumerate(jobs):
        children += job.size
        if number and children > CHILDREN:
            return jobs[:number]
    return jobs
