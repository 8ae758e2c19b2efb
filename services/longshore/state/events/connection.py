"""Connections and API destinations as the event service keeps them."""

import uuid

from longshore.domain.checks import Json
from longshore.domain.events.connection import ApiDestination, EventConnection
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("event_connection")


async def insert_connection(
    conn: Connection,
    name: str,
    description: str | None,
    authorization_type: str,
    parameters: Json,
    secret: bytes,
) -> EventConnection | None:
    """Stores a connection; None if its name is taken."""
    row = await conn.fetchrow(
        _SQL["insert_connection"],
        *(name, uuid.uuid4(), description, authorization_type, parameters, secret),
    )
    return EventConnection(**row) if row is not None else None


async def lock_connection(conn: Connection, name: str) -> EventConnection | None:
    """A connection, held still until the transaction ends."""
    row = await conn.fetchrow(_SQL["lock_connection"], name)
    return EventConnection(**row) if row is not None else None


async def keep_connection(conn: Connection, name: str) -> bool:
    """Keeps a connection from being deleted until the transaction ends; False without one."""
    return await conn.fetchval(_SQL["keep_connection"], name) is not None


async def read_connection(conn: Connection, name: str) -> EventConnection | None:
    """A connection."""
    row = await conn.fetchrow(_SQL["read_connection"], name)
    return EventConnection(**row) if row is not None else None


async def update_connection(
    conn: Connection, connection: EventConnection, *, is_authorized_anew: bool
) -> EventConnection:
    """Replaces what can be changed of a connection that is locked."""
    row = await conn.fetchrow(
        _SQL["update_connection"],
        *(connection.name, connection.description, connection.authorization_type),
        *(connection.parameters, connection.secret, connection.state, is_authorized_anew),
    )
    assert row is not None  # noqa: S101 - it is locked
    return EventConnection(**row)


async def delete_connection(conn: Connection, name: str) -> None:
    """Deletes a connection that nothing uses."""
    await conn.execute(_SQL["delete_connection"], name)


async def list_connections(
    conn: Connection, prefix: str, state: str | None, *, after: str, limit: int
) -> list[EventConnection]:
    """Connections after a name, in order."""
    rows = await conn.fetch(_SQL["list_connections"], prefix, state, after, limit)
    return [EventConnection(**row) for row in rows]


async def count_connections(conn: Connection) -> int:
    """How many connections there are."""
    return int(await conn.fetchval(_SQL["count_connections"]))


async def destination_of(conn: Connection, connection: str) -> str | None:
    """An API destination that uses a connection, None if none does."""
    name: str | None = await conn.fetchval(_SQL["destination_of_connection"], connection)
    return name


async def insert_destination(
    conn: Connection,
    name: str,
    description: str | None,
    connection: str,
    endpoint: str,
    http_method: str,
    rate_limit: int,
) -> ApiDestination | None:
    """Stores an API destination; None if its name is taken."""
    row = await conn.fetchrow(
        _SQL["insert_destination"],
        *(name, uuid.uuid4(), description, connection, endpoint, http_method, rate_limit),
    )
    return ApiDestination(**row) if row is not None else None


async def lock_destination(conn: Connection, name: str) -> ApiDestination | None:
    """An API destination, held still until the transaction ends."""
    row = await conn.fetchrow(_SQL["lock_destination"], name)
    return ApiDestination(**row) if row is not None else None


async def read_destination(conn: Connection, name: str) -> ApiDestination | None:
    """An API destination."""
    row = await conn.fetchrow(_SQL["read_destination"], name)
    return ApiDestination(**row) if row is not None else None


async def update_destination(conn: Connection, destination: ApiDestination) -> None:
    """Replaces what can be changed of an API destination; it is ACTIVE afterwards."""
    await conn.execute(
        _SQL["update_destination"],
        *(destination.name, destination.description, destination.connection),
        *(destination.endpoint, destination.http_method, destination.rate_limit),
    )


async def delete_destination(conn: Connection, name: str) -> bool:
    """Deletes an API destination; False if there is none."""
    return await conn.fetchval(_SQL["delete_destination"], name) is not None


async def list_destinations(
    conn: Connection, prefix: str, connection: str | None, *, after: str, limit: int
) -> list[ApiDestination]:
    """API destinations after a name, in order."""
    rows = await conn.fetch(_SQL["list_destinations"], prefix, connection, after, limit)
    return [ApiDestination(**row) for row in rows]


async def count_destinations(conn: Connection) -> int:
    """How many API destinations there are."""
    return int(await conn.fetchval(_SQL["count_destinations"]))
