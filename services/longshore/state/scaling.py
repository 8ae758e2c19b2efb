"""What the scaler reads to decide, and what it writes once it has."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from longshore.domain.capacity import (
    BEST_FIT,
    Environment,
    Instance,
    InstanceState,
    QueueDemand,
    ShapeDemand,
    Snapshot,
)
from longshore.domain.catalogue import RESERVE_MIB, Catalogue
from longshore.domain.resources import Resources
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("scaling")


@dataclass(frozen=True, slots=True)
class Activity:
    """A scaling activity: what was decided and done, and why."""

    compute_environment: str
    desiredv_cpus: int
    ordered: int
    terminated: int
    reason: str
    at: datetime


async def load_snapshot(conn: Connection, catalogue: Catalogue, short_since: datetime) -> Snapshot:
    """Reads everything that a decision depends on, as of one moment.

    Args:
        conn: a connection at the very start of a transaction.
        catalogue: what names of instance types stand for.
        short_since: types that the provider was short of since then are not asked for again.
    """
    await conn.execute(_SQL["one_moment"])
    short: dict[str, set[str]] = {}
    for row in await conn.fetch(_SQL["short_types"], short_since):
        short.setdefault(row["compute_environment"], set()).add(row["instance_type"])
    environments = [
        _environment(row, catalogue, frozenset(short.get(row["name"], ())))
        for row in await conn.fetch(_SQL["environments"])
    ]
    instances = [_instance(row) for row in await conn.fetch(_SQL["instances"], RESERVE_MIB)]
    shapes: dict[str, list[ShapeDemand]] = {}
    for row in await conn.fetch(_SQL["demand"]):
        need = Resources(row["vcpu_milli"], row["memory_mib"], row["gpus"])
        demand = ShapeDemand(row["shape_id"], need, row["runnable"])
        shapes.setdefault(row["job_queue"], []).append(demand)
    queues = [
        QueueDemand(
            row["name"],
            row["priority"],
            tuple(row["environments"]),
            tuple(shapes.get(row["name"], ())),
        )
        for row in await conn.fetch(_SQL["queues"])
    ]
    return Snapshot(queues, environments, instances)


async def settle(conn: Connection, environment: str, expected: int, desiredv_cpus: int) -> None:
    """Sets `desiredvCpus`; what a client changed since it was read stays."""
    await conn.execute(_SQL["settle"], environment, expected, desiredv_cpus)


async def set_status(
    conn: Connection, environment: str, expected: str, status: str, reason: str
) -> None:
    """Changes the status of an environment that still has the one that was read."""
    await conn.execute(_SQL["set_status"], environment, expected, status, reason)


async def add_activity(
    conn: Connection,
    environment: str,
    desiredv_cpus: int,
    *,
    ordered: int,
    terminated: int,
    reason: str,
) -> None:
    """Adds to the history of an environment."""
    await conn.execute(
        _SQL["add_activity"], environment, desiredv_cpus, ordered, terminated, reason
    )


async def activities(conn: Connection, environment: str | None, limit: int) -> list[Activity]:
    """The newest activities of one or all environments, newest first."""
    return [Activity(**row) for row in await conn.fetch(_SQL["activities"], environment, limit)]


def _environment(row: Any, catalogue: Catalogue, short_types: frozenset[str]) -> Environment:
    detail = row["detail"].get("computeResources") or {}
    delay = (detail.get("scalingPolicy") or {}).get("minScaleDownDelayMinutes")
    return Environment(
        name=row["name"],
        is_managed=row["type"] == "MANAGED",
        is_enabled=row["state"] == "ENABLED",
        status=row["status"],
        status_reason=row["status_reason"],
        instance_types=catalogue.resolve(detail.get("instanceTypes") or ()),
        allocation_strategy=detail.get("allocationStrategy") or BEST_FIT,
        is_spot=row["resource_type"] == "SPOT",
        minv_cpus=row["minv_cpus"] or 0,
        maxv_cpus=row["maxv_cpus"] or 0,
        desiredv_cpus=row["desiredv_cpus"] or 0,
        settledv_cpus=row["settledv_cpus"] or 0,
        scale_down_delay=timedelta(minutes=delay) if delay else None,
        failures=row["failures"],
        short_types=short_types,
    )


def _instance(row: Any) -> Instance:
    if row["status"] == "TERMINATING" or row["agent_status"] == "DRAINING":
        state = InstanceState.LEAVING
    elif row["agent_status"] is None:
        state = InstanceState.BOOTING
    else:
        state = InstanceState(row["agent_status"])
    return Instance(
        instance_id=row["instance_id"],
        compute_environment=row["compute_environment"],
        state=state,
        free=Resources(row["vcpu_milli"], row["memory_mib"], row["gpus"]),
        ordered_at=row["ordered_at"],
        vcpus=row["vcpus"],
        price_per_hour=row["price_per_hour"],
        live_attempts=row["live_attempts"],
        idle_since=row["idle_since"],
        has_run=row["has_run"],
        is_ours=row["is_ours"],
    )
