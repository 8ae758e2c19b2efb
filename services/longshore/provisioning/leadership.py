"""The lease of provisioning: who may launch, end, and write down what came of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from longshore.domain.errors import StaleLease, Unavailable
from longshore.state import lease
from longshore.state.pool import Connection, Pool, connection, transaction

log = structlog.get_logger()

LEASE_DOMAIN = "provisioning"
LEASE_SECONDS = 30.0


class Leadership:
    """Takes, prolongs and gives back the lease; what it guards commits only while it is held."""

    def __init__(self, pool: Pool, holder: str) -> None:
        """Makes a leadership that is not held.

        Args:
            pool: the database.
            holder: names who holds; the same name takes its own lease back at once, so it names
                the machine and not the process.
        """
        self._pool = pool
        self._holder = holder
        self._token: int | None = None
        self._turn = asyncio.Lock()

    async def hold(self) -> bool:
        """Takes or prolongs the lease; False while another one holds it.

        Raises:
            StaleLease: another one has taken it meanwhile.
        """
        async with self._turn, transaction(self._pool) as conn:
            if self._token is not None:
                try:
                    await lease.renew(conn, LEASE_DOMAIN, self._token, LEASE_SECONDS)
                except StaleLease:
                    log.warning("lease.lost", domain=LEASE_DOMAIN)
                    self._token = None
                    raise
            else:
                self._token = await lease.acquire(conn, LEASE_DOMAIN, self._holder, LEASE_SECONDS)
        return self._token is not None

    async def ensure(self) -> None:
        """Makes sure that the lease is held, as far as this process knows.

        Raises:
            Unavailable: another one holds it.
        """
        if self._token is None and not await self.hold():
            raise Unavailable("Another provisioning service is at work; try again.")

    @contextlib.asynccontextmanager
    async def guarded(self) -> AsyncIterator[Connection]:
        """A transaction that only the holder of the lease commits.

        Raises:
            StaleLease: it is not held any more.
        """
        async with transaction(self._pool) as conn:
            await lease.check(conn, LEASE_DOMAIN, self._token or 0)
            yield conn

    async def release(self) -> None:
        """Gives the lease back, so that a successor need not wait."""
        token, self._token = self._token, None
        if token is not None:
            async with connection(self._pool) as conn:
                await lease.release(conn, LEASE_DOMAIN, token)
