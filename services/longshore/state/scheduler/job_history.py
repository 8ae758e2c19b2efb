"""Finished jobs on their way out: to the history of the week in which they ended, and out of it."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("job_history")
_MOVES = ("move_jobs", "move_specs", "move_arrays", "move_attempts", "move_events")
#: Days that a partition holds.
WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class OverJob:
    """A single job, multi-node job or array parent that is over.

    `size` is how many children or nodes it has, 1 without; `is_needed` says that it has an attempt
    that still ends, a request that nobody acted on, or an unfinished job that depends on it.
    """

    job_id: uuid.UUID
    stopped_at: datetime
    size: int
    is_needed: bool

    @property
    def day(self) -> date:
        """The UTC day of its end."""
        return self.stopped_at.astimezone(UTC).date()


#: After which job to go on: when it ended, and its id.
Place = tuple[datetime, uuid.UUID]
#: Before every job.
START: Place = (datetime.min.replace(tzinfo=UTC), uuid.UUID(int=0))


async def over(conn: Connection, before: datetime, after: Place, limit: int) -> list[OverJob]:
    """Jobs that were over before a time, in the order of their ends, so many at most."""
    return [OverJob(**row) for row in await conn.fetch(_SQL["over"], before, *after, limit)]


async def move(conn: Connection, jobs: Sequence[OverJob]) -> None:
    """Makes jobs history, with all that is theirs."""
    if not jobs:
        return
    for week in sorted({monday(job.day) for job in jobs}):
        await conn.execute(_SQL["open_week"], week)
    ids, days = [job.job_id for job in jobs], [job.day for job in jobs]
    for name in _MOVES:
        await conn.execute(_SQL[name], ids, days)
    await conn.execute(_SQL["drop_dependencies"], ids)


async def begin_to_move(conn: Connection, job: OverJob) -> None:
    """Makes an array's parent history, and notes that its children are to follow."""
    await conn.execute(_SQL["open_week"], monday(job.day))
    await conn.execute(_SQL["leave"], job.job_id, job.day, job.size)
    for name in ("move_parent", "move_parent_events"):
        await conn.execute(_SQL[name], job.job_id, job.day)
    for name in ("move_specs", "move_arrays"):
        await conn.execute(_SQL[name], [job.job_id], [job.day])
    await conn.execute(_SQL["drop_dependencies"], [job.job_id])


async def move_children(conn: Connection, limit: int) -> bool:
    """Makes some children of an array history whose parent went before; False if none is there."""
    row = await conn.fetchrow(_SQL["leaving"])
    if row is None:
        return False
    job_id, day, first = row["job_id"], row["ended_on"], row["next_index"]
    end = min(first + limit, row["size"])
    await conn.execute(_SQL["open_week"], monday(day))
    for name in ("move_children", "move_attempts_of_children", "move_events_of_children"):
        await conn.execute(_SQL[name], job_id, day, first, end)
    if end < row["size"]:
        await conn.execute(_SQL["went_on"], job_id, end)
    else:
        await conn.execute(_SQL["has_left"], job_id)
    return True


async def weeks(conn: Connection) -> list[date]:
    """The Mondays of the weeks of history that there are, oldest first."""
    return [row["week"] for row in await conn.fetch(_SQL["weeks"])]


async def drop(conn: Connection, week: date) -> bool:
    """Drops a week of history whole; False, and nothing done, while live jobs depend on its jobs.

    Raises:
        Unavailable: readers held it; it is tried again.
    """
    if await conn.fetchval(_SQL["is_needed"], week):
        return False
    # Whoever reads history meanwhile waits behind this, and of two that wait for each other this
    # one gives way: it is over before PostgreSQL looks for deadlocks.
    await conn.execute("SET LOCAL lock_timeout = '500ms'")
    await conn.execute(_SQL["drop_week"], week)
    return True


async def prune_costs(conn: Connection, before: date) -> None:
    """Forgets what attempts held that ended on days before one."""
    await conn.execute(_SQL["prune_costs"], before)


async def prune_shapes(conn: Connection, before: date, limit: int) -> None:
    """Forgets shapes of no live job that submission last used before a day, so many at most."""
    await conn.execute(_SQL["prune_shapes"], before, limit)


def monday(day: date) -> date:
    """The first day of a day's week."""
    return day - timedelta(days=day.weekday())
