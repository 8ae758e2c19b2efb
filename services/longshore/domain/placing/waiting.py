"""Why RUNNABLE jobs wait: what blocks them for good, what is short, and what instances lack.

Decisions on enumerations, made once for ExplainJob, for statusReason and for placement itself; the
words are `longshore.domain.placing.words`'s. AWS Batch User Guide, "blocked job queues".
"""

import functools
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from longshore.domain.catalogue import Catalogue, InstanceType
from longshore.domain.environment import takes_nodes
from longshore.domain.order import ON_DEMAND
from longshore.domain.placing.lacking import Lacking
from longshore.domain.placing.room import is_slot
from longshore.domain.placing.shapes import Shape
from longshore.domain.resources import Resources


class Why(StrEnum):
    """Why the jobs of a shape wait."""

    #: Something must be changed before they can ever be placed.
    NO_ENVIRONMENT = "NO_ENVIRONMENT"
    DISABLED = "DISABLED"
    INVALID = "INVALID"
    MAX_RESOURCE = "MAX_RESOURCE"
    TOO_LARGE = "TOO_LARGE"
    UNSUPPORTED = "UNSUPPORTED"
    #: The provider does not let us launch them.
    NOT_PERMITTED = "NOT_PERMITTED"
    #: The provider has none left of the types that they need.
    NO_CAPACITY = "NO_CAPACITY"
    #: Waiting helps: there is no instance yet, or none with room.
    NO_INSTANCE = "NO_INSTANCE"
    NO_ROOM = "NO_ROOM"
    #: As many run as the cap of their array or queue lets run.
    CAPPED = "CAPPED"
    #: It lacks units of consumable resources: some are in use, or there are too few in all.
    NO_UNITS = "NO_UNITS"


@dataclass(frozen=True, slots=True)
class Block:
    """What keeps a shape from being placed; the type that there is none of, if it is that."""

    why: Why
    instance_type: str = ""


#: Reasons of capacity errors that block; the others pass by themselves.
_BLOCKING = {
    "INSUFFICIENT_INSTANCE_CAPACITY": Why.NO_CAPACITY,
    "PRICE_TOO_LOW": Why.NO_CAPACITY,
    "NOT_PERMITTED": Why.NOT_PERMITTED,
    "UNSUPPORTED": Why.UNSUPPORTED,
    "UNSUPPORTED_ARCHITECTURE": Why.UNSUPPORTED,
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
        return takes_nodes(
            is_managed=self.managed,
            is_fargate=self.fargate,
            is_spot=self.purchase_option != ON_DEMAND,
        )

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
class CapacityShortage:
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

    shortages: tuple[CapacityShortage, ...] = ()
    launched: tuple[Launched, ...] = ()
    vcpus: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wait:
    """All that is known of why the jobs of a shape wait."""

    lacking: Lacking
    block: Block | None = None
    shortages: tuple[CapacityShortage, ...] = ()

    @property
    def why(self) -> Why:
        """What it comes to."""
        if self.block is not None:
            return self.block.why
        if self.lacking.is_starved:
            return Why.NO_UNITS
        # Nodes wait for several instances, and what is short is worth a word while one boots.
        seen = self.lacking
        is_told = seen.counts or seen.nodes or seen.is_reserved or self.shortages
        return Why.NO_ROOM if is_told else Why.NO_INSTANCE


def wait_of(
    shape: Shape,
    environments: Sequence[EnvironmentFacts],
    lacking: Lacking,
    catalogue: Catalogue,
    supply: Supply,
) -> Wait:
    """Why the jobs of a shape wait, given what instances lack for them.

    Args:
        shape: of the jobs.
        environments: those of its queue, in order.
        lacking: as it was seen when the jobs found no room.
        catalogue: what instance types there are.
        supply: what became of the latest orders.
    """
    return Wait(
        lacking,
        blocked(shape, environments, catalogue, supply),
        shortages_of(shape, environments, catalogue, supply),
    )


def blocked(
    shape: Shape,
    environments: Sequence[EnvironmentFacts],
    catalogue: Catalogue,
    supply: Supply = Supply(),
) -> Block | None:
    """What must be changed before the shape can ever be placed; None if waiting may help."""
    if not environments:
        return Block(Why.NO_ENVIRONMENT)
    usable = [e for e in environments if e.placeable]
    if not usable:
        if any(e.enabled and e.creating for e in environments):
            return None
        return Block(Why.DISABLED if any(e.valid for e in environments) else Why.INVALID)
    if not any(e.may_hold(shape, catalogue) for e in usable):
        return Block(_misfit(shape, usable, catalogue))
    for shortage in shortages_of(shape, environments, catalogue, supply):
        why = _BLOCKING.get(shortage.reason)
        if why is not None:
            return Block(why, shortage.instance_type if why is Why.NO_CAPACITY else "")
    return None


def _misfit(shape: Shape, usable: Sequence[EnvironmentFacts], catalogue: Catalogue) -> Why:
    """Why none of the environments could ever hold the shape."""
    if not shape.nodes:
        enough = any((e.maxv_cpus or 0) * 1000 >= shape.need.vcpu_milli for e in usable)
        return Why.TOO_LARGE if enough else Why.MAX_RESOURCE
    takers = [e for e in usable if e.takes_nodes]
    if not takers:
        return Why.UNSUPPORTED
    alone = replace(shape, nodes=1)
    if any(e.may_hold(alone, catalogue) for e in takers):
        return Why.MAX_RESOURCE
    of_any_type = replace(alone, instance_type="")
    if any(e.may_hold(of_any_type, catalogue) for e in takers):
        return Why.UNSUPPORTED
    return Why.TOO_LARGE


def booting_for(shape: Shape, launched: Iterable[Launched]) -> tuple[Launched, ...]:
    """The booting instances on which a job of a shape would fit."""
    return tuple(
        launch
        for launch in launched
        if launch.offer.holds(shape.need)
        and shape.instance_type in ("", launch.instance_type)
        and (not is_slot(launch.instance_type) or launch.offer == shape.need)
    )


def shortages_of(
    shape: Shape,
    environments: Sequence[EnvironmentFacts],
    catalogue: Catalogue,
    supply: Supply,
) -> tuple[CapacityShortage, ...]:
    """Which shortages keep a shape waiting, the latest first; none if something else does.

    Simple meaning: every environment that could hold the shape was refused an instance for it, and
    got none since. An environment that is full, or in which one is booting, is not short.
    """
    able = [e for e in environments if e.placeable and e.may_hold(shape, catalogue)]
    found: dict[CapacityShortage, None] = {}
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
