from dataclasses import replace

import pytest

from longshore.contract import PORT_OFFSETS
from longshore_client import Addresses, InvalidRequest


def test_everything_follows_from_submission() -> None:
    found = Addresses.from_submission("example.org:9000")
    assert found == Addresses(*(f"example.org:{port}" for port in range(9000, 9006)))
    assert (found.scaler, found.logs) == ("example.org:9002", "example.org:9004")


def test_from_a_record() -> None:
    known = {name: f"here:{9000 + offset}" for name, offset in PORT_OFFSETS.items()}
    assert Addresses.from_mapping(known) == Addresses.from_submission("here:9000")
    del known["scaler"]
    with pytest.raises(InvalidRequest, match="scaler"):
        Addresses.from_mapping(known)


@pytest.mark.parametrize(
    "target", ["", "9000", "host", "host:", "host:port", "host:70000", "http://host:7070"]
)
def test_malformed_target_is_refused(target: str) -> None:
    with pytest.raises(InvalidRequest):
        Addresses.from_submission(target)


def test_environment() -> None:
    assert Addresses.from_environment({}) == Addresses.from_submission("127.0.0.1:7070")
    moved = Addresses.from_environment(
        {"LONGSHORE_PORT_BASE": "8000", "LONGSHORE_LOGS_ADDRESS": "elsewhere:1"}
    )
    assert moved == replace(Addresses.from_submission("127.0.0.1:8000"), logs="elsewhere:1")
    with pytest.raises(InvalidRequest, match="LONGSHORE_PORT_BASE"):
        Addresses.from_environment({"LONGSHORE_PORT_BASE": "x"})
