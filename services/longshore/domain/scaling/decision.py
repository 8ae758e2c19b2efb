"""What scaling decides: per compute environment, what to order, what to give back, and why."""

import math
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from longshore.domain.order import (
    COUNT_LIMIT,
    ENTRIES_LIMIT,
    ON_DEMAND,
    SPOT,
    CapacityOrder,
    OrderEntry,
)
from longshore.domain.scaling.capacity import Environment, Offer
from longshore.domain.scaling.strategy import PROVIDER_CHOOSES


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingSettings:
    """How patient scaling is."""

    #: How long an instance is idle before it is given back.
    idle: timedelta = timedelta(seconds=60)
    #: How long an instance may take from its order to its registration.
    boot: timedelta = timedelta(seconds=300)
    #: Whether to drain an instance that is less than half full when its work fits on others.
    consolidate: bool = False


@dataclass(frozen=True, slots=True)
class Launch:
    """Instances of one offer to order."""

    offer: Offer
    count: int


class Leave(Enum):
    """Why an instance is given back."""

    #: It has been idle for long enough.
    IDLE = auto()
    #: A Fargate slot that no job is left for.
    NO_JOB = auto()
    #: An infrastructure update came after it was ordered.
    REPLACED = auto()
    #: Its work fits on others.
    CONSOLIDATED = auto()
    #: Its compute environment is being deleted.
    DELETED = auto()
    #: Its agent was lost, or never came.
    LOST = auto()
    LATE = auto()


@dataclass(frozen=True, slots=True)
class GiveBack:
    """An instance to give back; attempts that are live on it at `drain_until` are stopped."""

    instance_id: str
    why: Leave
    drain_until: datetime | None = None
    #: Of an idle one, for how long it has to be idle before it goes.
    idle: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about one compute environment.

    `desiredv_cpus` is what it has once that is done.
    """

    compute_environment: str
    desiredv_cpus: int
    launches: tuple[Launch, ...]
    #: Offers to fall back on, the best first, when the provider is short of one of `launches`.
    #: For strategies that leave the choice to the provider: what it may choose from.
    alternatives: tuple[Offer, ...] = ()
    #: vCPUs that may still be added before maxvCpus is reached or just passed.
    headroom: float
    terminate: tuple[GiveBack, ...]
    status: str
    status_reason: str
    reason: str
    #: It turns INVALID with this decision.
    is_invalidated: bool = False
    #: It is being deleted, and none of its instances is left.
    is_gone: bool = False

    @property
    def vcpus_wanted(self) -> float:
        """VCPUs of all its launches."""
        return sum(launch.count * launch.offer.kind.vcpus for launch in self.launches)

    def changes(self, env: Environment) -> bool:
        """Whether there is anything to do about the environment that was decided about."""
        return bool(
            self.launches
            or self.terminate
            or self.status != env.status
            or self.desiredv_cpus != env.desiredv_cpus
            or self.desiredv_cpus != env.settledv_cpus
        )


def order_for(decision: Decision, env: Environment, order_id: uuid.UUID) -> CapacityOrder:
    """The order that a decision with launches asks for."""
    wanted = [(launch.offer, min(launch.count, COUNT_LIMIT)) for launch in decision.launches]
    target = min(sum(count * offer.kind.vcpus for offer, count in wanted), decision.headroom)
    wanted += [
        (offer, min(math.ceil(target / offer.kind.vcpus), COUNT_LIMIT))
        for offer in decision.alternatives
    ]
    is_open = env.allocation_strategy in PROVIDER_CHOOSES
    return CapacityOrder(
        order_id=order_id,
        compute_environment=decision.compute_environment,
        generation=env.generation,
        allocation_strategy=env.allocation_strategy,
        target_vcpus=target,
        entries=tuple(
            OrderEntry(
                instance_type=offer.kind.name,
                purchase_option=SPOT if env.is_spot else ON_DEMAND,
                weight=offer.kind.vcpus,
                zone=offer.zone,
                max_count=count,
                price_per_hour=offer.price_per_hour,
                max_price_per_hour=_ceiling(offer, env),
                rank=0 if is_open else rank,
            )
            for rank, (offer, count) in enumerate(wanted[:ENTRIES_LIMIT])
        ),
        reason=decision.reason,
    )


def _ceiling(offer: Offer, env: Environment) -> float | None:
    """Most that a spot instance may cost."""
    if not env.is_spot or env.is_fargate:
        return None
    return round(offer.kind.price_per_hour * env.bid_percentage / 100, 6)
