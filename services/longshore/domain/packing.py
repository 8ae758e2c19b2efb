"""Packing of jobs that are alike onto new instances, at the lowest price.

Simple meaning: of all ways to hold `count` jobs on instances of one type, with what is left over on
the best type for the left-over, take the cheapest. Since the left-over may take the same type
again, the result never costs more than any single type alone.
"""

import functools
import math
from collections.abc import Sequence

from longshore.domain.catalogue import InstanceType
from longshore.domain.resources import Resources

#: GPUs wasted, then the price, then vCPUs, then instances: less is better.
_Key = tuple[bool, float, int, int]
_NOTHING: _Key = (False, 0.0, 0, 0)


def choose(
    need: Resources,
    count: int,
    instance_types: Sequence[InstanceType],
    *,
    headroom: int,
    may_overshoot: bool,
    in_order: bool = False,
) -> tuple[InstanceType, int] | None:
    """The next instances to take for `count` jobs of a shape, or None if none may be had.

    Call it again for the jobs that are left. GPU types are taken for jobs without GPUs only where
    nothing else is large enough.

    Args:
        need: what one job holds.
        count: jobs, above zero.
        instance_types: what may be taken.
        headroom: vCPUs that may still be added.
        may_overshoot: when no type fits into the headroom, one instance may pass it.
        in_order: take the first type that fits, whatever it costs.
    """
    fitting = [
        _Option(kind, held, need) for kind in instance_types if (held := kind.offer.count(need))
    ]
    within = [option for option in fitting if option.kind.vcpus <= headroom]
    if in_order:
        fitting, within = fitting[:1], [option for option in fitting[:1] if option in within]
    if not within:
        if not may_overshoot or headroom <= 0 or not fitting:
            return None
        return min(fitting, key=lambda option: option.price(1)).kind, 1
    taken, instances = _cheapest(within, count)
    return taken.kind, min(instances, headroom // taken.kind.vcpus)


class _Option:
    """A type that could take some of the jobs: `held` of them on each instance."""

    __slots__ = ("held", "kind", "wastes_gpus")

    def __init__(self, kind: InstanceType, held: int, need: Resources) -> None:
        self.kind = kind
        self.held = held
        self.wastes_gpus = kind.gpus > 0 and need.gpus == 0

    def price(self, instances: int) -> _Key:
        """Of so many instances, rounded so that equal prices are equal."""
        if not instances:
            return _NOTHING
        kind = self.kind
        return (
            self.wastes_gpus,
            round(kind.price_per_hour * instances, 6),
            kind.vcpus * instances,
            instances,
        )


def _cheapest(options: Sequence[_Option], count: int) -> tuple[_Option, int]:
    """The type to take first, and how many: to fill them, or else for all the jobs."""

    @functools.cache
    def alone(jobs: int) -> tuple[_Key, _Option, int]:
        best = min(options, key=lambda option: option.price(math.ceil(jobs / option.held)))
        instances = math.ceil(jobs / best.held)
        return best.price(instances), best, instances

    def filled(option: _Option) -> _Key:
        full, left = divmod(count, option.held)
        key, rest = option.price(full), alone(left)[0] if left else _NOTHING
        return (key[0] or rest[0], round(key[1] + rest[1], 6), key[2] + rest[2], key[3] + rest[3])

    main = min(options, key=filled)
    if full := count // main.held:
        return main, full
    _, best, instances = alone(count)
    return best, instances
