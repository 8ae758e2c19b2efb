"""The lease of a scheduling domain, as one process holds it or waits for it."""

import contextlib
from collections.abc import AsyncIterator

import structlog

from longshore.domain.errors import StaleLease, Unavailable
from longshore.state import lease
from longshore.state.pool import Connection, Pool, transaction

log = structlog.get_logger()


class Leadership:
    """Takes, prolongs and gives back the lease; every transaction under it checks the token."""

    def __init__(self, pool: Pool, domain: str, holder: str, seconds: float) -> None:
        """Makes a leadership that is not held.

        Args:
            pool: connections to PostgreSQL.
            domain: the scheduling domain to hold.
            holder: name of this process in the lease.
            seconds: how long a silent holder keeps the domain.
        """
        self._pool = pool
        self._domain = domain
        self._holder = holder
        self._seconds = seconds
        self._token: int | None = None

    @property
    def held(self) -> bool:
        """Whether this process holds the domain, as far as it knows."""
        return self._token is not None

    async def hold(self) -> bool:
        """Takes or prolongs the lease; True if it is held afterwards."""
        token = self._token
        try:
            async with transaction(self._pool) as conn:
                if token is not None:
                    await lease.renew(conn, self._domain, token, self._seconds)
                    return True
                taken = await lease.acquire(conn, self._domain, self._holder, self._seconds)
        except StaleLease:
            self._lose()
            return False
        if taken is not None:
            self._token = taken
            log.info("lease.taken", domain=self._domain, token=taken)
        return taken is not None

    async def release(self) -> None:
        """Gives the domain back, so that a successor need not wait."""
        token, self._token = self._token, None
        if token is not None:
            async with transaction(self._pool) as conn:
                await lease.release(conn, self._domain, token)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A transaction that commits only while the lease is held.

        Raises:
            Unavailable: it is not, or no longer.
        """
        token = self._token
        if token is None:
            raise Unavailable("This scheduler does not lead; another one does, or will soon.")
        try:
            async with transaction(self._pool) as conn:
                await lease.check(conn, self._domain, token)
                yield conn
        except StaleLease:
            self._lose()
            raise Unavailable("The lease of this scheduler is over.") from None

    def _lose(self) -> None:
        self._token = None
        log.warning("lease.lost", domain=self._domain)
