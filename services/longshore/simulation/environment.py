"""A compute environment in virtual time, as the scaler keeps it and as decisions see it.

As `longshore.state.scaler.scaling` reads it from tables.
"""

from dataclasses import dataclass
from datetime import timedelta

from longshore.domain.catalogue import Catalogue, InstanceType
from longshore.domain.environment import ComputeEnvironment, is_fargate
from longshore.domain.order import ON_DEMAND, SPOT
from longshore.domain.placing.waiting import EnvironmentFacts
from longshore.domain.request.compute_environment import compute_resources
from longshore.domain.scaling.capacity import BEST_FIT, Environment
from longshore.domain.scaling.market import Market


@dataclass(slots=True)
class EnvironmentState:
    """A compute environment, and what the scaler keeps of it."""

    stored: ComputeEnvironment
    kinds: tuple[InstanceType, ...]
    status: str = "VALID"
    status_reason: str = ""
    desiredv_cpus: int = 0
    settledv_cpus: int = 0
    failures: int = 0

    @property
    def is_usable(self) -> bool:
        """Whether jobs may be placed in it."""
        return self.status == "VALID"


def see(state: EnvironmentState, market: Market, catalogue: Catalogue) -> Environment:
    """An environment as decisions see it.

    Args:
        state: what is kept of it.
        market: what is known of the provider's pools.
        catalogue: what names of instance types stand for.
    """
    stored = state.stored
    resources = compute_resources(stored)
    option = purchase_option(stored)
    bid = resources.get("bidPercentage") or 100
    is_slots = is_fargate(stored.resource_type)
    return Environment(
        name=stored.name,
        status=state.status,
        status_reason=state.status_reason,
        offers=market.offers(resources.get("instanceTypes") or (), catalogue, option, bid),
        allocation_strategy=resources.get("allocationStrategy") or BEST_FIT,
        is_spot=option == SPOT,
        bid_percentage=bid,
        is_fargate=is_slots,
        is_short=is_slots and market.is_short_of_slots(option),
        minv_cpus=stored.minv_cpus or 0,
        maxv_cpus=stored.maxv_cpus or 0,
        desiredv_cpus=state.desiredv_cpus,
        settledv_cpus=state.settledv_cpus,
        scale_down_delay=_scale_down_delay(stored),
        failures=state.failures,
    )


def facts(state: EnvironmentState) -> EnvironmentFacts:
    """What matters of an environment for placement."""
    stored = state.stored
    return EnvironmentFacts(
        name=stored.name,
        managed=True,
        enabled=True,
        valid=state.is_usable,
        maxv_cpus=stored.maxv_cpus,
        instance_types=tuple(compute_resources(stored).get("instanceTypes") or ()),
        fargate=is_fargate(stored.resource_type),
        purchase_option=purchase_option(stored),
    )


def purchase_option(stored: ComputeEnvironment) -> str:
    """How its instances are bought."""
    return SPOT if (stored.resource_type or "").endswith(SPOT) else ON_DEMAND


def _scale_down_delay(stored: ComputeEnvironment) -> timedelta | None:
    policy = compute_resources(stored).get("scalingPolicy") or {}
    minutes = policy.get("minScaleDownDelayMinutes")
    return timedelta(minutes=minutes) if minutes else None
