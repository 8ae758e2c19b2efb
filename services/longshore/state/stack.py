"""What tells this installation from others in the same cloud account."""

import uuid

from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("stack")


async def stack_id(conn: Connection) -> uuid.UUID:
    """The same for as long as the database lives, wherever services run."""
    found: uuid.UUID = await conn.fetchval(_SQL["stack_id"])
    return found
