"""Job queues as submission keeps them."""

from collections.abc import Sequence

import asyncpg

from longshore.domain.checks import Json
from longshore.domain.environment import QUEUE_HEALTHY, JobQueue, QueueFacts
from longshore.domain.request.queue import TIME_LIMITS
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("job_queue")


async def insert_queue(conn: Connection, queue: JobQueue) -> bool:
    """Stores a queue with its compute environments; False if its name is taken."""
    # VALID in the transaction that makes it: nothing has to be set up elsewhere that could be
    # waited for.
    name = await conn.fetchval(
        _SQL["insert_queue"],
        queue.name,
        queue.state,
        QUEUE_HEALTHY,
        queue.priority,
        queue.detail,
        dict(queue.tags),
        queue.scheduling_policy,
        queue.max_running,
    )
    if name is None:
        return False
    await _insert_order(conn, queue.name, queue.environments)
    await conn.execute(_SQL["notify_environments"])
    return True


async def _insert_order(
    conn: Connection, name: str, environments: Sequence[tuple[int, str]]
) -> None:
    await conn.execute(
        _SQL["insert_order"],
        name,
        [environment for _, environment in environments],
        [order for order, _ in environments],
    )


async def read_queues(conn: Connection, names: Sequence[str]) -> list[JobQueue]:
    """Queues by name, in order of their names; unknown ones are left out."""
    return [_queue(row) for row in await conn.fetch(_SQL["read_queues"], names)]


async def names(conn: Connection) -> set[str]:
    """The names of all queues."""
    return {row["name"] for row in await conn.fetch(_SQL["names"])}


async def list_queues(conn: Connection, *, after: str, limit: int) -> list[JobQueue]:
    """Queues after a name, in order of their names."""
    return [_queue(row) for row in await conn.fetch(_SQL["list_queues"], after, limit)]


async def lock_queue(conn: Connection, name: str) -> QueueFacts | None:
    """A queue, held still until the transaction ends; None if there is none."""
    row = await conn.fetchrow(_SQL["lock_queue"], name)
    return QueueFacts(row["state"], row["status"], row["type"], row["is_shared"]) if row else None


async def update_queue(
    conn: Connection,
    name: str,
    *,
    state: str | None,
    priority: int | None,
    environments: Sequence[tuple[int, str]],
    scheduling_policy: str | None = None,
    time_limits: Sequence[Json] | None = None,
    max_running: int | None = None,
) -> None:
    """Changes what is given; no environments keeps those there are."""
    changed = {} if time_limits is None else {TIME_LIMITS: list(time_limits)}
    await conn.execute(
        _SQL["update_queue"], name, state, priority, scheduling_policy, changed, max_running
    )
    if environments:
        await conn.execute(_SQL["clear_order"], name)
        await _insert_order(conn, name, environments)
    await conn.execute(_SQL["notify_environments"])


async def delete_queue(conn: Connection, name: str) -> None:
    """Marks a queue; the scheduler ends its jobs and removes it."""
    await conn.execute(_SQL["begin_deletion"], name)
    await conn.execute(_SQL["notify_environments"])


def _queue(row: asyncpg.Record) -> JobQueue:
    return JobQueue(
        name=row["name"],
        state=row["state"],
        status=row["status"],
        status_reason=row["status_reason"],
        priority=row["priority"],
        detail=row["detail"],
        tags=row["tags"],
        environments=tuple(zip(row["ordinals"], row["environments"], strict=True)),
        scheduling_policy=row["scheduling_policy"],
        max_running=row["max_running"],
    )
