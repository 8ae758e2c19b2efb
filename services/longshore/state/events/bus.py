"""Event buses as the event service keeps them."""

from collections.abc import Mapping

from longshore.domain.events.rule import EventBus
from longshore.state.events.rule import tell
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("event_bus")


async def insert_bus(
    conn: Connection,
    name: str,
    description: str | None,
    dead_letter_arn: str | None,
    tags: Mapping[str, str],
) -> EventBus | None:
    """Stores a bus; None if its name is taken."""
    row = await conn.fetchrow(_SQL["insert_bus"], name, description, dead_letter_arn, dict(tags))
    return EventBus(**row) if row is not None else None


async def lock_bus(conn: Connection, name: str) -> EventBus | None:
    """A bus, held still until the transaction ends."""
    row = await conn.fetchrow(_SQL["lock_bus"], name)
    return EventBus(**row) if row is not None else None


async def read_bus(conn: Connection, name: str) -> EventBus | None:
    """A bus."""
    row = await conn.fetchrow(_SQL["read_bus"], name)
    return EventBus(**row) if row is not None else None


async def update_bus(
    conn: Connection, name: str, description: str | None, dead_letter_arn: str | None
) -> None:
    """Replaces what can be changed of a bus."""
    await conn.execute(_SQL["update_bus"], name, description, dead_letter_arn)
    await tell(conn)


async def write_tags(conn: Connection, name: str, tags: Mapping[str, str]) -> None:
    """Replaces a bus's tags."""
    await conn.execute(_SQL["write_bus_tags"], name, dict(tags))


async def list_buses(conn: Connection, prefix: str, *, after: str, limit: int) -> list[EventBus]:
    """Buses after a name, in order."""
    rows = await conn.fetch(_SQL["list_buses"], prefix, after, limit)
    return [EventBus(**row) for row in rows]


async def count_buses(conn: Connection) -> int:
    """How many buses there are."""
    return int(await conn.fetchval(_SQL["count_buses"]))


async def is_used(conn: Connection, name: str) -> tuple[bool, bool]:
    """Whether a bus has rules, and whether it has archives."""
    [row] = await conn.fetch(_SQL["bus_is_used"], name)
    return row["by_rules"], row["by_archives"]


async def delete_bus(conn: Connection, name: str) -> None:
    """Deletes a bus that nothing uses."""
    await conn.execute(_SQL["delete_bus"], name)
