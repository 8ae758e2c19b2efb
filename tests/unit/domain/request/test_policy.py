"""Checks of scheduling policies."""

from typing import Any

import pytest

from longshore.domain.errors import InvalidRequest
from longshore.domain.request.policy import check_share, fairshare_of, share_policy


def a_policy(**members: Any) -> dict[str, Any]:
    return {"name": "p", "fairsharePolicy": members}


def distribution(*names: str) -> dict[str, Any]:
    return a_policy(shareDistribution=[{"shareIdentifier": name} for name in names])


def test_a_whole_policy_is_kept_as_it_was_given_and_read() -> None:
    request = a_policy(
        shareDecaySeconds=3600,
        computeReservation=10,
        shareDistribution=[
            {"shareIdentifier": "A1", "weightFactor": 0.125},
            {"shareIdentifier": "B*"},
        ],
    )
    fairshare = fairshare_of(request)
    assert fairshare == request["fairsharePolicy"]
    policy = share_policy(fairshare or {})
    assert (policy.decay_seconds, policy.compute_reservation) == (3600, 10)
    assert (policy.weight("A1"), policy.weight("Bob"), policy.weight("C")) == (0.125, 1.0, 1.0)


def test_no_policy_is_none_and_an_empty_one_has_the_defaults() -> None:
    assert fairshare_of({"name": "p"}) is None
    assert share_policy(fairshare_of(a_policy()) or {}).window_seconds == 600


@pytest.mark.parametrize(
    ("request_", "member"),
    [
        (a_policy(shareDecaySeconds=-1), "fairsharePolicy.shareDecaySeconds"),
        (a_policy(shareDecaySeconds=604_801), "fairsharePolicy.shareDecaySeconds"),
        (a_policy(computeReservation=100), "fairsharePolicy.computeReservation"),
        (distribution("a b"), "fairsharePolicy.shareDistribution[0].shareIdentifier"),
        (distribution("a" * 256), "fairsharePolicy.shareDistribution[0].shareIdentifier"),
        (distribution("a*b"), "fairsharePolicy.shareDistribution[0].shareIdentifier"),
        (distribution("*"), "fairsharePolicy.shareDistribution[0].shareIdentifier"),
        (distribution(*(f"u{n}" for n in range(501))), "fairsharePolicy.shareDistribution"),
        (
            a_policy(shareDistribution=[{"shareIdentifier": "a", "weightFactor": 0.00001}]),
            "fairsharePolicy.shareDistribution[0].weightFactor",
        ),
        (
            a_policy(shareDistribution=[{"shareIdentifier": "a", "weightFactor": float("nan")}]),
            "fairsharePolicy.shareDistribution[0].weightFactor",
        ),
        (
            a_policy(shareDistribution=[{"shareIdentifier": "a", "weightFactor": 1000}]),
            "fairsharePolicy.shareDistribution[0].weightFactor",
        ),
    ],
)
def test_what_is_wrong_is_named(request_: dict[str, Any], member: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        fairshare_of(request_)
    assert raised.value.member == member


@pytest.mark.parametrize(
    "names",
    [
        ("UserA*", "UserA1"),
        ("UserA1", "UserA*"),
        ("U*", "UserA*"),
        ("UserA*", "U*"),
        ("a", "a"),
        ("a*", "a"),
        ("a*", "a*"),
    ],
)
def test_entries_of_which_two_fit_a_share_are_refused(names: tuple[str, ...]) -> None:
    """The example of AWS's model, and its kind."""
    with pytest.raises(InvalidRequest, match="overlaps with"):
        fairshare_of(distribution(*names))


def test_entries_that_only_look_alike_are_taken() -> None:
    assert fairshare_of(distribution("UserA*", "UserB1", "User", "V", "VA")) is not None


def test_a_share_has_letters_and_digits() -> None:
    check_share("A1")
    for wrong in ("", "a*", "a-b", "a" * 256, "ä", "a\n"):
        with pytest.raises(InvalidRequest, match="shareIdentifier"):
            check_share(wrong)
