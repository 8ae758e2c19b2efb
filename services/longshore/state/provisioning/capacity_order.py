"""Capacity orders: recorded before they are placed, closed once and for ever when answered."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from longshore.domain.errors import NotFound
from longshore.domain.order import CapacityError, CapacityOrder, OrderEntry
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("capacity_order")


async def record(conn: Connection, order: CapacityOrder) -> None:
    """Records an order as open; an order already known stays as it is."""
    entries = [
        {
            "instanceType": entry.instance_type,
            "purchaseOption": entry.purchase_option,
            "zone": entry.zone,
            "weight": entry.weight,
            "maxCount": entry.max_count,
            "pricePerHour": entry.price_per_hour,
            "maxPricePerHour": entry.max_price_per_hour,
            "rank": entry.rank,
        }
        for entry in order.entries
    ]
    await conn.execute(
        _SQL["open"],
        order.order_id,
        order.compute_environment,
        float(order.target_vcpus),
        entries,
        order.reason,
        order.generation,
        order.allocation_strategy,
    )


async def begin(conn: Connection, order_id: uuid.UUID, seconds: float) -> None:
    """Notes that a provider is asked for an open order, for so long at most."""
    await conn.execute(_SQL["begin"], order_id, seconds)


async def let_go(conn: Connection, order_id: uuid.UUID) -> None:
    """Notes that nobody asks for an open order any more: it may be given up."""
    await conn.execute(_SQL["let_go"], order_id)


async def begun(conn: Connection) -> list[CapacityOrder]:
    """Open orders that a provider is asked for, or was by somebody who died over it."""
    return [_order(row) for row in await conn.fetch(_SQL["begun"])]


async def abandon(conn: Connection, now: datetime | None = None) -> list[uuid.UUID]:
    """Closes open orders and returns which; leaves alone those that are being answered."""
    return [row["order_id"] for row in await conn.fetch(_SQL["abandon"], now)]


async def prune(conn: Connection, before: datetime, limit: int) -> int:
    """Forgets orders closed before a time that no instance is of, so many at most.

    Returns:
        How many.
    """
    return len(await conn.fetch(_SQL["prune"], before, limit))


async def lock(conn: Connection, order_id: uuid.UUID) -> tuple[bool, list[CapacityError]]:
    """Locks an order until the transaction ends.

    Returns:
        Whether it is closed, and what it could not get.

    Raises:
        NotFound: it was not recorded.
    """
    row = await conn.fetchrow(_SQL["lock"], order_id)
    if row is None:
        raise NotFound(f"There is no capacity order {order_id}.")
    errors = [
        CapacityError(
            error["instanceType"],
            error["zone"],
            error["purchaseOption"],
            error["reason"],
            error["message"],
        )
        for error in row["errors"]
    ]
    return row["is_closed"], errors


async def close(
    conn: Connection,
    order_id: uuid.UUID,
    errors: Sequence[CapacityError],
    now: datetime | None = None,
) -> None:
    """Closes an order with what could not be had."""
    rows = [
        {
            "instanceType": error.instance_type,
            "zone": error.zone,
            "purchaseOption": error.purchase_option,
            "reason": error.reason,
            "message": error.message,
        }
        for error in errors
    ]
    await conn.execute(_SQL["close"], order_id, rows, now)


def _order(row: Any) -> CapacityOrder:
    return CapacityOrder(
        order_id=row["order_id"],
        compute_environment=row["compute_environment"],
        generation=row["generation"],
        allocation_strategy=row["allocation_strategy"],
        target_vcpus=row["target_vcpus"],
        entries=tuple(
            OrderEntry(
                instance_type=entry["instanceType"],
                purchase_option=entry["purchaseOption"],
                zone=entry["zone"],
                weight=entry["weight"],
                max_count=entry["maxCount"],
                price_per_hour=entry["pricePerHour"],
                max_price_per_hour=entry["maxPricePerHour"],
                rank=entry["rank"],
            )
            for entry in row["entries"]
        ),
        reason=row["reason"],
    )
