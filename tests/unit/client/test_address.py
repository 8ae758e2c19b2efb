import pytest

from longshore.runtime import config
from longshore_client import Addresses, InvalidRequest
from longshore_client.address import PORT_OFFSETS


def test_ports_are_the_services_own() -> None:
    assert PORT_OFFSETS == config.PORT_OFFSETS


def test_everything_follows_from_submission() -> None:
    found = Addresses.from_submission("example.org:9000")
    assert found == Addresses("example.org:9000", "example.org:9001", "example.org:9004")


@pytest.mark.parametrize("target", ["", "9000", "host", "host:", "host:port", "host:70000"])
def test_malformed_target_is_refused(target: str) -> None:
    with pytest.raises(InvalidRequest):
        Addresses.from_submission(target)


def test_environment() -> None:
    assert Addresses.from_environment({}) == Addresses.from_submission("127.0.0.1:7070")
    moved = Addresses.from_environment(
        {"LONGSHORE_PORT_BASE": "8000", "LONGSHORE_LOGS_ADDRESS": "elsewhere:1"}
    )
    assert moved == Addresses("127.0.0.1:8000", "127.0.0.1:8001", "elsewhere:1")
    with pytest.raises(InvalidRequest, match="LONGSHORE_PORT_BASE"):
        Addresses.from_environment({"LONGSHORE_PORT_BASE": "x"})
