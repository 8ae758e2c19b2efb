"""Users come by plaintext on loopback, and by TLS elsewhere; services and agents always by TLS."""

from pathlib import Path

import pytest

from longshore.runtime.config import ConfigError, Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3", "[::1]"])
def test_on_loopback_users_need_no_tls(host: str) -> None:
    doors = Settings({"LONGSHORE_HOST": host}).doors("scheduler")
    assert doors.users is None
    assert doors.peers == f"{host}:7111"


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "build-7", "[::]", "127.0.0.1.example"])
def test_elsewhere_they_do(host: str) -> None:
    doors = Settings({"LONGSHORE_HOST": host}).doors("scheduler")
    assert doors.users == doors.identity


def test_they_may_see_a_certificate_that_is_given() -> None:
    given = {
        "LONGSHORE_HOST": "0.0.0.0",
        "LONGSHORE_TLS_CERTIFICATE": "/c.pem",
        "LONGSHORE_TLS_KEY": "/k.pem",
    }
    doors = Settings(given).doors("logs")
    assert doors.users is not None
    assert (doors.users.own, doors.users.key) == (Path("/c.pem"), Path("/k.pem"))
    assert doors.identity.own.name == "logs.pem"
    del given["LONGSHORE_TLS_KEY"]
    with pytest.raises(ConfigError, match="belong together"):
        Settings(given).doors("logs")
