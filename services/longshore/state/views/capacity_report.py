"""What compute environments have, and the history of decisions about them, for whoever looks."""

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from longshore.domain.instance import InstanceCondition, network_remark, unfit_remark
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("capacity_report")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingActivity:
    """A scaling activity: what was decided and done, and why."""

    activity_id: int
    compute_environment: str
    #: The capacity order that it made, if it made one.
    order_id: uuid.UUID | None
    desiredv_cpus: int
    ordered: int
    terminated: int
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class InstanceSum:
    """Some instances together."""

    instances: int
    vcpus: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentCapacity:
    """What a compute environment has; see `longshore.v1.EnvironmentCapacity`."""

    compute_environment: str
    type: str
    resource_type: str
    state: str
    status: str
    status_reason: str
    minv_cpus: int
    desiredv_cpus: int
    maxv_cpus: int
    busy: InstanceSum
    idle: InstanceSum
    booting: InstanceSum
    draining: InstanceSum
    unfit: InstanceSum
    held_vcpus: float
    runnable_jobs: int
    cost_per_hour: float
    last_activity: ScalingActivity | None
    #: Sentences about instances that do not fare as they should.
    remarks: tuple[str, ...] = ()


async def activities(
    conn: Connection, environment: str | None, *, before: int, limit: int
) -> list[ScalingActivity]:
    """Activities of one or all environments with ids below one, newest first."""
    return [
        ScalingActivity(**row)
        for row in await conn.fetch(_SQL["activities"], environment, before, limit)
    ]


async def capacity(conn: Connection, environments: Sequence[str]) -> list[EnvironmentCapacity]:
    """What the named compute environments have, or all of them, in order of their names."""
    remarks = defaultdict[str, list[str]](list)
    for row in await conn.fetch(_SQL["remarked"], list(environments)):
        remarks[row["compute_environment"]] += _remarks(row)
    rows = await conn.fetch(_SQL["capacity"], list(environments))
    return [_capacity(row, tuple(remarks[row["name"]])) for row in rows]


def _remarks(row: Any) -> list[str]:
    found = []
    condition = InstanceCondition(row["health"])
    if condition is not InstanceCondition.HEALTHY:
        found.append(
            unfit_remark(condition, row["count"], row["instance_id"], row["health_detail"])
        )
    if row["is_elsewhere"]:
        found.append(
            network_remark(row["network"], row["count"], row["instance_id"], row["network_detail"])
        )
    return found


def _capacity(row: Any, remarks: tuple[str, ...]) -> EnvironmentCapacity:
    sums = {
        doing: InstanceSum(row[f"{doing}_instances"] or 0, float(row[f"{doing}_vcpus"] or 0))
        for doing in ("busy", "idle", "booting", "draining", "unfit")
    }
    return EnvironmentCapacity(
        compute_environment=row["name"],
        type=row["type"],
        resource_type=row["resource_type"] or "",
        state=row["state"],
        status=row["status"],
        status_reason=row["status_reason"],
        minv_cpus=row["minv_cpus"] or 0,
        desiredv_cpus=row["desiredv_cpus"] or 0,
        maxv_cpus=row["maxv_cpus"] or 0,
        **sums,
        held_vcpus=float(row["held_vcpus"] or 0),
        runnable_jobs=row["runnable"] or 0,
        cost_per_hour=row["cost_per_hour"] or 0.0,
        last_activity=ScalingActivity(
            activity_id=row["activity_id"],
            compute_environment=row["name"],
            order_id=row["order_id"],
            desiredv_cpus=row["settledv_cpus"],
            ordered=row["ordered"],
            terminated=row["terminated"],
            reason=row["reason"],
            at=row["at"],
        )
        if row["activity_id"] is not None
        else None,
        remarks=remarks,
    )
