"""Capacity orders: put on record when provisioning takes one on, closed once and for ever.

Provisioning alone writes them. An open order is being answered, until `answering_until` at the
longest; who finds one that is open after that gives it up.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from longshore.domain.errors import PreconditionFailed, StaleLease
from longshore.domain.order import CapacityError, CapacityOrder, OrderEntry
from longshore.state import lease
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("capacity_order")


async def accept(
    conn: Connection, order: CapacityOrder, seconds: float, decision_token: int | None = None
) -> bool:
    """Puts an order on record, as being answered for so long at most; one already known stays.

    Args:
        conn: a connection in a transaction.
        order: what is ordered.
        seconds: how long it may take to answer it.
        decision_token: of the scaler's lease under which it was decided; a new order is put on
            record only while that is held. None: not decided by a scaler.

    Returns:
        Whether it is open; False if it was answered, or given up.

    Raises:
        PreconditionFailed: it comes after the pass that decided it.
    """
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
    is_new = await conn.fetchval(
        _SQL["accept"],
        order.order_id,
        order.compute_environment,
        float(order.target_vcpus),
        entries,
        order.reason,
        order.generation,
        order.allocation_strategy,
        seconds,
    )
    if is_new and decision_token is not None:
        try:
            await lease.check(conn, lease.SCALER, decision_token)
        except StaleLease:
            raise PreconditionFailed(
                f"Capacity order {order.order_id} comes too late: the pass of the scaler that "
                "decided it is over. Decide anew."
            ) from None
    return is_new is not None


async def give_up(conn: Connection, order_id: uuid.UUID) -> None:
    """Closes an order, if it is open, for which nobody asks the provider any more."""
    await conn.execute(_SQL["give_up"], order_id)


async def give_up_lapsed(
    conn: Connection, answering: Sequence[uuid.UUID], now: datetime | None = None
) -> list[uuid.UUID]:
    """Closes orders that were to be answered by now, but for some; returns which."""
    rows = await conn.fetch(_SQL["give_up_lapsed"], list(answering), now)
    return [row["order_id"] for row in rows]


async def open_orders(conn: Connection) -> list[CapacityOrder]:
    """Orders that the provider is being asked for, or was by somebody who died over it."""
    return [_order(row) for row in await conn.fetch(_SQL["open"])]


async def prune(conn: Connection, before: datetime, limit: int) -> int:
    """Forgets orders closed before a time that no instance is of, so many at most.

    Returns:
        How many.
    """
    return len(await conn.fetch(_SQL["prune"], before, limit))


async def errors(conn: Connection, order_id: uuid.UUID) -> list[CapacityError]:
    """What a closed order could not get."""
    return [
        CapacityError(
            error["instanceType"],
            error["zone"],
            error["purchaseOption"],
            error["reason"],
            error["message"],
        )
        for error in await conn.fetchval(_SQL["errors"], order_id)
    ]


async def close(conn: Connection, order_id: uuid.UUID, short: Sequence[CapacityError]) -> None:
    """Closes an open order with what could not be had."""
    rows = [
        {
            "instanceType": error.instance_type,
            "zone": error.zone,
            "purchaseOption": error.purchase_option,
            "reason": error.reason,
            "message": error.message,
        }
        for error in short
    ]
    await conn.execute(_SQL["close"], order_id, rows)


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
