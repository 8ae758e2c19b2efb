"""Builders for decisions about capacity: environments, jobs, queues, instances."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from longshore.domain.catalogue import Catalogue
from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import (
    CapacitySnapshot,
    Environment,
    Instance,
    InstanceState,
    Offer,
    QueueDemand,
    ShapeDemand,
)
from longshore.domain.scaling.decision import Decision, ScalingSettings
from longshore.domain.scaling.scaling import decide

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = ScalingSettings(idle=timedelta(seconds=60), boot=timedelta(seconds=300))
CATALOGUE = Catalogue()
_ids = iter(range(1_000_000))


def env(
    name: str = "a", types: Sequence[str] = ("c6i",), maxv_cpus: int = 1000, **more: Any
) -> Environment:
    """A compute environment that may grow."""
    short = more.pop("short", ())
    offers = tuple(
        Offer(
            kind=kind, price_per_hour=kind.price_per_hour, place=place, is_short=kind.name in short
        )
        for place, listed in enumerate(types)
        for kind in CATALOGUE.resolve([listed])
    )
    return Environment(name=name, **{"offers": offers, **more}, maxv_cpus=maxv_cpus)


def jobs(
    count: int,
    vcpus: float = 1,
    memory_mib: int = 512,
    gpus: int = 0,
    nodes: int = 0,
    only: str = "",
) -> ShapeDemand:
    """RUNNABLE jobs that are alike."""
    need = Resources(int(vcpus * 1000), memory_mib, gpus)
    return ShapeDemand(next(_ids), need, count, nodes, only)


def queue(*shapes: ShapeDemand, on: Sequence[str] = ("a",), priority: int = 1) -> QueueDemand:
    """A queue on environments."""
    return QueueDemand(f"queue-{next(_ids)}", priority, tuple(on), shapes)


def instance(
    kind: str = "c6i.large", environment: str = "a", idle: float | None = 0, **more: Any
) -> Instance:
    """A READY instance of a type, idle for so many seconds."""
    offer = CATALOGUE.get(kind)
    assert offer
    return Instance(
        instance_id=f"i-{next(_ids):017x}",
        compute_environment=environment,
        **{
            "state": InstanceState.READY,
            "free": offer.offer,
            "ordered_at": NOW - timedelta(hours=1),
            "vcpus": offer.vcpus,
            "instance_type": kind,
            "price_per_hour": offer.price_per_hour,
            "idle_since": None if idle is None else NOW - timedelta(seconds=idle),
            **more,
        },
    )


def decided(
    *queues: QueueDemand,
    environments: Sequence[Environment] = (),
    instances: Sequence[Instance] = (),
    settings: ScalingSettings = SETTINGS,
) -> dict[str, Decision]:
    """Decisions by environment."""
    snapshot = CapacitySnapshot(queues, environments or [env()], instances)
    return {decision.compute_environment: decision for decision in decide(snapshot, NOW, settings)}


def ordered(decision: Decision) -> dict[str, int]:
    """Instances ordered, by type."""
    return {launch.offer.kind.name: launch.count for launch in decision.launches}


def given(decision: Decision) -> list[str]:
    """Instances given back, in order."""
    return [give.instance_id for give in decision.terminate]


def progressive(types: Sequence[str] = ("c6i",), **more: Any) -> Environment:
    """An environment that is free to choose by price."""
    return env(types=types, allocation_strategy="BEST_FIT_PROGRESSIVE", **more)


def pools(*quotes: tuple[str, float, float], zone: str = "") -> tuple[Offer, ...]:
    """Offers by type, price and depth, in the order of the list."""
    offers = []
    for place, (name, price, depth) in enumerate(quotes):
        kind = CATALOGUE.get(name)
        assert kind
        offers.append(Offer(kind=kind, price_per_hour=price, depth=depth, place=place, zone=zone))
    return tuple(offers)


def bill(decision: Decision) -> float:
    """US dollars per hour of what is ordered."""
    return sum(launch.count * launch.offer.price_per_hour for launch in decision.launches)


def fargate(**more: Any) -> Environment:
    """A Fargate environment."""
    return env(offers=(), is_fargate=True, allocation_strategy="", **more)
