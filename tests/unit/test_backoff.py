"""Pauses between tries: they grow to a bound, and no two callers wait alike."""

from hypothesis import given
from hypothesis import strategies as st

from longshore.backoff import Backoff

SECONDS = st.floats(0.001, 100)


@given(SECONDS, SECONDS, st.integers(1, 2_000))
def test_pauses_double_to_a_bound(first: float, last: float, tries: int) -> None:
    backoff = Backoff(first, last)
    longest = min(first, last)
    for number in range(tries):
        assert backoff.failures == number
        assert longest / 2 <= backoff.delay() <= longest
        longest = min(longest * 2, last)
    backoff.reset()
    assert backoff.failures == 0
    assert backoff.delay() <= min(first, last)


def test_those_who_failed_together_come_apart() -> None:
    assert len({Backoff(1, 10).delay() for _ in range(20)}) > 1
