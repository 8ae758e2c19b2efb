"""Every query of every table is understood by the migrated schema."""

import asyncpg

from longshore.state.queries import all_queries


async def test_every_query_prepares(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        failures = {}
        for name, query in all_queries().items():
            try:
                await connection.prepare(query)
            except asyncpg.PostgresError as error:
                failures[name] = str(error)
        assert failures == {}
    finally:
        await connection.close()
