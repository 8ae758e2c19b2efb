"""Demand within caps."""

from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import ShapeDemand
from longshore.domain.scaling.capping import alike, within

COUNTS = st.lists(st.integers(1, 10_000), max_size=6)


def demand(*counts: int) -> list[ShapeDemand]:
    return [ShapeDemand(n, Resources(1000, 1024), count) for n, count in enumerate(counts)]


def test_the_first_come_first() -> None:
    found = within(demand(3, 5, 7), cap=8, running=2)
    assert [(shape.shape_id, shape.runnable) for shape in found] == [(0, 3), (1, 3)]
    assert within(demand(3), cap=2, running=5) == ()


def test_arrays_with_caps_that_need_the_same_are_one_demand() -> None:
    small, large = demand(3, 5), [ShapeDemand(7, Resources(8000, 1024), 2)]
    found = alike([small[0], *large, small[1]])
    assert [(shape.shape_id, shape.runnable) for shape in found] == [(0, 8), (7, 2)]


@given(COUNTS, st.integers(0, 12_000), st.integers(0, 12_000))
def test_as_many_as_the_cap_leaves(counts: list[int], cap: int, running: int) -> None:
    found = within(demand(*counts), cap, running)
    most = sum(counts) if not cap else max(cap - running, 0)
    assert sum(shape.runnable for shape in found) == min(sum(counts), most)
    assert all(0 < shape.runnable <= counts[shape.shape_id] for shape in found)
