"""Listening: notifications wake, and so does every new connection."""

import asyncio

import asyncpg
import pytest
from structlog.testing import capture_logs
from support.patience import PATIENCE_SECONDS

from longshore.state import listen
from longshore.state.listen import JOBS, Listener, notify
from longshore.state.pool import open_pool, transaction


class Woken:
    """Counts wake-ups."""

    def __init__(self) -> None:
        self.count = 0
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._event.set()

    async def next(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._event.wait()
        self._event.clear()


async def test_a_notification_wakes_when_its_transaction_commits(database_url: str) -> None:
    jobs, other = Woken(), Woken()
    listener = asyncio.create_task(Listener(database_url, {JOBS: jobs, "other": other}).run())
    pool = await open_pool(database_url)
    try:
        await jobs.next()
        await other.next()
        async with transaction(pool) as conn:
            await notify(conn, JOBS)
            assert jobs.count == 1
        await jobs.next()
        assert (jobs.count, other.count) == (2, 1)
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        await pool.close()


async def test_a_broken_connection_is_made_anew_and_wakes(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was notified of meanwhile is lost, so whoever listens looks again."""
    monkeypatch.setattr(listen, "RECONNECT_FIRST_SECONDS", 0.0)
    jobs = Woken()
    listener = asyncio.create_task(Listener(database_url, {JOBS: jobs}).run())
    conn = await asyncpg.connect(database_url)
    try:
        await jobs.next()
        cut: list[int] = []
        for _ in range(2):
            # One that was cut may be there for a moment yet.
            cut += await conn.fetchval(
                "SELECT array_agg(pid) FILTER (WHERE pg_terminate_backend(pid)) "
                "FROM pg_stat_activity WHERE datname = current_database() "
                "AND query LIKE 'LISTEN%' AND pid <> ALL($1)",
                cut,
            )
            await jobs.next()
        assert len(cut) == 2
        await conn.execute(f"NOTIFY {JOBS}")
        await jobs.next()
        assert jobs.count == 4
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        await conn.close()


async def test_a_database_that_is_away_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "RECONNECT_FIRST_SECONDS", 0.0)
    with capture_logs() as logs:
        listener = asyncio.create_task(
            Listener("postgresql://nobody@127.0.0.1:1/none", {JOBS: Woken()}).run()
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(logs) < 2:
                await asyncio.sleep(0)
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
    assert {line["event"] for line in logs} == {"listener.broken"}
