"""The end of queues that are being deleted.

Submission marks them, and the scheduler, which ends their jobs, says when that is done: it alone
knows, and only in the transaction that ends the last of them.
"""

from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("queue_deletion")


async def delete_unused(conn: Connection, queue: str) -> bool:
    """Removes a queue that is being deleted, once no job of it is unfinished; whether it did."""
    return await conn.fetchval(_SQL["delete_unused"], queue) is not None
