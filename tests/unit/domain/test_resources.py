"""Amounts of resources."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.resources import Resources

amounts = st.builds(Resources, st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 8))
needs = st.builds(Resources, st.integers(1, 5_000), st.integers(1, 5_000), st.integers(0, 4))


@given(amounts, amounts)
def test_what_is_added_can_be_taken_away(one: Resources, other: Resources) -> None:
    assert one + other - other == one


@given(amounts, needs)
def test_count_is_the_most_that_fit(offer: Resources, need: Resources) -> None:
    count = offer.count(need)
    for _ in range(count):
        assert offer.holds(need)
        offer -= need
    assert not offer.holds(need)


def test_what_is_overdrawn_holds_nothing() -> None:
    overdrawn = Resources(1000, 1024) - Resources(2000, 512)
    assert not overdrawn.holds(Resources(1, 1))
    assert overdrawn.count(Resources(1, 1)) == 0


@pytest.mark.parametrize(
    "short", [Resources(999, 1024, 1), Resources(1000, 1023, 1), Resources(1000, 1024, 0)]
)
def test_each_dimension_counts(short: Resources) -> None:
    need = Resources(1000, 1024, 1)
    assert need.holds(need)
    assert not short.holds(need)
    assert short.count(need) == 0
