"""Services keep to loopback until somebody says that the network is trusted."""

import pytest

from longshore.runtime.config import ConfigError, Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3"])
def test_loopback_needs_no_leave(host: str) -> None:
    assert Settings({"LONGSHORE_HOST": host}).listen_address("scheduler") == f"{host}:7071"


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "build-7", "[::]"])
def test_anything_else_is_refused_by_name(host: str) -> None:
    settings = Settings({"LONGSHORE_HOST": host})
    with pytest.raises(ConfigError, match="LONGSHORE_INSECURE"):
        settings.listen_address("scheduler")
    assert settings.address("scheduler") == f"{host}:7071"


def test_a_trusted_network_is_listened_on() -> None:
    settings = Settings({"LONGSHORE_GATEWAY_ADDRESS": "0.0.0.0:80", "LONGSHORE_INSECURE": "true"})
    assert settings.listen_address("gateway") == "0.0.0.0:80"
