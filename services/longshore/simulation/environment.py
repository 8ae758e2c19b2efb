"""A compute environment in virtual time, as the scaler keeps it and as decisions see it.

As `longshore.state.scaling` reads it from tables.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from longshore.domain.capacity import BEST_FIT, Environment, Offer
from longshore.domain.catalogue import InstanceType
from longshore.domain.environment import ComputeEnvironment, is_fargate
from longshore.domain.order import ON_DEMAND, SPOT
from longshore.domain.validation_environment import compute_resources
from longshore.provisioning.provider import Quote

#: Instance type, zone, purchase option.
PoolName = tuple[str, str, str]
#: By instance type and purchase option.
Quotes = Mapping[tuple[str, str], Sequence[Quote]]


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


def see(state: EnvironmentState, quotes: Quotes, short: Collection[PoolName]) -> Environment:
    """An environment as decisions see it.

    Args:
        state: what is kept of it.
        quotes: what the provider said of its pools.
        short: what the provider was short of lately.
    """
    stored = state.stored
    resources = compute_resources(stored)
    kind = resources["type"]
    option = purchase_option(stored)
    bid = resources.get("bidPercentage") or 100
    return Environment(
        name=stored.name,
        status=state.status,
        status_reason=state.status_reason,
        offers=tuple(
            offer for kind in state.kinds for offer in _offers(kind, option, bid, quotes, short)
        ),
        allocation_strategy=resources.get("allocationStrategy") or BEST_FIT,
        is_spot=option == SPOT,
        bid_percentage=bid,
        is_fargate=is_fargate(kind),
        is_short=is_fargate(kind)
        and any(n.startswith("fargate.") and o == option for n, _, o in short),
        minv_cpus=stored.minv_cpus or 0,
        maxv_cpus=stored.maxv_cpus or 0,
        desiredv_cpus=state.desiredv_cpus,
        settledv_cpus=state.settledv_cpus,
        scale_down_delay=_scale_down_delay(stored),
        failures=state.failures,
    )


def _offers(
    kind: InstanceType,
    option: str,
    bid_percentage: int,
    quotes: Quotes,
    short: Collection[PoolName],
) -> list[Offer]:
    """The pools of a type; without quotes one for any zone at the catalogue's price."""
    zones = {zone for name, zone, of in short if (name, of) == (kind.name, option)}
    pools = quotes.get((kind.name, option))
    ceiling = kind.price_per_hour * bid_percentage / 100
    if not pools or option != SPOT:
        return [Offer(kind=kind, price_per_hour=kind.price_per_hour, is_short=bool(zones))]
    return [
        Offer(
            kind=kind,
            price_per_hour=quote.price_per_hour,
            zone=quote.zone,
            depth=quote.depth,
            is_short="" in zones or quote.zone in zones,
        )
        for quote in pools
        if quote.price_per_hour <= ceiling
    ] or [Offer(kind=kind, price_per_hour=ceiling, is_short=True)]


def purchase_option(stored: ComputeEnvironment) -> str:
    """How its instances are bought."""
    return SPOT if (stored.resource_type or "").endswith(SPOT) else ON_DEMAND


def _scale_down_delay(stored: ComputeEnvironment) -> timedelta | None:
    policy = compute_resources(stored).get("scalingPolicy") or {}
    minutes = policy.get("minScaleDownDelayMinutes")
    return timedelta(minutes=minutes) if minutes else None
