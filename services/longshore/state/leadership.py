"""The lease of a scheduling domain, as one process holds it or waits for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from longshore.domain.errors import StaleLease, Unavailable
from longshore.state import lease
from longshore.state.pool import Connection, Pool, transaction

log = structlog.get_logger()


class Leadership:
    """Takes, prolongs and gives back the lease; every transaction under it checks the token.

    Whoever finds out first that the lease was lost, it is told in one way: `held` is False from
    then on, `hold` says so, and transactions raise `Unavailable`.
    """

    def __init__(
        self, pool: Pool, domain: str, holder: str, seconds: float, *, is_brief: bool = False
    ) -> None:
        """Makes a leadership that is not held.

        Args:
            pool: connections to PostgreSQL.
            domain: what to hold.
            holder: names who holds; the same name takes its own lease back at once.
            seconds: how long a silent holder keeps the domain.
            is_brief: it is taken and given back again and again, which is not worth a line.
        """
        self._pool = pool
        self._domain = domain
        self._holder = holder
        self._seconds = seconds
        self._log_taken = log.debug if is_brief else log.info
        self._token: int | None = None
        # Of two that took the lease at one time, one would be left with a token that is over.
        self._turn = asyncio.Lock()

    @property
    def held(self) -> bool:
        """Whether this process holds the domain, as far as it knows."""
        return self._token is not None

    @property
    def token(self) -> int | None:
        """The token of the lease: who else is shown it can check that it is still held."""
        return self._token

    async def hold(self) -> bool:
        """Takes or prolongs the lease; True if it is held afterwards.

        One that is found to be lost is not taken back at once: what went on under it ends first.
        """
        async with self._turn:
            token = self._token
            try:
                async with transaction(self._pool) as conn:
                    if token is not None:
                        await lease.renew(conn, self._domain, token, self._seconds)
                        return True
                    taken = await lease.acquire(conn, self._domain, self._holder, self._seconds)
            except StaleLease:
                self._lose(token)
                return False
            if taken is not None:
                self._token = taken
                self._log_taken("lease.taken", domain=self._domain, token=taken)
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
            raise Unavailable(
                f"This process does not hold the lease {self._domain!r}; another one does, or "
                "will soon."
            )
        try:
            async with transaction(self._pool) as conn:
                await lease.check(conn, self._domain, token)
                yield conn
        except StaleLease:
            self._lose(token)
            raise Unavailable(f"The lease {self._domain!r} of this process is over.") from None

    def _lose(self, token: int | None) -> None:
        """Forgets a lease, unless it was taken anew meanwhile."""
        if self._token == token:
            self._token = None
            log.warning("lease.lost", domain=self._domain)
