"""What the children of an array see that run those of another one again."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.job.arrays import Origins, origins, ranges, told


def _runs(indexes: list[int]) -> list[tuple[int, int]]:
    return [(first, end - first) for first, end in ranges(indexes)]


@given(st.sets(st.integers(0, 60), min_size=1), st.data())
def test_children_see_the_indexes_of_those_that_failed_however_often_they_fail(
    failed: set[int], data: st.DataObject
) -> None:
    seen = sorted(failed)
    made, count = origins(_runs(seen), 61)
    while True:
        assert (made.size, count) == (61, len(seen))
        assert [made.of(index) for index in range(count)] == seen
        runs = list(pairwise([*made.pairs[::2], count]))
        assert all(first < end for first, end in runs)
        # As few runs as there can be.
        assert len(runs) == len(_runs(seen))
        if count == 1:
            return
        again = sorted(
            data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=count - 1))
        )
        seen = [seen[index] for index in again]
        made, count = origins(_runs(again), count, made)


def test_indexes_are_told_as_ranges() -> None:
    made, count = origins(_runs([2, 5, 6, 7, 9]), 10)
    assert isinstance(made, Origins)
    assert told(made.pairs, count) == ["2", "5-7", "9"]
    assert told(made.pairs[:4], made.pairs[4]) == ["2", "5-7"]
