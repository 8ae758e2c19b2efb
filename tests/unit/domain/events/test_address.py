"""Where nothing is sent: inside, to metadata, and to what is no machine."""

import pytest

from longshore.domain.events.address import refusal


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_what_is_outside_is_sent_to(text: str) -> None:
    assert refusal(text, allows_private=False) is None


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "::1", "fd00::1"),
        *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
    ],
)
def test_what_is_inside_is_sent_to_where_that_is_allowed(text: str) -> None:
    why = refusal(text, allows_private=False)
    assert why is not None
    assert "LONGSHORE_EVENTS_PRIVATE_TARGETS=allow" in why
    assert refusal(text, allows_private=True) is None


@pytest.mark.parametrize(
    "text",
    [
        *("169.254.169.254", "169.254.1.1", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200"),
        *("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "0.0.0.0", "::", "224.0.0.1", "ff02::1"),
        "255.255.255.255",
    ],
)
def test_metadata_and_what_is_no_machine_never_are(text: str) -> None:
    assert refusal(text, allows_private=True) is not None
