"""What scaling decides: per compute environment, what to order, what to give back, and why."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from longshore.domain.catalogue import InstanceType
from longshore.domain.order import CapacityOrder, OrderEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingSettings:
    """How patient scaling is."""

    #: How long an instance is idle before it is given back.
    idle: timedelta = timedelta(seconds=60)
    #: How long an instance may take from its order to its registration.
    boot: timedelta = timedelta(seconds=300)


@dataclass(frozen=True, slots=True)
class Launch:
    """Instances of one type to order."""

    instance_type: InstanceType
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about one compute environment.

    `desiredv_cpus` is what it has once that is done.
    """

    compute_environment: str
    desiredv_cpus: int
    launches: tuple[Launch, ...]
    purchase_option: str
    terminate: tuple[str, ...]
    status: str
    status_reason: str
    reason: str
    #: It is being deleted, and none of its instances is left.
    is_gone: bool = False


def order_for(decision: Decision, order_id: uuid.UUID) -> CapacityOrder:
    """The order that a decision with launches asks for."""
    return CapacityOrder(
        order_id=order_id,
        compute_environment=decision.compute_environment,
        target_vcpus=sum(launch.count * launch.instance_type.vcpus for launch in decision.launches),
        entries=tuple(
            OrderEntry(
                instance_type=launch.instance_type.name,
                purchase_option=decision.purchase_option,
                weight=launch.instance_type.vcpus,
                max_count=launch.count,
                price_per_hour=launch.instance_type.price_per_hour,
                rank=rank,
            )
            for rank, launch in enumerate(decision.launches)
        ),
        reason=decision.reason,
    )
