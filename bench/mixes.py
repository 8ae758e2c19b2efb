"""Job mixes for measuring scaling: fixed by their seed, and the least that each could cost."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import highspy

from longshore.domain.catalogue import Catalogue
from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import Environment, Offer, ShapeDemand

_KINDS = ("CPU-heavy", "memory-heavy", "mixed", "GPU-heavy")
#: GiB of memory for a vCPU.
_RATIOS = {"CPU-heavy": (0.5, 2), "memory-heavy": (4, 8), "mixed": (0.5, 8), "GPU-heavy": (0.5, 8)}
_SHAPES = (1, 2, 4, 8, 12, 20, 30, 40)
_VCPUS = (0.25, 0.5, 1, 1, 2, 2, 4, 4, 8, 16)
_TYPES = {
    "optimal": ("optimal",),
    "wide": ("m6i", "c6i", "r6i", "c7i", "m5", "c5", "r5", "x2iedn"),
    "gpu": ("optimal", "g4dn", "g5", "x2iedn"),
}


@dataclass(frozen=True, slots=True)
class Mix:
    """Jobs, and the environment that they are to run in."""

    kind: str
    shapes: tuple[ShapeDemand, ...]
    environment: Environment


def a_mix(seed: int) -> Mix:
    """300 to 30,000 jobs of 1 to 40 shapes."""
    rng = random.Random(seed)
    kind = _KINDS[seed % 4]
    shares = [rng.random() + 0.05 for _ in range(_SHAPES[seed // 4 % 8])]
    total = int(10 ** rng.uniform(2.5, 4.5))
    shapes = tuple(
        ShapeDemand(number, _need(rng, kind), max(1, int(total * share / sum(shares))))
        for number, share in enumerate(shares)
    )
    types = "gpu" if kind == "GPU-heavy" else ("optimal", "wide")[seed // 4 % 2]
    return Mix(kind, shapes, an_environment(_TYPES[types]))


def an_environment(types: Sequence[str], maxv_cpus: int = 10**9) -> Environment:
    """One that is free to choose by price."""
    catalogue = Catalogue()
    places = catalogue.places(types)
    return Environment(
        name="bench",
        allocation_strategy="BEST_FIT_PROGRESSIVE",
        maxv_cpus=maxv_cpus,
        offers=tuple(
            Offer(kind=kind, price_per_hour=kind.price_per_hour, place=places[kind.name])
            for kind in catalogue.resolve(types)
        ),
    )


def least_bill(mix: Mix) -> float:
    """What the mix costs at the very least, in US dollars per hour.

    Instances may be had in fractions, and jobs be cut over them; only a whole job must be small
    enough for the type. A linear program, solved by HiGHS.
    """
    model = highspy.Highs()
    model.setOptionValue("output_flag", False)
    kinds = [offer.kind for offer in mix.environment.offers]
    numbers = [model.addVariable(lb=0, obj=kind.price_per_hour) for kind in kinds]
    held: list[list[list[highspy.highs_linear_expression]]] = [[[], [], []] for _ in kinds]
    for shape in mix.shapes:
        parts = []
        for number, kind in enumerate(kinds):
            if not kind.offer.holds(shape.need):
                continue
            part = model.addVariable(lb=0)
            parts.append(part)
            for dimension, amount in enumerate(_amounts(shape.need)):
                if amount:
                    held[number][dimension].append(amount * part)
        model.addConstr(sum(parts[1:], parts[0]) == shape.runnable)
    for number, kind in enumerate(kinds):
        for dimension, amount in enumerate(_amounts(kind.offer)):
            if terms := held[number][dimension]:
                model.addConstr(sum(terms[1:], terms[0]) <= amount * numbers[number])
    model.minimize()
    return float(model.getInfo().objective_function_value)


def _need(rng: random.Random, kind: str) -> Resources:
    vcpus, gpus = rng.choice(_VCPUS), 0
    if kind == "GPU-heavy" and rng.random() < 0.5:
        gpus = rng.choice((1, 1, 1, 2, 4))
        vcpus = rng.choice((2, 4, 8)) * gpus / (1 if gpus == 1 else 2)
    memory_mib = int(vcpus * rng.uniform(*_RATIOS[kind]) * 1024) // 64 * 64
    return Resources(round(vcpus * 1000), max(memory_mib, 128), gpus)


def _amounts(resources: Resources) -> tuple[int, int, int]:
    return resources.vcpu_milli, resources.memory_mib, resources.gpus
