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


_USED = """
INSERT INTO shapes (job_queue, vcpu_milli, memory_mib, gpus) VALUES ('q', 1000, 64, 0);
INSERT INTO jobs (job_id, seq, job_queue, shape_id, name, definition_name, definition_revision, status, stopped_at)
    SELECT lpad(to_hex(n), 32, '0')::uuid, n, 'q', 1, 'job', 'def', 1,
        CASE WHEN n > 5 THEN 'RUNNABLE' ELSE 'SUCCEEDED' END, CASE WHEN n <= 5 THEN now() END
    FROM generate_series(1, 10) n;
INSERT INTO job_events (job_id, array_index, attempt, status) SELECT job_id, -1, 0, status FROM jobs;
INSERT INTO ready (job_queue, seq, next_index, end_index, job_id, shape_id)
    SELECT job_queue, seq, -1, 0, job_id, shape_id FROM jobs WHERE status = 'RUNNABLE';
INSERT INTO demand (shape_id, runnable) VALUES (1, 5);
INSERT INTO capacity_orders (order_id, compute_environment, target_vcpus, entries, reason)
    VALUES ('00000000-0000-0000-0000-000000000001', 'ce', 1, '[]', 'test');
INSERT INTO instances (instance_id, order_id, compute_environment, provider, instance_type, purchase_option, vcpus,
    memory_mib, price_per_hour, status, launched_at, ended_at)
    VALUES ('i-00000000000000001', '00000000-0000-0000-0000-000000000001', 'ce', 'test', 't', 'SPOT', 2, 128, 3,
        'TERMINATED', now() - interval '1 hour', now());
INSERT INTO attempts (job_id, array_index, attempt, attempt_id, instance_id, compute_environment, status, vcpu_milli,
    memory_mib, gpus, log_stream_name, placed_at, stopped_at)
    SELECT job_id, -1, 1, seq, 'i-00000000000000001', 'ce', 'ENDED', 1000, 64, 0, 'log', now() - interval '1 hour',
        now()
    FROM jobs WHERE status = 'SUCCEEDED';
"""  # noqa: E501


async def test_what_is_there_comes_along(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums count what was there before they were kept; numbers of events go on."""
    every = migrations()
    with monkeypatch.context() as patched:
        patched.setattr("longshore.state.migrate.migrations", lambda: {1: every[1]})
        await migrate(empty_url)
    connection = await asyncpg.connect(empty_url)
    try:
        await connection.execute(_USED)
        await migrate(empty_url)
        assert await connection.fetchval("SELECT sum(jobs) FROM ready_blocks") == 5
        assert await connection.fetchval("SELECT sum(cost) FROM queue_costs") == pytest.approx(7.5)
        assert await connection.fetchval("SELECT sum(cost) FROM environment_costs") == 3
        assert await connection.fetchval("SELECT count(*) FROM all_jobs") == 10
        # No order is open that nobody is answering.
        assert await connection.fetchval("SELECT closed_at FROM capacity_orders") is not None
        assert (
            await connection.fetchval(
                "INSERT INTO job_events (job_id, array_index, attempt, status) "
                "VALUES (gen_random_uuid(), -1, 0, 'RUNNABLE') RETURNING event_id"
            )
            == 11
        )
    finally:
        await connection.close()
