"""Children of arrays: what they wait for, and ranges of them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.job.arrays import ArrayRules, ranges


@given(st.sets(st.integers(0, 60)))
def test_ranges_cover_exactly_what_was_given(indexes: set[int]) -> None:
    joined = ranges(list(indexes))
    assert [i for first, end in joined for i in range(first, end)] == sorted(indexes)
    assert all(end < first for (_, end), (first, _) in itertools.pairwise(joined))


def test_ranges_take_indexes_in_any_order() -> None:
    assert ranges([7, 1, 0, 2, 9, 8]) == [(0, 3), (7, 10)]


@pytest.mark.parametrize(
    ("rules", "ready"),
    [
        (ArrayRules(5, n_to_n=0, sequential=False), [0, 1, 2, 3, 4]),
        (ArrayRules(5, n_to_n=0, sequential=True), [0]),
        (ArrayRules(5, n_to_n=1, sequential=False), []),
        (ArrayRules(5, n_to_n=2, sequential=True), []),
    ],
)
def test_children_that_wait_for_nothing_are_ready_at_spawn(
    rules: ArrayRules, ready: list[int]
) -> None:
    assert list(range(*rules.ready_at_spawn)) == ready
    assert [i for i in range(rules.size) if rules.waits(i) == 0] == ready


def test_a_child_waits_for_each_pair_and_for_the_one_before() -> None:
    rules = ArrayRules(3, n_to_n=2, sequential=True)
    assert [rules.waits(i) for i in range(3)] == [2, 3, 3]
