"""Consumable resources as submission keeps them."""

from dataclasses import dataclass
from typing import Any

from longshore.domain.environment import ConsumableResource
from longshore.state import listen
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("consumable_resource")


@dataclass(frozen=True, slots=True)
class ResourceUpdate:
    """A change of how many units there are of a resource, as it was asked for."""

    operation: str
    quantity: int | None


async def insert_resource(conn: Connection, resource: ConsumableResource) -> bool:
    """Stores a resource, and wakes who waits for one; False if its name is taken."""
    name = await conn.fetchval(
        _SQL["insert_resource"],
        resource.name,
        resource.resource_type,
        resource.total,
        dict(resource.tags),
    )
    if name is None:
        return False
    await listen.notify(conn, listen.CONSUMABLES)
    return True


async def lock_total(conn: Connection, name: str) -> int | None:
    """How many units there are, held still until the transaction ends; None without a resource."""
    total: int | None = await conn.fetchval(_SQL["lock_total"], name)
    return total


async def write_total(conn: Connection, name: str, total: int) -> None:
    """Sets how many units there are, and wakes who goes by it."""
    await conn.execute(_SQL["write_total"], name, total)
    await listen.notify(conn, listen.CONSUMABLES)


async def forget_updates(conn: Connection, name: str, seconds: int) -> None:
    """Forgets changes that were made so long ago."""
    await conn.execute(_SQL["forget_updates"], name, seconds)


async def find_update(conn: Connection, name: str, token: str) -> tuple[ResourceUpdate, int] | None:
    """The change that was made under a token, and how many units there were then."""
    row = await conn.fetchrow(_SQL["find_update"], name, token)
    if row is None:
        return None
    return ResourceUpdate(row["operation"], row["quantity"]), row["total_quantity"]


async def insert_update(
    conn: Connection, name: str, token: str, update: ResourceUpdate, total: int
) -> None:
    """Notes under which token a change was made."""
    await conn.execute(_SQL["insert_update"], name, token, update.operation, update.quantity, total)


async def delete_resource(conn: Connection, name: str) -> bool:
    """Deletes a resource; False if there is none."""
    if await conn.fetchval(_SQL["delete_resource"], name) is None:
        return False
    await listen.notify(conn, listen.CONSUMABLES)
    return True


async def read_resource(conn: Connection, name: str) -> ConsumableResource | None:
    """A resource, None if there is none."""
    row = await conn.fetchrow(_SQL["read_resource"], name)
    return None if row is None else _resource(row)


async def list_resources(
    conn: Connection, *, after: str, pattern: str | None, limit: int
) -> list[ConsumableResource]:
    """Resources after a name, in order."""
    rows = await conn.fetch(_SQL["list_resources"], after, pattern, limit)
    return [_resource(row) for row in rows]


def _resource(row: Any) -> ConsumableResource:
    return ConsumableResource(
        row["name"],
        row["resource_type"],
        row["total_quantity"],
        row["in_use"],
        row["created_at"],
        row["tags"],
    )
