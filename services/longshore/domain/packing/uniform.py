"""Packing of jobs that are alike onto new instances, at the lowest price.

Simple meaning: of all ways to hold `count` jobs on instances of one type, with what is left over on
the best type for the left-over, take the cheapest. Since the left-over may take the same type
again, the result never costs more than any single type alone.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def choose(
    held: Ints,
    prices: Floats,
    vcpus: Floats,
    limits: Sequence[int],
    count: int,
) -> tuple[int, int] | None:
    """The next instances to take for `count` jobs, or None if none may be had.

    Call it again for the jobs that are left. At equal prices fewer vCPUs are taken, then fewer
    instances.

    Args:
        held: of each type, how many of the jobs fit on one instance; above zero.
        prices: of each type.
        vcpus: of each type.
        limits: of each type, how many may be had.
        count: jobs, above zero.

    Returns:
        The type's position, and how many.
    """
    within = np.flatnonzero(np.array(limits) > 0)
    if not len(within):
        return None
    taken, instances = _cheapest(held[within], prices[within], vcpus[within], count)
    kind = int(within[taken])
    return kind, min(instances, limits[kind])


def _cheapest(each: Ints, cost: Floats, size: Floats, count: int) -> tuple[int, int]:
    """The type to take first, and how many: to fill them, or else for all the jobs."""
    full, left = np.divmod(count, each)
    # Of each left-over, a row, how many instances of each type it takes.
    tails = -(-left[:, None] // each[None, :])
    best = _least(cost * tails, size * tails, tails)
    number = tails[np.arange(len(each)), best]
    main = int(
        _least(full * cost + number * cost[best], full * size + number * size[best], full + number)
    )
    if full[main]:
        return main, int(full[main])
    return int(best[main]), int(number[main])


def _least(cost: Floats, size: Floats, number: Ints) -> Ints:
    """Of each row, the first of least cost, then vCPUs, then instances."""
    cost = np.round(cost, 6)
    size = np.where(cost == cost.min(axis=-1, keepdims=True), size, np.inf)
    last = np.where(size == size.min(axis=-1, keepdims=True), number, np.inf)
    least: Ints = last.argmin(axis=-1)
    return least
