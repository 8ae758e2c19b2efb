"""Capacity orders: recorded before they are placed, closed once and for ever when answered."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from longshore.domain.errors import NotFound
from longshore.domain.order import CapacityError, CapacityOrder
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
            "rank": entry.rank,
        }
        for entry in order.entries
    ]
    await conn.execute(
        _SQL["open"],
        order.order_id,
        order.compute_environment,
        order.target_vcpus,
        entries,
        order.reason,
    )


async def abandon(conn: Connection, now: datetime | None = None) -> list[uuid.UUID]:
    """Closes every open order and returns which; waits for one that is being answered."""
    return [row["order_id"] for row in await conn.fetch(_SQL["abandon"], now)]


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
        CapacityError(error["instanceType"], error["zone"], error["reason"], error["message"])
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
            "reason": error.reason,
            "message": error.message,
        }
        for error in errors
    ]
    await conn.execute(_SQL["close"], order_id, rows, now)
