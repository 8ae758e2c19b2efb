"""Whether the database can be worked with."""

import asyncpg

from longshore.domain.errors import Unavailable
from longshore.state.migrate import migrations
from longshore.state.pool import Pool, connection

_NEWEST = "SELECT max(number) FROM schema_migrations"


async def is_ready(pool: Pool) -> bool:
    """Whether the database answers and has the schema that this version was made for."""
    try:
        async with connection(pool) as conn:
            newest: int | None = await conn.fetchval(_NEWEST)
    except (Unavailable, asyncpg.UndefinedTableError):
        return False
    return newest == max(migrations())
