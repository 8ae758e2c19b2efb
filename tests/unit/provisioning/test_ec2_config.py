"""Settings of the EC2 provider."""

import pytest

from longshore.provisioning.ec2.config import Ec2Config
from longshore.runtime.config import ConfigError, Settings

BASE = {"LONGSHORE_HOST": "10.0.0.1", "LONGSHORE_EC2_PACKAGE": "longshore[server]"}


def _read(**environ: str) -> Ec2Config:
    return Ec2Config.from_settings(Settings({**BASE, **environ}))


def test_defaults() -> None:
    config = _read()
    assert config.region == "us-east-1"
    assert config.scheduler_address == "10.0.0.1:7111"
    assert config.logs_address == "10.0.0.1:7114"
    assert config.join_address == "10.0.0.1:7076"
    assert config.endpoint_url is None
    assert config.user_data == "install"
    assert config.zones == ()


def test_what_is_set() -> None:
    config = _read(
        AWS_DEFAULT_REGION="eu-west-1",
        LONGSHORE_EC2_ZONES="eu-west-1a, eu-west-1b",
        LONGSHORE_EC2_LOGS_ADDRESS="logs.internal:99",
        LONGSHORE_NETWORK="bridge",
        LONGSHORE_EC2_IMAGE="ssm:/my/image",
    )
    assert config.region == "eu-west-1"
    assert config.zones == ("eu-west-1a", "eu-west-1b")
    assert config.logs_address == "logs.internal:99"
    assert config.agent_settings == (("LONGSHORE_NETWORK", "bridge"),)
    assert _read(AWS_REGION="a", LONGSHORE_EC2_REGION="b").region == "b"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::1]"])
def test_instances_must_reach_the_services(host: str) -> None:
    """An address of the machine itself is none that they reach."""
    with pytest.raises(ConfigError, match="LONGSHORE_EC2_SCHEDULER_ADDRESS"):
        _read(LONGSHORE_EC2_SCHEDULER_ADDRESS=f"{host}:7071")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LONGSHORE_EC2_IMAGE", "x"),
        ("LONGSHORE_EC2_USER_DATA", "maybe"),
        ("LONGSHORE_EC2_VOLUME_GIB", "-1"),
        ("LONGSHORE_EC2_METADATA_HOPS", "0"),
        ("LONGSHORE_EC2_SCHEDULER_ADDRESS", "nowhere"),
    ],
)
def test_bad_values_name_their_variable(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        _read(**{name: value})


def test_a_package_is_needed_unless_the_image_is_ready() -> None:
    with pytest.raises(ConfigError, match="LONGSHORE_EC2_PACKAGE"):
        _read(LONGSHORE_EC2_PACKAGE="")
    assert _read(LONGSHORE_EC2_PACKAGE="", LONGSHORE_EC2_USER_DATA="ready").package == ""
