"""Brings a database to the newest schema: numbered files, forward only, each in one transaction."""

from importlib import resources

import asyncpg

from longshore.domain.errors import PreconditionFailed
from longshore.state.pool import ACQUIRE_SECONDS, away_is_unavailable

_LOCK = 0x6C6F6E67  # one migrator at a time


def migrations() -> dict[int, str]:
    """Every migration's text by number."""
    folder = resources.files("longshore.state").joinpath("migrations")
    return {
        int(file.name.split("_", 1)[0]): file.read_text("utf-8")
        for file in sorted(folder.iterdir(), key=lambda f: f.name)
        if file.name.endswith(".sql")
    }


async def migrate(database_url: str) -> list[int]:
    """Applies what is missing and returns the numbers applied.

    Raises:
        PreconditionFailed: the database is newer than this program.
        Unavailable: PostgreSQL does not answer.
    """
    known = migrations()
    with away_is_unavailable():
        connection = await asyncpg.connect(database_url, timeout=ACQUIRE_SECONDS)
        try:
            return await _apply(connection, known)
        finally:
            await connection.close()


async def _apply(
    connection: "asyncpg.Connection[asyncpg.Record]", known: dict[int, str]
) -> list[int]:
    applied = []
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations ("
            "number integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        done = {
            row["number"] for row in await connection.fetch("SELECT number FROM schema_migrations")
        }
        if newer := done - known.keys():
            raise PreconditionFailed(
                f"The database has migration {max(newer)}, which this version does not know; "
                "use the version that made it, or a newer one."
            )
        for number in sorted(known.keys() - done):
            await connection.execute(known[number])
            await connection.execute("INSERT INTO schema_migrations (number) VALUES ($1)", number)
            applied.append(number)
    return applied
