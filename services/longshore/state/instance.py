"""Instances from their order to their end: provisioning's records."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from longshore.domain.catalogue import InstanceType
from longshore.domain.instance import AgentStatus, InstanceRecord, InstanceStatus
from longshore.domain.order import CapacityOrder, OrderEntry
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("instance")


async def insert(
    conn: Connection,
    order: CapacityOrder,
    provider: str,
    ordered: Sequence[tuple[str, OrderEntry, InstanceType]],
) -> None:
    """Records the instances of an order as ORDERED: id, entry and type of each."""
    await conn.execute(
        _SQL["insert"],
        [instance_id for instance_id, _, _ in ordered],
        order.order_id,
        order.compute_environment,
        provider,
        [kind.name for _, _, kind in ordered],
        [entry.purchase_option for _, entry, _ in ordered],
        [entry.zone for _, entry, _ in ordered],
        [kind.vcpus for _, _, kind in ordered],
        [kind.memory_mib for _, _, kind in ordered],
        [kind.gpus for _, _, kind in ordered],
        [entry.price_per_hour for _, entry, _ in ordered],
    )


async def of_order(conn: Connection, order_id: uuid.UUID) -> list[tuple[str, str, str]]:
    """Instances that an order got: id, type, zone."""
    return [tuple(row) for row in await conn.fetch(_SQL["of_order"], order_id)]


async def count_live(conn: Connection, provider: str) -> int:
    """Instances of a provider that are not over."""
    return int(await conn.fetchval(_SQL["count_live"], provider))


async def environment_exists(conn: Connection, name: str) -> bool:
    """Whether there is a compute environment of a name."""
    return bool(await conn.fetchval(_SQL["environment_exists"], name))


async def live(conn: Connection, provider: str) -> list[InstanceRecord]:
    """Instances of a provider that are not over, in order of their orders."""
    return [_record(row) for row in await conn.fetch(_SQL["live"], provider)]


async def launched(
    conn: Connection, instance_id: str, provider_id: str, now: datetime | None = None
) -> None:
    """Notes that an ordered instance was launched."""
    await conn.execute(_SQL["launched"], instance_id, provider_id, now)


async def relaunched(conn: Connection, instance_id: str, provider_id: str) -> None:
    """Notes that the provider has an instance under a new name."""
    await conn.execute(_SQL["relaunched"], instance_id, provider_id)


async def terminating(conn: Connection, instance_ids: Sequence[str], reason: str) -> list[str]:
    """Puts live instances on their way out and wakes the scheduler; returns those it applied to."""
    rows = await conn.fetch(_SQL["terminating"], list(instance_ids), reason)
    await notify_capacity(conn)
    return sorted(row["instance_id"] for row in rows)


async def ended(
    conn: Connection,
    instance_id: str,
    status: InstanceStatus,
    reason: str | None = None,
    now: datetime | None = None,
) -> bool:
    """Ends an instance on record and wakes scheduler and scaler; whether it was live until now."""
    row = await conn.fetchrow(_SQL["ended"], instance_id, status, reason, now)
    await notify_capacity(conn)
    return row is not None


async def notify_capacity(conn: Connection) -> None:
    """Wakes who follows capacity, when the transaction commits."""
    await conn.execute(_SQL["notify_capacity"])


def _record(row: Any) -> InstanceRecord:
    return InstanceRecord(
        instance_id=row["instance_id"],
        compute_environment=row["compute_environment"],
        instance_type=row["instance_type"],
        vcpus=row["vcpus"],
        memory_mib=row["memory_mib"],
        gpus=row["gpus"],
        status=InstanceStatus(row["status"]),
        agent=AgentStatus(row["agent_status"]) if row["agent_status"] else None,
        live_attempts=row["live_attempts"],
        was_launched=row["launched_at"] is not None,
    )
