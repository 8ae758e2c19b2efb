"""The gateway's settings, and the small parts that read headers."""

import pytest

from longshore.gateway.config import GatewayConfig
from longshore.gateway.signature import signed_region
from longshore.runtime.config import ConfigError


def test_defaults() -> None:
    config = GatewayConfig.from_environment({})

    assert (config.host, config.port) == ("127.0.0.1", 7080)
    assert config.addresses["submission"] == "127.0.0.1:7110"
    own = {"identity": config.identity, "access": config.access}
    assert config == GatewayConfig(config.address, config.addresses, **own)
    assert not config.access.is_open


def test_everything_can_be_set() -> None:
    config = GatewayConfig.from_environment(
        {
            "LONGSHORE_GATEWAY_ADDRESS": "[::1]:80",
            "LONGSHORE_PORT_BASE": "9000",
            "LONGSHORE_GATEWAY_BODY_BYTES": "65536",
            "LONGSHORE_GATEWAY_CONCURRENCY": "7",
            "LONGSHORE_GATEWAY_TIMEOUT": "1.5",
            "LONGSHORE_GATEWAY_GRACE": "0",
            "LONGSHORE_GATEWAY_HOSTS": "Batch.internal, [fe80::1],10.0.0.1",
        }
    )

    assert (config.host, config.port) == ("::1", 80)
    assert config.addresses["submission"] == "127.0.0.1:9040"
    own = {"identity": config.identity, "access": config.access}
    assert config == GatewayConfig(
        "[::1]:80", config.addresses, 65_536, 7, 1.5, 0.0, config.hosts, **own
    )
    assert config.hosts == ("Batch.internal", "fe80::1", "10.0.0.1")
    assert config.known_hosts == {"::1", "batch.internal", "fe80::1", "10.0.0.1"}


@pytest.mark.parametrize("hosts", ["a:80", "http://a", "a b", "*"])
def test_names_of_the_gateway_have_no_ports(hosts: str) -> None:
    with pytest.raises(ConfigError, match="LONGSHORE_GATEWAY_HOSTS"):
        GatewayConfig.from_environment({"LONGSHORE_GATEWAY_HOSTS": hosts})


def test_a_bad_value_names_its_variable() -> None:
    with pytest.raises(ConfigError, match="LONGSHORE_GATEWAY_CONCURRENCY"):
        GatewayConfig.from_environment({"LONGSHORE_GATEWAY_CONCURRENCY": "0"})


@pytest.mark.parametrize(
    ("authorization", "region"),
    [
        (
            "AWS4-HMAC-SHA256 Credential=AKID/20261122/eu-west-1/batch/aws4_request, Signature=abc",
            "eu-west-1",
        ),
        (
            "AWS4-HMAC-SHA256 Signature=abc,Credential=a/20261122/us-east-1/batch/aws4_request",
            "us-east-1",
        ),
        ("AWS4-HMAC-SHA256 Credential=a/20261122/us-east-1/batch/aws4_requests", None),
        ("AWS4-HMAC-SHA256 Credential=a/20261122//batch/aws4_request", None),
        ("Basic AWS4-HMAC-SHA256 Credential=a/20261122/us-east-1/batch/aws4_request", None),
        ("", None),
        (None, None),
    ],
)
def test_region_of_a_signature(authorization: str | None, region: str | None) -> None:
    assert signed_region(authorization) == region
