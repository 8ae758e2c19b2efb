"""What a webhook is told by, and signed with."""

import base64

import pytest

from longshore.domain.errors import InvalidRequest
from longshore.domain.events import webhook
from longshore.domain.events.hops import HOPS_TAG, hops_of
from longshore.domain.events.occurrence import Position


def test_a_signature_is_that_of_standard_webhooks() -> None:
    """Of the example that the specification gives."""
    [secret] = webhook.secrets_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") or []
    headers = webhook.signed(
        [secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}'
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_secret_changes_both_sign() -> None:
    two = "whsec_" + base64.b64encode(b"b" * 24).decode()
    one = "whsec_" + base64.b64encode(b"a" * 64).decode()
    found = webhook.secrets_of(f"{one} {two}")
    assert found == [b"a" * 64, b"b" * 24]
    assert webhook.signed(found, "i", 1, b"")["webhook-signature"].count("v1,") == 2


@pytest.mark.parametrize("text", ["whsec_", "whsec_!!", "whsec_YQ==", "whsec_" + "A" * 32 + " x"])
def test_what_begins_as_a_secret_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes"):
        webhook.secrets_of(text)


def test_another_key_signs_nothing() -> None:
    assert webhook.secrets_of("plain") is None


def test_texts_of_users_cannot_break_out_of_headers() -> None:
    event = {
        "id": "1",
        "source": "s\r\nx: y",
        "detail-type": 'a "b" é %',
        "time": "2026-11-28T18:01:03Z",
        "resources": ["a\nb"],
    }
    headers = webhook.cloud_event(event)
    assert headers["ce-source"] == "/s%0D%0Ax: y"
    assert headers["ce-type"] == "a %22b%22 %C3%A9 %25"
    assert headers["ce-subject"] == "a%0Ab"


@pytest.mark.parametrize(
    ("event", "hops"),
    [
        ({}, 0),
        ({"detail": {"tags": {HOPS_TAG: "3"}}}, 3),
        ({"detail": {"tags": {HOPS_TAG: "-1"}}}, 0),
        ({"detail": {"tags": {HOPS_TAG: "9" * 5_000}}}, 8),
        ({"detail": {"tags": [HOPS_TAG]}}, 0),
        ({"detail": {"requestParameters": {"tags": {HOPS_TAG: "2"}}}}, 2),
        ({"detail": "text", "longshore-hops": 5}, 5),
        ({"longshore-hops": {"a": 1}}, 0),
    ],
)
def test_hops_are_counted_wherever_they_are_said(event: dict[str, object], hops: int) -> None:
    assert hops_of(event) == hops


@pytest.mark.parametrize("text", ["", "1", "1-2", "1-2-x", "-1-2-3", "1-2-3-4", f"{2**63}-0-0"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="after is no position"):
        Position.parse(text, "after")


def test_a_position_is_read_as_it_is_written() -> None:
    position = Position(2**62, 7, 999_999)
    assert Position.parse(str(position), "after") == position


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "CONNECTION"])
def test_a_header_that_follows_from_the_call_is_nobodys_to_set(name: str) -> None:
    with pytest.raises(InvalidRequest, match=name):
        webhook.check_header(name, "Targets[0].HttpParameters.HeaderParameters")
    webhook.check_header("x-" + name, "m")
