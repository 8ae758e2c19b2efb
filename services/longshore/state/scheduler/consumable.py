"""Consumable resources: how much there is, what placements use up, what is on record as held."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from longshore.domain.consumable import NON_REPLENISHABLE, QUANTITY_MAX, Resource
from longshore.domain.job.record import LiveAttempt
from longshore.state import listen
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("consumable")


async def lock(conn: Connection, names: Collection[str]) -> dict[str, Resource]:
    """Resources by name, held still until the transaction ends; those that are gone are absent."""
    return _resources(await conn.fetch(_SQL["lock"], list(names)))


async def read(conn: Connection, names: Collection[str]) -> dict[str, Resource]:
    """Resources by name; those that are gone are absent."""
    return _resources(await conn.fetch(_SQL["read"], list(names)))


async def use_up(conn: Connection, amounts: Mapping[str, int]) -> None:
    """Takes what placements use up off the totals, of resources that are used up."""
    if amounts:
        names = sorted(amounts)
        await conn.execute(_SQL["use_up"], names, [amounts[name] for name in names])


async def give_back(conn: Connection, lives: Sequence[LiveAttempt]) -> None:
    """Gives back what attempts used up that were none, and tells of it."""
    amounts = [(name, quantity, live) for live in lives for name, quantity in live.units]
    if amounts:
        await conn.execute(
            _SQL["give_back"],
            [name for name, _, _ in amounts],
            [quantity for _, quantity, _ in amounts],
            [live.placed_at for _, _, live in amounts],
        )
        await listen.notify(conn, listen.CONSUMABLES)


async def usages(conn: Connection) -> dict[str, int]:
    """What is on record as held of each resource."""
    return {row["resource"]: row["held"] for row in await conn.fetch(_SQL["usages"])}


async def store(conn: Connection, held: Mapping[str, int]) -> None:
    """Puts on record what is held of resources; 0 for nothing any more.

    What was used up counts as long as its attempts live, so it may be more than a number can say.
    """
    some = sorted(name for name, quantity in held.items() if quantity)
    if some:
        most = [min(held[name], QUANTITY_MAX) for name in some]
        await conn.execute(_SQL["store"], some, most)
    if none := [name for name, quantity in held.items() if not quantity]:
        await conn.execute(_SQL["forget"], none)


def _resources(rows: Iterable[Any]) -> dict[str, Resource]:
    return {
        row["name"]: Resource(
            row["total_quantity"], is_replenishable=row["resource_type"] != NON_REPLENISHABLE
        )
        for row in rows
    }
