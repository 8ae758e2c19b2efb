"""Packing of jobs that are alike."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.packing.uniform import choose

types = st.lists(
    st.tuples(st.integers(1, 20), st.integers(1, 50), st.integers(1, 64)), min_size=1, max_size=6
)


def packed(kinds: list[tuple[int, int, int]], count: int, limit: int = 10**6) -> dict[int, int]:
    """All instances for so many jobs, by type."""
    held, prices, vcpus = (np.array(column) for column in zip(*kinds, strict=True))
    taken: dict[int, int] = {}
    while count > 0:
        limits = [limit - taken.get(kind, 0) for kind in range(len(kinds))]
        chosen = choose(held, prices.astype(float), vcpus.astype(float), limits, count)
        if chosen is None:
            break
        taken[chosen[0]] = taken.get(chosen[0], 0) + chosen[1]
        count -= chosen[1] * int(held[chosen[0]])
    return taken


@given(types, st.integers(1, 200))
def test_no_single_type_is_cheaper(kinds: list[tuple[int, int, int]], count: int) -> None:
    bill = sum(kinds[kind][1] * number for kind, number in packed(kinds, count).items())
    assert bill <= min(math.ceil(count / held) * price for held, price, _ in kinds)


@given(types, st.integers(1, 200), st.integers(0, 3))
def test_limits_are_kept(kinds: list[tuple[int, int, int]], count: int, limit: int) -> None:
    """And used, where they bind."""
    taken = packed(kinds, count, limit)
    assert all(number <= limit for number in taken.values())
    held = sum(kinds[kind][0] * number for kind, number in taken.items())
    assert held >= count or sum(taken.values()) == limit * len(kinds)


def test_fewer_vcpus_then_fewer_instances_at_equal_prices() -> None:
    """Of what costs the same."""
    assert packed([(2, 10, 4), (2, 10, 2)], 2) == {1: 1}
    assert packed([(1, 5, 2), (2, 10, 4)], 2) == {1: 1}
