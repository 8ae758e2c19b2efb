"""Why a RUNNABLE job cannot be placed, in AWS's words where it has some, and in ours.

AWS Batch User Guide, "blocked job queues".
"""

import functools
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from longshore.domain.catalogue import Catalogue, InstanceType
from longshore.domain.order import ON_DEMAND
from longshore.domain.placing.shapes import Shape
from longshore.domain.resources import Resources

INVALID = "ACTION_REQUIRED - CE(s) associated with the job queue are invalid."
DISABLED = "ACTION_REQUIRED - CE(s) associated with the job queue are disabled."
NO_ENVIRONMENT = "ACTION_REQUIRED - The job queue has no compute environment."
MAX_RESOURCE = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue "
    "cannot meet the CPU requirement of the job."
)
TOO_LARGE = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is "
    "higher than that can be met by the CE(s) attached to the job queue."
)
UNSUPPORTED = (
    "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED - Your compute environment associated "
    "with this job queue has an unsupported instance type configuration."
)
#: Followed by an instance type in brackets.
NO_CAPACITY = (
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested for "
    "instance type"
)

#: What the user may do about each.
HINTS = {
    INVALID: "Describe the queue's compute environments: their status reasons say what is wrong.",
    DISABLED: "Enable a compute environment of the queue.",
    NO_ENVIRONMENT: "Update the queue with a compute environment.",
    MAX_RESOURCE: "Ask for fewer vCPUs, or raise maxvCpus of a compute environment of the queue.",
    TOO_LARGE: "Ask for less, or allow larger types in a compute environment of the queue.",
}

#: Reasons of capacity errors that AWS has words for; the others pass by themselves.
_BLOCKING = {
    "INSUFFICIENT_INSTANCE_CAPACITY": NO_CAPACITY,
    "PRICE_TOO_LOW": NO_CAPACITY,
    "UNSUPPORTED": UNSUPPORTED,
    "UNSUPPORTED_ARCHITECTURE": UNSUPPORTED,
}


@dataclass(frozen=True, slots=True)
class EnvironmentFacts:
    """What matters of a compute environment for placement."""

    name: str
    managed: bool
    enabled: bool
    valid: bool
    maxv_cpus: int | None
    instance_types: tuple[str, ...]
    #: Of one that is not managed: what its machines have together, if that was said.
    unmanagedv_cpus: int | None = None
    #: It is about to become valid.
    creating: bool = False
    #: Each job gets a slot of its own size: there are no instance types.
    fargate: bool = False
    purchase_option: str = ON_DEMAND
    #: Silence after which an instance is lost; None: the scheduler's for its type.
    lost_after_seconds: int | None = None
    #: What stands in the ARNs of its attempts.
    environment_id: uuid.UUID | None = None

    @property
    def placeable(self) -> bool:
        """Whether jobs may be placed on its instances."""
        return self.enabled and self.valid

    @property
    def takes_nodes(self) -> bool:
        """Whether multi-node jobs run there: on on-demand instances that we launch."""
        return self.managed and not self.fargate and self.purchase_option == ON_DEMAND

    @property
    def most_vcpus(self) -> int | None:
        """How many vCPUs it may have; None: nobody knows."""
        return self.maxv_cpus if self.managed else self.unmanagedv_cpus

    def may_hold(self, shape: Shape, catalogue: Catalogue) -> bool:
        """Whether it could ever have an instance that is large enough, or one for each node.

        Unmanaged environments have no known bound: a larger machine may join at any time.
        """
        if shape.nodes:
            return self.takes_nodes and any(
                kind.offer.holds(shape.need)
                and shape.instance_type in ("", kind.name)
                and kind.vcpus * shape.nodes <= (self.maxv_cpus or 0)
                for kind in _resolve(catalogue, self.instance_types)
            )
        if not self.managed:
            return True
        if (self.maxv_cpus or 0) * 1000 < shape.need.vcpu_milli:
            return False
        return self.fargate or any(
            kind.offer.holds(shape.need) for kind in _resolve(catalogue, self.instance_types)
        )


@dataclass(frozen=True, slots=True)
class Shortage:
    """The provider could not give instances of a type, and is not asked again for a while."""

    instance_type: str
    zone: str
    purchase_option: str
    reason: str
    at: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Launched:
    """Instances of one type and environment: still booting, or ordered lately and up since."""

    compute_environment: str
    instance_type: str
    offer: Resources
    booting: bool
    count: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Supply:
    """What became of the latest orders. `vcpus` are those of all live instances, by environment."""

    shortages: tuple[Shortage, ...] = ()
    launched: tuple[Launched, ...] = ()
    vcpus: Mapping[str, float] = field(default_factory=dict)


def blocked_reason(
    shape: Shape,
    environments: Sequence[EnvironmentFacts],
    catalogue: Catalogue,
    supply: Supply = Supply(),
) -> str | None:
    """What must be changed before the shape can ever be placed; None if waiting may help."""
    if not environments:
        return NO_ENVIRONMENT
    usable = [e for e in environments if e.placeable]
    if not usable:
        if any(e.enabled and e.creating for e in environments):
            return None
        return DISABLED if any(e.valid for e in environments) else INVALID
    if not any(e.may_hold(shape, catalogue) for e in usable):
        return _misfit(shape, usable, catalogue)
    for shortage in shortages_of(shape, environments, catalogue, supply):
        text = _BLOCKING.get(shortage.reason)
        if text is not None:
            return f"{text} [{shortage.instance_type}]" if text is NO_CAPACITY else text
    return None


def _misfit(shape: Shape, usable: Sequence[EnvironmentFacts], catalogue: Catalogue) -> str:
    """Why none of the environments could ever hold the shape."""
    if not shape.nodes:
        enough = any((e.maxv_cpus or 0) * 1000 >= shape.need.vcpu_milli for e in usable)
        return TOO_LARGE if enough else MAX_RESOURCE
    takers = [e for e in usable if e.takes_nodes]
    if not takers:
        return UNSUPPORTED
    alone = replace(shape, nodes=1)
    if any(e.may_hold(alone, catalogue) for e in takers):
        return MAX_RESOURCE
    of_any_type = replace(alone, instance_type="")
    return UNSUPPORTED if any(e.may_hold(of_any_type, catalogue) for e in takers) else TOO_LARGE


def shortages_of(
    shape: Shape,
    environments: Sequence[EnvironmentFacts],
    catalogue: Catalogue,
    supply: Supply,
) -> tuple[Shortage, ...]:
    """Which shortages keep a shape waiting, the latest first; none if something else does.

    Simple meaning: every environment that could hold the shape was refused an instance for it, and
    got none since. An environment that is full, or in which one is booting, is not short.
    """
    able = [e for e in environments if e.placeable and e.may_hold(shape, catalogue)]
    found: dict[Shortage, None] = {}
    for environment in able:
        lacking = [
            s
            for s in supply.shortages
            if s.purchase_option == environment.purchase_option
            and _fits(s.instance_type, shape, environment, catalogue)
        ]
        vcpus = supply.vcpus.get(environment.name, 0)
        is_full = vcpus * 1000 + shape.need.vcpu_milli > (environment.maxv_cpus or 0) * 1000
        latest = max((s.at for s in lacking), default=None)
        if latest is None or is_full or not environment.managed:
            return ()
        if any(
            launch.booting or launch.last_at > latest
            for launch in supply.launched
            if launch.compute_environment == environment.name and launch.offer.holds(shape.need)
        ):
            return ()
        found |= dict.fromkeys(lacking)
    return tuple(sorted(found, key=lambda s: s.at, reverse=True))


def _fits(
    instance_type: str, shape: Shape, environment: EnvironmentFacts, catalogue: Catalogue
) -> bool:
    """Whether an environment may have a type, and the type can hold what is needed."""
    kind = catalogue.get(instance_type)
    if kind is None or shape.instance_type not in ("", instance_type):
        return False
    if environment.fargate or kind.is_slot:
        return environment.fargate and kind.is_slot and kind.offer == shape.need
    return kind.offer.holds(shape.need) and kind in _resolve(catalogue, environment.instance_types)


@functools.lru_cache(maxsize=256)
def _resolve(catalogue: Catalogue, names: tuple[str, ...]) -> tuple[InstanceType, ...]:
    """The catalogue is searched once for each list, not once for each shape."""
    return catalogue.resolve(names)


def explain_shortages(shortages: Sequence[Shortage]) -> str:
    """Which types and zones, why, and when the provider is asked again."""
    by_type: dict[tuple[str, str], list[str]] = {}
    for shortage in shortages:
        zones = by_type.setdefault((shortage.instance_type, shortage.reason), [])
        if shortage.zone and shortage.zone not in zones:
            zones.append(shortage.zone)
    parts = [
        f"{name}{' in ' + ', '.join(sorted(zones)) if zones else ''} ({reason})"
        for (name, reason), zones in by_type.items()
    ]
    again = min(shortage.until for shortage in shortages).astimezone(UTC)
    return (
        f"The provider has none left: {'; '.join(parts)}. "
        f"It is asked again at {again:%H:%M:%S} UTC."
    )
