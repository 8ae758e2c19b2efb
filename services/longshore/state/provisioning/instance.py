"""Instances from their order to their end: provisioning's records."""

import uuid
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from longshore.domain.catalogue import InstanceType
from longshore.domain.checks import Json
from longshore.domain.instance import AgentStatus, InstanceRecord, InstanceStatus
from longshore.domain.order import CapacityOrder, Ordered
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("instance")


async def insert(
    conn: Connection,
    order: CapacityOrder,
    provider: str,
    ordered: Sequence[tuple[Ordered, InstanceType]],
    machine: str = "",
) -> None:
    """Records the instances of an order, those that have a provider's id as LAUNCHED.

    `machine` is the one that they are processes of; empty if the provider reaches them from
    anywhere.
    """
    await conn.execute(
        _SQL["insert"],
        [one.instance_id for one, _ in ordered],
        order.order_id,
        order.compute_environment,
        provider,
        [kind.name for _, kind in ordered],
        [one.entry.purchase_option for one, _ in ordered],
        [one.zone for one, _ in ordered],
        [float(kind.vcpus) for _, kind in ordered],
        [kind.memory_mib for _, kind in ordered],
        [kind.gpus for _, kind in ordered],
        [one.entry.price_per_hour for one, _ in ordered],
        order.generation,
        [one.provider_id for one, _ in ordered],
        machine,
    )


async def of_order(conn: Connection, order_id: uuid.UUID) -> list[tuple[str, str, str]]:
    """Instances that an order got: id, type, zone."""
    return [tuple(row) for row in await conn.fetch(_SQL["of_order"], order_id)]


async def count_live(conn: Connection, provider: str, machine: str = "") -> int:
    """Instances of a provider, on a machine, that are not over."""
    return int(await conn.fetchval(_SQL["count_live"], provider, machine))


async def other_providers(conn: Connection, provider: str) -> list[str]:
    """Providers but one that have instances which are not over."""
    return [row["provider"] for row in await conn.fetch(_SQL["other_providers"], provider)]


async def compute_resources(conn: Connection, environment: str) -> Json:
    """`computeResources` of a compute environment, as stored."""
    return dict(await conn.fetchval(_SQL["compute_resources"], environment) or {})


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


async def seen(conn: Connection, instance_ids: Sequence[str], now: datetime | None = None) -> None:
    """Notes that the provider has shown instances."""
    await conn.execute(_SQL["seen"], list(instance_ids), now)


async def terminating(
    conn: Connection,
    instance_ids: Sequence[str],
    reason: str,
    *,
    drain_until: datetime | None = None,
    ends_at: datetime | None = None,
    now: datetime | None = None,
) -> list[str]:
    """Puts live instances on their way out and wakes the scheduler.

    Those that are on their way out already may be told to be empty earlier.

    Returns:
        The instances that it applied to and that were not on their way before.
    """
    ids = list(instance_ids)
    if drain_until is not None:
        await conn.execute(_SQL["hasten"], ids, reason, drain_until)
    rows = await conn.fetch(_SQL["terminating"], ids, reason, drain_until, ends_at, now)
    await notify_capacity(conn)
    return sorted(row["instance_id"] for row in rows)


async def take_notices(
    conn: Connection, provider: str, margin: timedelta, now: datetime | None = None
) -> list[tuple[str, str]]:
    """Puts on their way out instances whose agents were told that they will be taken away.

    Args:
        conn: a connection in a transaction.
        provider: whose instances.
        margin: how long before the end of a notice attempts are stopped.
        now: the time.

    Returns:
        Id and reason of each instance that this changed.
    """
    rows = await conn.fetch(_SQL["take_notices"], provider, margin.total_seconds(), now)
    if rows:
        await notify_capacity(conn)
    return [(row["instance_id"], row["status_reason"]) for row in rows]


async def lock_status(conn: Connection, instance_id: str) -> InstanceStatus | None:
    """Status of an instance, which stays so until the transaction ends; None if not on record."""
    status = await conn.fetchval(_SQL["lock_status"], instance_id)
    return None if status is None else InstanceStatus(status)


async def ended(
    conn: Connection,
    instance_id: str,
    status: InstanceStatus,
    reason: str | None = None,
    now: datetime | None = None,
    *,
    asked_at: datetime | None = None,
) -> bool:
    """Ends an instance on record and wakes scheduler and scaler.

    Args:
        conn: a connection in a transaction.
        instance_id: the instance.
        status: TERMINATED or FAILED.
        reason: why; None to keep what was said when it was given back.
        now: the time.
        asked_at: since when it was to go by our own wish, if it was not TERMINATING.

    Returns:
        Whether it was live until now.
    """
    row = await conn.fetchrow(_SQL["ended"], instance_id, status, reason, now, asked_at)
    await notify_capacity(conn)
    return row is not None


async def prune(conn: Connection, before: datetime, limit: int) -> int:
    """Forgets instances that ended before a time, so many at most; returns how many."""
    return len(await conn.fetch(_SQL["prune"], before, limit))


async def prune_costs(conn: Connection, before: date, limit: int) -> int:
    """Forgets costs of days before one, so many rows at most; returns how many."""
    return len(await conn.fetch(_SQL["prune_costs"], before, limit))


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
        launched_at=row["launched_at"],
        seen_at=row["seen_at"],
        terminating_at=row["terminating_at"],
        drain_until=row["drain_until"],
        ends_at=row["ends_at"],
        idle_since=row["idle_since"],
        machine=row["machine"],
    )
