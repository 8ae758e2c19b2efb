"""Whose word is taken for where a call comes from."""

import ipaddress
from typing import Any

import pytest

from longshore.rpc.audit import Installation, caller_of, peer_address

INSTALLATION = Installation("123456789012", "us-east-1", (ipaddress.ip_network("10.0.0.0/24"),))
CLAIM = (
    ("x-longshore-source-address", "192.0.2.1"),
    ("x-longshore-user-agent", "Boto3/1 %C2%B5"),
    ("x-longshore-access-key-id", "AKIA"),
    ("x-longshore-region", "eu-west-1"),
    ("user-agent", "grpc"),
)


class Call:
    """A call from somewhere."""

    def __init__(self, peer: str, *metadata: tuple[str, str | bytes]) -> None:
        self._peer = peer
        self._metadata = metadata

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> Any:
        return self._metadata


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:5", "192.0.2.1"),
        ("ipv6:%5B::1%5D:5", "192.0.2.1"),
        ("unix:", "192.0.2.1"),
        ("ipv4:10.0.0.9:5", "192.0.2.1"),
        ("ipv4:10.0.1.9:5", "10.0.1.9"),
        ("ipv6:%5B2001:db8::1%5D:5", "2001:db8::1"),
        ("nonsense", "nonsense"),
    ],
)
def test_the_gateways_word_is_taken_where_the_gateway_can_be(peer: str, address: str) -> None:
    call: Any = Call(peer, *CLAIM)
    caller = caller_of(call, INSTALLATION)
    assert caller.address == address
    # These are claims, whoever makes them.
    assert (caller.user_agent, caller.access_key_id) == ("Boto3/1 µ", "AKIA")
    assert caller.region == "eu-west-1"


def test_who_says_nothing_is_told_by_the_connection() -> None:
    call: Any = Call(
        "ipv4:127.0.0.1:5", ("user-agent", "grpc"), ("x-longshore-region", "no region")
    )
    caller = caller_of(call, INSTALLATION)
    assert (caller.address, caller.user_agent, caller.access_key_id) == ("127.0.0.1", "grpc", None)
    assert (caller.account, caller.region) == ("123456789012", "us-east-1")
    assert len(caller.request_id) == 36
    assert peer_address("ipv4:10.0.0.7:4711") == "10.0.0.7"
