"""How fast one may go."""

from hypothesis import given, settings
from hypothesis import strategies as st

from longshore.domain.access.bucket import Buckets, Pace


@settings(max_examples=50)
@given(st.lists(st.floats(0, 2), max_size=80))
def test_never_more_than_the_burst_and_the_rate(pauses: list[float]) -> None:
    buckets: Buckets[str] = Buckets(Pace(rate=2, burst=5))
    now, taken = 0.0, 0
    for pause in pauses:
        now += pause
        taken += buckets.take("key", now) == 0
        assert taken <= 5 + 2 * now + 1e-6


def test_who_waits_as_long_as_is_said_gets_one() -> None:
    buckets: Buckets[str] = Buckets(Pace(rate=2, burst=1))
    assert buckets.take("key", 0) == 0
    assert buckets.wait("key", 0) == buckets.take("key", 0) == 0.5
    assert buckets.take("key", 0.5) == 0


def test_one_leaves_others_theirs_and_few_are_kept() -> None:
    buckets: Buckets[int] = Buckets(Pace(rate=1, burst=1), kept=3)
    for key in range(10):
        assert buckets.take(key, 0) == 0
        assert buckets.take(key, 0) == 1
    assert len(buckets._level) == 3


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    buckets: Buckets[str] = Buckets(Pace(rate=1, burst=1))
    assert buckets.take("key", 100) == 0
    assert buckets.take("key", 0) == 1
