"""What shares of queues use of vCPUs, and used lately."""

from collections.abc import Collection, Mapping
from typing import Any

from longshore.domain.fair_share import Share, SharePolicy, Usage
from longshore.domain.request.policy import share_policy
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("share_usage")


async def load(conn: Connection) -> dict[Share, Usage]:
    """What is on record of all shares."""
    return {
        (row["job_queue"], row["share_identifier"]): _usage(row)
        for row in await conn.fetch(_SQL["load"])
    }


async def of_queue(conn: Connection, queue: str) -> dict[str, Usage]:
    """What is on record of the shares of a queue."""
    rows = await conn.fetch(_SQL["of_queue"], queue)
    return {row["share_identifier"]: _usage(row) for row in rows}


async def waiting(conn: Connection, queue: str) -> set[str]:
    """The shares of a queue that have RUNNABLE jobs."""
    return {row["share_identifier"] for row in await conn.fetch(_SQL["waiting"], queue)}


async def policy(conn: Connection, queue: str) -> SharePolicy | None:
    """The policy of a queue, None if it has none."""
    fairshare = await conn.fetchval(_SQL["policy"], queue)
    return None if fairshare is None else share_policy(fairshare)


async def store(conn: Connection, usages: Mapping[Share, Usage]) -> None:
    """Puts what shares use on record."""
    if usages:
        rows = sorted(usages.items(), key=lambda item: item[0])
        await conn.execute(
            _SQL["store"],
            [queue for (queue, _), _ in rows],
            [share for (_, share), _ in rows],
            [usage.average for _, usage in rows],
            [usage.running_milli for _, usage in rows],
            [usage.as_of for _, usage in rows],
            [usage.used_at or usage.as_of for _, usage in rows],
        )


async def forget(conn: Connection, shares: Collection[Share]) -> None:
    """Drops what no longer counts."""
    if shares:
        await conn.execute(_SQL["forget"], [q for q, _ in shares], [s for _, s in shares])


def _usage(row: Any) -> Usage:
    return Usage(row["as_of"], row["average"], row["running_milli"], row["used_at"])
