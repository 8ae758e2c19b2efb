"""What the scaler reads to decide, and what it writes once it has."""

import functools
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from longshore.domain.catalogue import RESERVE_MIB, Catalogue
from longshore.domain.checks import Json
from longshore.domain.consumable import REPLENISHABLE, Resource, Stock, from_text
from longshore.domain.environment import JOB_EXECUTION_TIMEOUT_MINUTES, is_fargate
from longshore.domain.fair_share import Ledger, Usage
from longshore.domain.order import ON_DEMAND, SPOT
from longshore.domain.request.policy import share_policy
from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import (
    BEST_FIT,
    CapacitySnapshot,
    Environment,
    Instance,
    InstanceState,
    QueueDemand,
    ShapeDemand,
)
from longshore.domain.scaling.capping import alike, within
from longshore.domain.scaling.market import Market, Quote
from longshore.domain.scaling.sharing import in_order, sharing
from longshore.domain.scaling.stocking import within_stock
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("scaling")


@functools.lru_cache(maxsize=4096)
def _amount(vcpu_milli: int, memory_mib: int, gpus: int) -> Resources:
    """What attempts hold and instances have free: often the same, and cheaper to find than make."""
    return Resources(vcpu_milli, memory_mib, gpus)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a decision sees, and what is known besides."""

    snapshot: CapacitySnapshot
    #: When the first of the shortages that the snapshot has will be forgotten.
    cool_down_ends_at: datetime | None
    #: Environments with an order that provisioning has not answered yet.
    in_flight: frozenset[str]


async def load_snapshot(
    conn: Connection,
    catalogue: Catalogue,
    *,
    now: datetime,
    cool_down: timedelta,
    provider: str = "local",
    with_held: bool = False,
) -> Seen:
    """Reads everything that a decision depends on, as of one moment.

    Args:
        conn: a connection at the very start of a transaction.
        catalogue: what names of instance types stand for.
        now: the time of the decision.
        cool_down: for how long what the provider was short of is not asked for again.
        provider: whose quotes hold.
        with_held: whether to tell what each attempt on an instance holds.
    """
    await conn.execute(_SQL["one_moment"])
    shortages = await conn.fetch(_SQL["shortages"], now - cool_down)
    market = Market(
        [Quote(**row) for row in await conn.fetch(_SQL["offers"], provider)],
        [(row["instance_type"], row["zone"], row["purchase_option"]) for row in shortages],
    )
    environments = [
        _environment(row, catalogue, market) for row in await conn.fetch(_SQL["environments"])
    ]
    rows = await conn.fetch(_SQL["instances"], RESERVE_MIB, with_held)
    instances = [_instance(row) for row in rows]
    shapes: dict[str, list[ShapeDemand]] = {}
    counted: Counter[uuid.UUID] = Counter()
    for row in await conn.fetch(_SQL["demand"]):
        need = Resources(row["vcpu_milli"], row["memory_mib"], row["gpus"])
        demand = ShapeDemand(
            row["shape_id"],
            need,
            row["runnable"],
            row["nodes"],
            row["instance_type"],
            (row["rank"] or 0, row["seq"] or 0),
            row["share_identifier"],
            row["priority"],
            from_text(row["consumables"]),
        )
        # What the cap of an array holds back is no demand; it is one for all shapes of the array.
        placed = row["running"] + counted[row["array_job"]]
        of_array = within([demand], row["max_running"], placed)
        counted[row["array_job"]] += sum(shape.runnable for shape in of_array)
        shapes.setdefault(row["job_queue"], []).extend(of_array)
    rows = await conn.fetch(_SQL["queues"])
    running: dict[str, int] = {}
    if any(row["max_running"] for row in rows):
        running = {row["job_queue"]: row["running"] for row in await conn.fetch(_SQL["running"])}
    ledger = Ledger()
    if any(row["fairshare"] is not None for row in rows):
        for row in await conn.fetch(_SQL["share_usages"]):
            ledger.usages[row["job_queue"], row["share_identifier"]] = Usage(
                row["as_of"], row["average"], row["running_milli"], row["used_at"]
            )
    by_name = {environment.name: environment for environment in environments}
    queues = [
        QueueDemand(
            row["name"],
            row["priority"],
            tuple(row["environments"]),
            _in_order(row, shapes.get(row["name"], ()), ledger, by_name, now),
        )
        for row in rows
    ]
    may_run = {
        row["name"]: row["max_running"] - running.get(row["name"], 0)
        for row in rows
        if row["max_running"]
    }
    queues = within_stock(queues, await _stock(conn, queues), may_run)
    in_flight = await conn.fetch(_SQL["in_flight"])
    return Seen(
        CapacitySnapshot(queues, environments, instances),
        min((row["at"] + cool_down for row in shortages), default=None),
        frozenset(row["compute_environment"] for row in in_flight),
    )


async def _stock(conn: Connection, queues: Sequence[QueueDemand]) -> Stock:
    """What there is of the consumable resources that jobs wait for."""
    names = {name for queue in queues for shape in queue.shapes for name, _ in shape.units}
    stock = Stock()
    for row in await conn.fetch(_SQL["consumables"], list(names)) if names else ():
        is_replenishable = row["resource_type"] == REPLENISHABLE
        stock.resources[row["name"]] = Resource(
            row["total_quantity"], is_replenishable=is_replenishable
        )
        stock.held[row["name"]] = row["held"]
    return stock


def _in_order(
    row: Any,
    shapes: Sequence[ShapeDemand],
    ledger: Ledger,
    environments: Mapping[str, Environment],
    now: datetime,
) -> tuple[ShapeDemand, ...]:
    """The shapes of a queue in the order in which their jobs will be placed."""
    if row["fairshare"] is None:
        return alike(shapes)
    policy = share_policy(row["fairshare"])
    of_queue = [environments[name] for name in row["environments"] if name in environments]
    is_known = all(environment.is_managed for environment in of_queue)
    most = sum(one.maxv_cpus for one in of_queue) * 1000 if is_known else None
    return in_order(shapes, sharing(row["name"], policy, shapes, ledger, most, now))


async def add_activity(
    conn: Connection,
    environment: str,
    desiredv_cpus: int,
    *,
    ordered: int,
    terminated: int,
    reason: str,
    is_invalidated: bool = False,
    order_id: uuid.UUID | None = None,
) -> None:
    """Adds to the history of an environment."""
    await conn.execute(
        _SQL["add_activity"],
        environment,
        desiredv_cpus,
        ordered,
        terminated,
        reason,
        order_id,
        is_invalidated,
    )


async def prune(conn: Connection, before: datetime, limit: int) -> None:
    """Forgets activities from before a time, so many at most."""
    await conn.execute(_SQL["prune"], before, limit)


async def add_late(
    conn: Connection,
    environment: str,
    vcpus: int,
    *,
    ordered: int,
    reason: str,
    order_id: uuid.UUID,
) -> None:
    """Adds what an order got after the pass that placed it to the history."""
    await conn.execute(_SQL["add_late"], environment, vcpus, ordered, reason, order_id)


def _environment(row: Any, catalogue: Catalogue, market: Market) -> Environment:
    resources: Json = row["detail"].get("computeResources") or {}
    delay = (resources.get("scalingPolicy") or {}).get("minScaleDownDelayMinutes")
    resource_type = row["resource_type"] or ""
    is_spot = resource_type.endswith(SPOT)
    option = SPOT if is_spot else ON_DEMAND
    bid_percentage = resources.get("bidPercentage") or 100
    return Environment(
        name=row["name"],
        is_managed=row["type"] == "MANAGED",
        is_enabled=row["state"] == "ENABLED",
        status=row["status"],
        status_reason=row["status_reason"],
        offers=market.offers(
            resources.get("instanceTypes") or (), catalogue, option, bid_percentage
        ),
        allocation_strategy=resources.get("allocationStrategy") or BEST_FIT,
        is_spot=is_spot,
        bid_percentage=bid_percentage,
        is_fargate=is_fargate(resource_type),
        is_short=is_fargate(resource_type) and market.is_short_of_slots(option),
        generation=row["generation"],
        replace_by=_replace_by(row["infrastructure_updated_at"], row["detail"]),
        minv_cpus=row["minv_cpus"] or 0,
        maxv_cpus=row["maxv_cpus"] or 0,
        desiredv_cpus=row["desiredv_cpus"] or 0,
        settledv_cpus=row["settledv_cpus"] or 0,
        scale_down_delay=timedelta(minutes=delay) if delay else None,
        failures=row["failures"],
    )


def _replace_by(updated_at: datetime | None, detail: Mapping[str, Any]) -> datetime | None:
    """When attempts on instances from before the last infrastructure update are stopped."""
    policy = detail.get("updatePolicy") or {}
    if updated_at is None or policy.get("terminateJobsOnUpdate"):
        return updated_at
    minutes = int(policy.get("jobExecutionTimeoutMinutes") or JOB_EXECUTION_TIMEOUT_MINUTES)
    return updated_at + timedelta(minutes=minutes)


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
        free=_amount(row["vcpu_milli"], row["memory_mib"], row["gpus"]),
        ordered_at=row["ordered_at"],
        instance_type=row["instance_type"],
        held=tuple(_amount(*amounts) for amounts in row["held"] or ()),
        vcpus=row["vcpus"],
        generation=row["generation"],
        is_slot=row["is_slot"],
        price_per_hour=row["price_per_hour"],
        live_attempts=row["live_attempts"],
        idle_since=row["idle_since"],
        has_run=row["has_run"],
        is_ours=row["is_ours"],
    )
