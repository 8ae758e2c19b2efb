"""When a delivery is tried again, and when its target is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.events import retrying
from longshore.domain.events.retrying import Circuit, DeliveryFailed, RetryPolicy, pause

AWAY = DeliveryFailed("AWAY", "It is away.")


def test_pauses_double_up_to_ten_minutes() -> None:
    policy = RetryPolicy()
    found = [pause(policy, AWAY, tries, 0, 1) for tries in (1, 2, 3, 10, 11, 185)]
    assert found == [1, 2, 4, 512, 600, 600]


@pytest.mark.parametrize(
    ("policy", "failure", "tries", "age", "why"),
    [
        (RetryPolicy(), DeliveryFailed("NO", "", again=False), 1, 0, retrying.NOT_RETRYABLE),
        (RetryPolicy(retries=0), AWAY, 1, 0, retrying.MAXIMUM_RETRIES),
        (RetryPolicy(), AWAY, 186, 0, retrying.MAXIMUM_RETRIES),
        (RetryPolicy(age_seconds=60), AWAY, 1, 60, retrying.MAXIMUM_AGE),
        (RetryPolicy(), DeliveryFailed("", "", retry_after=86_401), 1, 0, retrying.MAXIMUM_AGE),
    ],
)
def test_what_is_given_up_says_why(
    policy: RetryPolicy, failure: DeliveryFailed, tries: int, age: float, why: str
) -> None:
    assert pause(policy, failure, tries, age, 0) == why


@given(st.integers(1, 185), st.floats(0, 80_000), st.floats(0, 1), st.floats(0, 3_600))
def test_no_pause_is_shorter_than_asked_or_ends_too_late(
    tries: int, age: float, luck: float, after: float
) -> None:
    found = pause(RetryPolicy(), DeliveryFailed("", "", retry_after=after), tries, age, luck)
    assert isinstance(found, float | int)
    assert after <= found
    assert age + found <= 86_400


def test_a_circuit_opens_after_some_failures_for_longer_each_time() -> None:
    circuit = Circuit()
    lefts = []
    for _ in range(12):
        circuit.failed(100)
        lefts.append(circuit.left(100))
    assert lefts == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert circuit.is_probing
    circuit.succeeded()
    assert (circuit.left(100), circuit.is_probing) == (0, False)


def test_who_asks_for_it_is_left_alone_at_once() -> None:
    circuit = Circuit()
    circuit.failed(100, 30)
    assert circuit.left(100) == 30
