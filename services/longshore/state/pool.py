"""Connections to PostgreSQL: pool, deadlines, errors."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import structlog
from prometheus_client import Gauge

from longshore.domain.errors import PreconditionFailed, Unavailable

if TYPE_CHECKING:
    #: A connection as the functions of this package take it.
    Connection: TypeAlias = (
        asyncpg.pool.PoolConnectionProxy[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]
    )
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:  # generic in the stubs alone
    Connection: TypeAlias = asyncpg.Connection
    Pool: TypeAlias = asyncpg.Pool

log = structlog.get_logger()

ACQUIRE_SECONDS = 5.0
#: Between tries to reach a database that is not there yet.
RETRY_SECONDS = 1.0
STATEMENT_SECONDS = 30.0
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.ObjectNotInPrerequisiteStateError,
)


#: Those of this process that are not closed, for whoever measures.
_pools: list[Any] = []


def _connections(idle: bool) -> float:
    """How many connections there are that are idle, or at work."""
    pools = [pool for pool in list(_pools) if not pool.is_closing()]
    free = sum(pool.get_idle_size() for pool in pools)
    return float(free if idle else sum(pool.get_size() for pool in pools) - free)


CONNECTIONS = Gauge(
    "longshore_database_connections",
    "Connections to PostgreSQL that are open, by state: idle, or busy with a statement or "
    "transaction.",
    ["state"],
)
for _state in ("idle", "busy"):
    CONNECTIONS.labels(_state).set_function(partial(_connections, _state == "idle"))


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
    )


async def open_pool(database_url: str, *, maximum: int = 8) -> Pool:
    """Opens a pool whose connections speak `jsonb` as Python values.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    with away_is_unavailable():
        pool = await asyncpg.create_pool(
            database_url,
            min_size=1,
            max_size=maximum,
            init=_prepare,
            timeout=ACQUIRE_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            server_settings={
                "application_name": "longshore",
                "timezone": "UTC",
                "statement_timeout": str(int(STATEMENT_SECONDS * 1000)),
                "idle_in_transaction_session_timeout": "60000",
                "jit": "off",
            },
        )
    _pools[:] = [*(other for other in _pools if not other.is_closing()), pool]
    return pool


async def pool_when_there(
    database_url: str, stop: asyncio.Event, *, maximum: int = 8
) -> Pool | None:
    """As `open_pool`, as soon as the database answers; None if told to stop before."""
    while not stop.is_set():
        try:
            return await open_pool(database_url, maximum=maximum)
        except Unavailable as error:
            log.warning("database.away", error=error.message)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RETRY_SECONDS)
    return None


@contextlib.contextmanager
def away_is_unavailable() -> Any:
    """Turns the many ways in which PostgreSQL can be away into `Unavailable`, a full disk as well.

    A URL that names no server is not away, but wrong: PreconditionFailed.

    A value that has no place in a column's type is the value's fault, although the driver, which
    finds that out itself, says so by an error of its interface.
    """
    try:
        yield
    except asyncpg.ClientConfigurationError as error:
        raise PreconditionFailed(f"LONGSHORE_DATABASE_URL cannot be used: {error}.") from error
    except asyncpg.DiskFullError as error:
        raise Unavailable("The database's disk is full; make room on it.") from error
    except _AWAY as error:
        if isinstance(error, ValueError):
            raise
        raise Unavailable(f"The database does not answer ({type(error).__name__}).") from error


@contextlib.asynccontextmanager
async def connection(pool: Pool) -> AsyncIterator[Connection]:
    """A connection of the pool, outside a transaction."""
    with away_is_unavailable():
        async with pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            yield conn


@contextlib.asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """A connection inside a transaction, committed when the block ends well."""
    with away_is_unavailable():
        async with pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            yield conn


@contextlib.asynccontextmanager
async def savepoint(conn: Connection) -> AsyncIterator[None]:
    """A part of a transaction that is undone by itself when it fails.

    A deadlock ends with that part: it is tried again like whatever else fails.

    Raises:
        Unavailable: the database is away, and with it the whole transaction.
    """
    deadlock: asyncpg.DeadlockDetectedError | None = None
    with away_is_unavailable():
        try:
            async with conn.transaction():
                yield
        except asyncpg.DeadlockDetectedError as error:
            deadlock = error
    if deadlock is not None:
        raise deadlock
