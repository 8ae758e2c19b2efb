"""A lease as one process holds it, loses it, and takes it again."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.patience import PATIENCE_SECONDS

from longshore.domain.errors import Unavailable
from longshore.state import lease
from longshore.state.leadership import Leadership
from longshore.state.pool import Connection, Pool, open_pool, transaction

TAKEN_OVER = "UPDATE leases SET token = token + 1, holder = 'other', expires_at = 'infinity'"


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    opened = await open_pool(database_url)
    yield opened
    await opened.close()


async def take_over(pool: Pool) -> None:
    """Another process holds every lease."""
    async with transaction(pool) as conn:
        await conn.execute(TAKEN_OVER)


async def test_a_lost_lease_is_told_in_one_way(pool: Pool) -> None:
    """Whether it is found out by prolonging it or by a transaction."""
    for domain in ("prolonged", "used"):
        leadership = Leadership(pool, domain, "one", 60)
        assert await leadership.hold()
        await take_over(pool)
        if domain == "prolonged":
            assert not await leadership.hold()
        with pytest.raises(Unavailable):
            async with leadership.transaction():
                pytest.fail("nothing is done without the lease")
        assert not leadership.held
        assert not await leadership.hold()
    async with transaction(pool) as conn:
        await conn.execute("UPDATE leases SET expires_at = now()")
    assert await leadership.hold()
    async with leadership.transaction() as conn:
        assert await conn.fetchval("SELECT 1")


async def test_loops_that_take_the_lease_at_one_time_share_it(pool: Pool) -> None:
    """The same holder may take it again, so the second would make the first one's token stale."""
    leadership = Leadership(pool, "d", "one", 60)
    assert await asyncio.gather(*(leadership.hold() for _ in range(5))) == [True] * 5
    async with leadership.transaction() as conn:
        assert await conn.fetchval("SELECT token FROM leases") == 1


async def test_a_transaction_of_an_old_lease_does_not_end_the_new_one(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began before the lease was lost and taken anew."""
    leadership = Leadership(pool, "d", "one", 60)
    await leadership.hold()
    begun, goes_on, check = asyncio.Event(), asyncio.Event(), lease.check

    async def late(conn: Connection, domain: str, token: int) -> None:
        begun.set()
        await goes_on.wait()
        await check(conn, domain, token)

    async def work() -> None:
        async with leadership.transaction():
            pytest.fail("the lease is another one by now")

    monkeypatch.setattr(lease, "check", late)
    working = asyncio.create_task(work())
    async with asyncio.timeout(PATIENCE_SECONDS):
        await begun.wait()
        await take_over(pool)
        assert not await leadership.hold()
        async with transaction(pool) as conn:
            await conn.execute("UPDATE leases SET expires_at = now()")
        assert await leadership.hold()
        goes_on.set()
        with pytest.raises(Unavailable):
            await working
    assert leadership.held
