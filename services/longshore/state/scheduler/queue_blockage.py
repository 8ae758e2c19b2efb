"""Who stands first in queues that have time limits, blocked for which reason, since when."""

from collections.abc import Collection, Mapping

from longshore.domain.job.job import JobKey
from longshore.domain.placing.time_limit import Blockage
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("queue_blockage")


async def load(conn: Connection) -> dict[str, Blockage]:
    """All that is on record, by queue."""
    return {
        row["job_queue"]: Blockage(
            JobKey(row["job_id"], row["array_index"]), row["code"], row["since"]
        )
        for row in await conn.fetch(_SQL["load"])
    }


async def store(conn: Connection, blockages: Mapping[str, Blockage]) -> None:
    """Puts who blocks some queues on record."""
    if blockages:
        rows = sorted(blockages.items())
        await conn.execute(
            _SQL["store"],
            [queue for queue, _ in rows],
            [blockage.key.job_id for _, blockage in rows],
            [blockage.key.array_index for _, blockage in rows],
            [blockage.code for _, blockage in rows],
            [blockage.since for _, blockage in rows],
        )


async def tell(conn: Connection, told: Mapping[str, tuple[JobKey, str]]) -> None:
    """Tells that some queues are blocked: by which job, and why."""
    if told:
        rows = sorted(told.items())
        await conn.execute(
            _SQL["tell"],
            [queue for queue, _ in rows],
            [key.job_id for _, (key, _) in rows],
            [key.array_index for _, (key, _) in rows],
            [reason for _, (_, reason) in rows],
        )


async def forget(conn: Connection, queues: Collection[str]) -> None:
    """Drops what is known of queues that nobody blocks any more."""
    if queues:
        await conn.execute(_SQL["forget"], list(queues))
