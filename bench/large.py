"""Large snapshots that decisions are timed with."""

import random
from dataclasses import replace
from datetime import UTC, datetime

from mixes import an_environment

from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import (
    CapacitySnapshot,
    Environment,
    Instance,
    InstanceState,
    QueueDemand,
    ShapeDemand,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHAPES, JOBS, INSTANCES, TYPES = 1_000, 1_000_000, 10_000, 100
FAMILIES = (
    *("m6i", "c6i", "r6i", "c7i", "m5", "c5", "r5", "m6a", "c6a", "r6a", "m7i", "r7i"),
    *("x2iedn", "g4dn", "g5"),
)


def a_rolling_snapshot() -> CapacitySnapshot:
    """Queue 1 on A B C, queue 2 on B C A, queue 3 on C A B, with half the vCPUs that they want."""
    base, shapes, names = a_large_environment(), many_shapes(random.Random(1)), "ABC"
    wanted = sum(shape.need.vcpu_milli * shape.runnable for shape in shapes) / 1000
    each = int(wanted / 2 / len(names))
    queues = [
        QueueDemand(
            f"queue-{first + 1}",
            1,
            tuple(names[first:] + names[:first]),
            shapes[first * SHAPES // 3 : (first + 1) * SHAPES // 3],
        )
        for first in range(len(names))
    ]
    return CapacitySnapshot(queues, [replace(base, name=name, maxv_cpus=each) for name in names])


def a_large_environment() -> Environment:
    """One of many types."""
    environment = an_environment(FAMILIES)
    return replace(environment, offers=environment.offers[:TYPES])


def many_shapes(rng: random.Random) -> tuple[ShapeDemand, ...]:
    """Jobs of many sizes and proportions."""
    shapes = []
    for number in range(SHAPES):
        vcpus = rng.choice((0.25, 0.5, 1, 2, 4, 8, 16))
        need = Resources(round(vcpus * 1000), int(vcpus * rng.uniform(0.5, 8) * 1024))
        shapes.append(ShapeDemand(number, need, JOBS // SHAPES))
    return tuple(shapes)


def a_large_snapshot() -> CapacitySnapshot:
    """Instances that are partly full, one in ten of them empty, and far more jobs than fit."""
    rng = random.Random(1)
    environment = a_large_environment()
    shapes = many_shapes(rng)
    instances = []
    for number in range(INSTANCES):
        kind = environment.offers[number % TYPES].kind
        free = 1.0 if rng.random() < 0.1 else rng.random()
        instances.append(
            Instance(
                instance_id=f"i-{number:017x}",
                compute_environment=environment.name,
                state=InstanceState.READY,
                instance_type=kind.name,
                free=Resources(int(kind.offer.vcpu_milli * free), int(kind.offer.memory_mib * free))
                if free < 1
                else kind.offer,
                ordered_at=NOW,
                vcpus=kind.vcpus,
                price_per_hour=kind.price_per_hour,
                live_attempts=0 if free == 1 else 1,
                idle_since=NOW if free == 1 else None,
            )
        )
    quarter = SHAPES // 4
    queues = [
        QueueDemand(f"queue-{n}", n, ("bench",), shapes[n * quarter : (n + 1) * quarter])
        for n in range(4)
    ]
    return CapacitySnapshot(queues, [environment], instances)
