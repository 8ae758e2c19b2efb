"""Migrations on a database of their own."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from longshore.domain.errors import PreconditionFailed, Unavailable
from longshore.state.embedded import EmbeddedPostgres
from longshore.state.migrate import migrate, migrations


@pytest.fixture
async def empty_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """A database without anything in it."""
    admin = await asyncpg.connect(postgres.url())
    try:
        await admin.execute("CREATE DATABASE test_migrate TEMPLATE template0")
        yield postgres.url("test_migrate")
        await admin.execute("DROP DATABASE test_migrate WITH (FORCE)")
    finally:
        await admin.close()


async def tables(database_url: str) -> int:
    connection = await asyncpg.connect(database_url)
    try:
        return int(
            await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        )
    finally:
        await connection.close()


def test_migrations_are_numbered_without_gaps() -> None:
    assert list(migrations()) == list(range(1, len(migrations()) + 1))


async def test_a_second_time_changes_nothing(empty_url: str) -> None:
    assert await migrate(empty_url) == list(migrations())
    before = await tables(empty_url)
    assert await migrate(empty_url) == []
    assert await tables(empty_url) == before


async def test_of_several_migrators_at_once_one_does_it(empty_url: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_url) for _ in range(4)))
    assert sorted(applied) == [[], [], [], list(migrations())]


async def test_a_newer_database_is_refused(empty_url: str) -> None:
    await migrate(empty_url)
    connection = await asyncpg.connect(empty_url)
    await connection.execute("INSERT INTO schema_migrations (number) VALUES (4711)")
    await connection.close()
    with pytest.raises(PreconditionFailed, match="4711"):
        await migrate(empty_url)


async def test_a_migration_that_fails_leaves_nothing(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {**migrations(), 9000: "CREATE TABLE half (x integer); SELECT 1/0;"}
    monkeypatch.setattr("longshore.state.migrate.migrations", lambda: broken)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty_url)
    assert await tables(empty_url) == 0


async def test_a_database_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await migrate("postgresql://nobody@127.0.0.1:1/none")
