"""What a scaling decision sees: demand, compute environments, instances."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from longshore.domain.catalogue import InstanceType
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
    ordered_at: datetime
    #: What it counts towards the environment's vCPUs. 0 for a machine that joined by itself.
    vcpus: int = 0
    price_per_hour: float = 0.0
    live_attempts: int = 0
    #: When the last attempt on it ended, or else when it registered; None while one is live.
    idle_since: datetime | None = None
    has_run: bool = False
    #: False for a machine that joined by itself: its owner ends it, not we.
    is_ours: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A compute environment; `instance_types` are resolved, in the order of its list."""

    name: str
    is_managed: bool = True
    is_enabled: bool = True
    status: str = "VALID"
    status_reason: str = ""
    instance_types: tuple[InstanceType, ...] = ()
    allocation_strategy: str = BEST_FIT
    is_spot: bool = False
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
    #: Types that the provider was short of a moment ago.
    short_types: frozenset[str] = frozenset()

    @property
    def is_usable(self) -> bool:
        """Whether jobs may be placed in it."""
        return self.is_enabled and self.status == "VALID"

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


@dataclass(frozen=True, slots=True)
class QueueDemand:
    """A job queue: its shapes in dispatch order, its compute environments in order."""

    name: str
    priority: int
    environments: tuple[str, ...]
    shapes: tuple[ShapeDemand, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a decision depends on, but the time."""

    queues: Sequence[QueueDemand] = field(default_factory=tuple)
    environments: Sequence[Environment] = field(default_factory=tuple)
    instances: Sequence[Instance] = field(default_factory=tuple)
