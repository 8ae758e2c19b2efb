"""From a workload file to what is simulated: references resolved, jobs drawn, the market made.

Compute environments are checked by the same code that checks CreateComputeEnvironment.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from longshore.domain.catalogue import Catalogue
from longshore.domain.checks import Json
from longshore.domain.consumable import REPLENISHABLE, Resource
from longshore.domain.environment import ComputeEnvironment
from longshore.domain.errors import LongshoreError
from longshore.domain.fair_share import SharePolicy
from longshore.domain.placing.shapes import Queue, Shape
from longshore.domain.request.compute_environment import new_environment
from longshore.domain.request.policy import fairshare_of, share_policy
from longshore.domain.scaling.decision import ScalingSettings
from longshore.simulation.backlog import Job
from longshore.simulation.clock import moment
from longshore.simulation.duration import microseconds
from longshore.simulation.market import PoolRule, SimulatedMarket, SimulatedShortage
from longshore.simulation.submitting import check_named, draw_jobs, wrong
from longshore.simulation.workload import (
    ComputeEnvironmentPart,
    MarketPart,
    PoolPart,
    ShortagePart,
    Workload,
)

#: Members that AWS wants and that mean nothing here.
_ROLE = "arn:aws:iam::000000000000:role/simulated"
_FORMAL = {"instanceRole": "simulated", "subnets": ["subnet-0"], "securityGroupIds": ["sg-0"]}


@dataclass(slots=True)
class Prepared:
    """All that a simulation starts from. `jobs` are in order of submission."""

    workload: Workload
    environments: dict[str, ComputeEnvironment]
    queues: tuple[Queue, ...]
    shapes: dict[int, Shape]
    jobs: list[Job]
    market: SimulatedMarket
    settings: ScalingSettings
    #: Of queues that have one.
    policies: dict[str, SharePolicy]
    #: How many jobs run at one time, of queues that have a cap.
    caps: dict[str, int]
    consumables: dict[str, Resource]


def prepare(workload: Workload) -> Prepared:
    """Makes ready what a workload says.

    Raises:
        InvalidRequest: a name is unknown or there twice, or something does not fit together.
        LimitExceeded: it has too many jobs.
    """
    environments = _environments(workload)
    _check_queues(workload, environments)
    policies = _policies(workload)
    shapes: dict[int, Shape] = {}
    jobs = draw_jobs(workload, shapes)
    settings = workload.settings
    return Prepared(
        workload=workload,
        environments=environments,
        queues=tuple(
            Queue(queue.name, queue.priority, queue.compute_environment_order)
            for queue in workload.queues
        ),
        shapes=shapes,
        jobs=jobs,
        market=_market(workload.market),
        settings=ScalingSettings(
            idle=_delta(microseconds(settings.idle, "idle")),
            boot=_delta(microseconds(settings.boot_limit, "bootLimit")),
            consolidate=settings.consolidate,
        ),
        policies=policies,
        caps={queue.name: queue.max_running for queue in workload.queues if queue.max_running},
        consumables=_consumables(workload),
    )


def _environments(workload: Workload) -> dict[str, ComputeEnvironment]:
    found: dict[str, ComputeEnvironment] = {}
    for index, part in enumerate(workload.compute_environments):
        path = f"$.computeEnvironments[{index}]"
        if part.name in found:
            raise wrong(f"{path}.name", f"there are two compute environments {part.name!r}")
        try:
            found[part.name] = new_environment(_request(part), uuid.UUID(int=index + 1))
        except LongshoreError as error:
            member = error.fields.get("member", "").replace("computeResources.", "")
            where = f"{path}.{member}" if member else path
            raise wrong(where, error.message.rstrip(".")) from None
    return found


def _request(part: ComputeEnvironmentPart) -> Json:
    """A workload's compute environment as a CreateComputeEnvironment request."""
    resources: Json = {"type": part.type, "maxvCpus": part.maxv_cpus, **_FORMAL}
    optional = {
        "allocationStrategy": part.allocation_strategy,
        "instanceTypes": None if part.instance_types is None else list(part.instance_types),
        "bidPercentage": part.bid_percentage,
        "minvCpus": part.minv_cpus or None,
    }
    resources |= {name: value for name, value in optional.items() if value is not None}
    if part.min_scale_down_delay_minutes:
        delay = part.min_scale_down_delay_minutes
        resources["scalingPolicy"] = {"minScaleDownDelayMinutes": delay}
    if part.type in ("FARGATE", "FARGATE_SPOT"):
        del resources["instanceRole"]
    else:
        resources["minvCpus"] = part.minv_cpus
    if part.type == "SPOT":
        resources["spotIamFleetRole"] = _ROLE
    return {
        "computeEnvironmentName": part.name,
        "type": "MANAGED",
        "computeResources": resources,
    }


def _consumables(workload: Workload) -> dict[str, Resource]:
    found: dict[str, Resource] = {}
    for index, part in enumerate(workload.consumable_resources):
        path = f"$.consumableResources[{index}]"
        check_named(path, part.name)
        if part.name in found:
            raise wrong(f"{path}.name", f"there are two consumable resources {part.name!r}")
        found[part.name] = Resource(
            part.total_quantity, is_replenishable=part.resource_type == REPLENISHABLE
        )
    return found


def _check_queues(workload: Workload, environments: dict[str, ComputeEnvironment]) -> None:
    names: set[str] = set()
    for index, queue in enumerate(workload.queues):
        path = f"$.queues[{index}]"
        check_named(path, queue.name)
        if queue.name in names:
            raise wrong(f"{path}.name", f"there are two queues {queue.name!r}")
        names.add(queue.name)
        order = queue.compute_environment_order
        for place, name in enumerate(order):
            where = f"{path}.computeEnvironmentOrder[{place}]"
            if name not in environments:
                raise wrong(where, f"there is no compute environment {name!r}")
            if name in order[:place]:
                raise wrong(where, f"{name!r} is named twice")
        platforms = {environments[name].platform for name in order}
        if len(platforms) > 1:
            raise wrong(f"{path}.computeEnvironmentOrder", "Fargate and EC2 cannot be in one queue")


def _policies(workload: Workload) -> dict[str, SharePolicy]:
    """The policy of each queue that has one."""
    made: dict[str, SharePolicy] = {}
    for index, part in enumerate(workload.scheduling_policies):
        path = f"$.schedulingPolicies[{index}]"
        check_named(path, part.name)
        if part.name in made:
            raise wrong(f"{path}.name", f"there are two policies {part.name!r}")
        fairshare: Json = {
            "shareDecaySeconds": part.share_decay_seconds,
            "computeReservation": part.compute_reservation,
            "shareDistribution": [
                {"shareIdentifier": share.share_identifier, "weightFactor": share.weight_factor}
                for share in part.share_distribution
            ],
        }
        try:
            fairshare_of({"fairsharePolicy": fairshare})
        except LongshoreError as error:
            member = error.fields.get("member", "").removeprefix("fairsharePolicy.")
            raise wrong(f"{path}.{member}", error.message.rstrip(".")) from None
        made[part.name] = share_policy(fairshare)
    found: dict[str, SharePolicy] = {}
    for index, queue in enumerate(workload.queues):
        if queue.scheduling_policy is None:
            continue
        if queue.scheduling_policy not in made:
            where = f"$.queues[{index}].schedulingPolicy"
            raise wrong(where, f"there is no policy {queue.scheduling_policy!r}")
        found[queue.name] = made[queue.scheduling_policy]
    return found


def _market(part: MarketPart) -> SimulatedMarket:
    def delta(member: str) -> timedelta:
        return _delta(microseconds(getattr(part, member), member))

    return SimulatedMarket(
        zones=part.zones,
        boot=delta("boot"),
        fargate_boot=delta("fargate_boot"),
        boot_spread=part.boot_spread,
        boot_failures=part.boot_failures,
        shutdown=delta("shutdown"),
        spot_discount=part.spot_discount,
        spot_volatility=part.spot_volatility,
        interruptions_per_hour=part.interruptions_per_hour,
        pools=tuple(
            _rule(
                f"$.market.pools[{index}]",
                pool,
                part.zones,
                size=pool.size,
                depth=pool.depth,
                interruptions_per_hour=pool.interruptions_per_hour,
            )
            for index, pool in enumerate(part.pools)
        ),
        shortages=tuple(
            SimulatedShortage(
                rule=_rule(f"$.market.shortages[{index}]", shortage, part.zones),
                begins_at=moment(microseconds(shortage.begins, "begins")),
                ends_at=moment(microseconds(shortage.ends, "ends")),
            )
            for index, shortage in enumerate(part.shortages)
        ),
    )


def _rule(
    path: str,
    part: PoolPart | ShortagePart,
    zones: Sequence[str],
    *,
    size: int | None = None,
    depth: float | None = None,
    interruptions_per_hour: float | None = None,
) -> PoolRule:
    if part.zone and part.zone not in zones:
        raise wrong(f"{path}.zone", f"there is no zone {part.zone!r} in $.market.zones")
    catalogue = Catalogue()
    for index, name in enumerate(part.instance_types or ()):
        if not catalogue.resolve([name]) and catalogue.get(name) is None:
            raise wrong(f"{path}.instanceTypes[{index}]", f"{name!r} is not known")
    types = catalogue.resolve(part.instance_types or ())
    slots = (name for name in part.instance_types or () if catalogue.get(name) is not None)
    return PoolRule(
        instance_types=frozenset({*(kind.name for kind in types), *slots}),
        zone=part.zone,
        purchase_option=part.purchase_option or "",
        size=size,
        depth=depth,
        interruptions_per_hour=interruptions_per_hour,
    )


def _delta(us: int) -> timedelta:
    return timedelta(microseconds=us)
