"""What a scaling decision sees: demand, compute environments, instances."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from longshore.domain.catalogue import InstanceType
from longshore.domain.consumable import Units
from longshore.domain.resources import Resources

BEST_FIT = "BEST_FIT"
#: Takes types in the order in which the environment lists them, not by price.
ORDERED = "BEST_FIT_PROGRESSIVE_ORDERED"


class InstanceState(StrEnum):
    """Where an instance is, as far as scaling cares."""

    #: Ordered or launched, not registered yet: counts as the capacity that it will be.
    BOOTING = "BOOTING"
    READY = "READY"
    #: Draining or terminating: takes nothing more, still counts towards maxvCpus.
    LEAVING = "LEAVING"
    #: Given up by the scheduler: its attempts are over on record.
    LOST = "LOST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One instance; `free` is what more attempts could hold on it."""

    instance_id: str
    compute_environment: str
    state: InstanceState
    free: Resources
    #: Of one that boots: since when it could have registered, if that is later.
    ordered_at: datetime
    #: Empty: not known.
    instance_type: str = ""
    #: What each of its attempts holds, as far as that is known: consolidation looks at it.
    held: tuple[Resources, ...] = ()
    #: What it counts towards the environment's vCPUs. 0 for a machine that joined by itself.
    vcpus: float = 0
    generation: int = 1
    #: A slot of this size for one job; what is `free` on it is all of it or nothing.
    is_slot: bool = False
    price_per_hour: float = 0.0
    live_attempts: int = 0
    #: When the last attempt on it ended, or else when it registered; None while one is live.
    idle_since: datetime | None = None
    has_run: bool = False
    #: False for a machine that joined by itself: its owner ends it, not we.
    is_ours: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One way to get instances of a type: a pool of the provider.

    A pool is a type in a zone, by the environment's purchase option.
    """

    kind: InstanceType
    #: In US dollars, by the environment's purchase option, now.
    price_per_hour: float
    #: Empty: any zone.
    zone: str = ""
    #: From 0 to 1: how likely it is that the pool has room and keeps what it gave.
    depth: float = 1.0
    #: The provider was short of it a moment ago.
    is_short: bool = False
    #: Its place in the environment's list of instance types; the types of a family share one.
    place: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A compute environment; `offers` are in the order of its list of instance types.

    A Fargate environment has none: each job gets a slot of its own size.
    """

    name: str
    is_managed: bool = True
    is_enabled: bool = True
    status: str = "VALID"
    status_reason: str = ""
    offers: tuple[Offer, ...] = ()
    allocation_strategy: str = BEST_FIT
    is_spot: bool = False
    #: Most that a spot instance may cost, in percent of its on-demand price.
    bid_percentage: int = 100
    is_fargate: bool = False
    #: Fargate only: the provider was short of slots a moment ago.
    is_short: bool = False
    #: Counts infrastructure updates.
    generation: int = 1
    #: When attempts on instances of an earlier generation are stopped.
    replace_by: datetime | None = None
    minv_cpus: int = 0
    maxv_cpus: int = 0
    desiredv_cpus: int = 0
    #: What we last set desiredvCpus to: above it, a client has raised it.
    settledv_cpus: int = 0
    #: minScaleDownDelayMinutes, if set.
    scale_down_delay: timedelta | None = None
    #: Instances that failed one after the other, newest backwards, since the environment last
    #: changed status.
    failures: int = 0

    @property
    def is_usable(self) -> bool:
        """Whether jobs may be placed in it."""
        return self.is_enabled and self.status in ("VALID", "UPDATING")

    @property
    def is_strict(self) -> bool:
        """Whether maxvCpus may never be passed: on-demand BEST_FIT (spec: trap 10)."""
        return self.allocation_strategy == BEST_FIT and not self.is_spot


@dataclass(frozen=True, slots=True)
class ShapeDemand:
    """RUNNABLE jobs that are alike."""

    shape_id: int
    need: Resources
    runnable: int
    #: Above 0: each job is a multi-node job, with one node on each of so many instances of one
    #: type, all at once and each alone.
    nodes: int = 0
    #: The only type that will do for nodes; empty for any.
    instance_type: str = ""
    #: Rank and number of submission of the first of them, for queues of equal priority.
    order: tuple[int, int] = (0, 0)
    #: Of a queue with a policy: whose jobs they are, and how soon among these.
    share: str = ""
    priority: int = 0
    #: What each job needs of consumable resources.
    units: Units = ()

    @property
    def milli(self) -> int:
        """The vCPUs of one job, in thousandths."""
        return self.need.vcpu_milli * max(self.nodes, 1)


@dataclass(frozen=True, slots=True)
class QueueDemand:
    """A job queue: its shapes in dispatch order, its compute environments in order."""

    name: str
    priority: int
    environments: tuple[str, ...]
    shapes: tuple[ShapeDemand, ...]


@dataclass(frozen=True, slots=True)
class CapacitySnapshot:
    """Everything that a decision depends on, but the time."""

    queues: Sequence[QueueDemand] = field(default_factory=tuple)
    environments: Sequence[Environment] = field(default_factory=tuple)
    instances: Sequence[Instance] = field(default_factory=tuple)
