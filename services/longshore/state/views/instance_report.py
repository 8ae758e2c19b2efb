"""Instances as users see them, and what they cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from longshore.domain.instance import (
    AgentStatus,
    InstanceCondition,
    InstanceStatus,
    ShownStatus,
    shown_reason,
    shown_status,
)
from longshore.domain.job.job import JobKey
from longshore.domain.page import Position
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("instance_report")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDetail:
    """An instance on record, or a machine that joined by itself; see its namesake on the wire."""

    instance_id: str
    compute_environment: str
    status: ShownStatus
    status_reason: str
    provider: str
    provider_id: str
    instance_type: str
    zone: str
    purchase_option: str
    vcpus: float
    memory_mib: int
    gpus: int
    price_per_hour: float
    cost: float
    live_attempts: int
    held_vcpus: float
    held_memory_mib: int
    ordered_at: datetime
    launched_at: datetime | None
    registered_at: datetime | None
    terminating_at: datetime | None
    ended_at: datetime | None
    order_reason: str
    #: Propagated by the job whose slot it is.
    tags: Mapping[str, str]
    network: str
    #: Its GPUs as its agent found them, in words.
    gpu_devices: tuple[str, ...]
    #: Where a page that ends with it does.
    position: Position


@dataclass(frozen=True, slots=True)
class Cost:
    """What something cost so far, in US dollars."""

    name: str
    cost: float


async def list_instances(
    conn: Connection,
    *,
    environment: str | None = None,
    instance_id: str | None = None,
    ended: bool = False,
    after: Position | None = None,
    limit: int,
    now: datetime | None = None,
) -> list[InstanceDetail]:
    """Instances that are not over, newest order first, then if asked for those that are."""
    end, order, last = (None, None, None) if after is None else after
    rows = await conn.fetch(
        _SQL["list_instances"], environment, instance_id, ended, limit, end, order, last, now
    )
    return [_detail(row) for row in rows]


async def environment_costs(
    conn: Connection, names: Sequence[str], now: datetime | None = None
) -> list[Cost]:
    """What all instances of compute environments cost; no names: of every one."""
    rows = await conn.fetch(_SQL["environment_costs"], list(names) or None, now)
    return [Cost(row["name"], row["cost"]) for row in rows]


async def queue_costs(
    conn: Connection, names: Sequence[str], now: datetime | None = None
) -> list[Cost]:
    """What the attempts of queues' jobs held; no names: of every queue."""
    rows = await conn.fetch(_SQL["queue_costs"], list(names) or None, now)
    return [Cost(row["name"], row["cost"]) for row in rows]


async def job_costs(
    conn: Connection, keys: Sequence[JobKey], now: datetime | None = None
) -> list[Cost]:
    """What jobs' attempts held, in the order asked for; unknown jobs are left out."""
    rows = await conn.fetch(
        _SQL["job_costs"],
        [key.job_id for key in keys],
        [key.array_index for key in keys],
        now,
    )
    return [Cost(str(keys[row["ordinal"] - 1]), row["cost"]) for row in rows]


def _detail(row: Any) -> InstanceDetail:
    agent = AgentStatus(row["agent_status"]) if row["agent_status"] else None
    status = shown_status(
        InstanceStatus(row["status"]),
        agent,
        InstanceCondition(row["health"] or InstanceCondition.HEALTHY),
        is_seen=row["seen_at"] is not None,
        was_asked=row["terminating_at"] is not None,
    )
    return InstanceDetail(
        instance_id=row["instance_id"],
        compute_environment=row["compute_environment"],
        status=status,
        status_reason=shown_reason(
            status,
            row["status_reason"],
            health_detail=row["health_detail"] or "",
            network=row["network"] or "",
            network_detail=row["network_detail"] or "",
        ),
        provider=row["provider"],
        provider_id=row["provider_id"] or "",
        instance_type=row["instance_type"],
        zone=row["zone"],
        purchase_option=row["purchase_option"],
        vcpus=float(row["vcpus"]),
        memory_mib=row["memory_mib"],
        gpus=row["gpus"],
        price_per_hour=row["price_per_hour"],
        cost=row["cost"],
        live_attempts=row["live_attempts"],
        held_vcpus=row["held_vcpu_milli"] / 1000,
        held_memory_mib=row["held_memory_mib"],
        ordered_at=row["ordered_at"],
        launched_at=row["launched_at"],
        registered_at=row["registered_at"],
        terminating_at=row["terminating_at"],
        ended_at=row["ended_at"],
        order_reason=row["order_reason"],
        tags=row["tags"] or {},
        network=row["network"] or "",
        gpu_devices=tuple(row["gpu_devices"] or ()),
        position=[row["end_micros"], row["order_micros"], row["instance_id"]],
    )
