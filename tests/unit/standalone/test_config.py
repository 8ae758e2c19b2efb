from pathlib import Path

import pytest

from longshore.contract import PORT_OFFSETS
from longshore.runtime.config import ConfigError
from longshore.standalone.config import SERVICES, StandaloneConfig


def test_every_service_is_started() -> None:
    assert set(SERVICES) == set(PORT_OFFSETS)


def test_ports_move_together_and_each_alone() -> None:
    config = StandaloneConfig.from_environment(
        {
            "LONGSHORE_DATA_DIR": "/data",
            "LONGSHORE_PORT_BASE": "9000",
            "LONGSHORE_LOGS_ADDRESS": "127.0.0.1:1234",
        }
    )
    assert config.addresses["submission"] == "127.0.0.1:9000"
    assert config.addresses["gateway"] == "127.0.0.1:9010"
    assert config.addresses["logs"] == "127.0.0.1:1234"
    assert config.metrics["scheduler"] == "127.0.0.1:9021"
    assert "gateway" not in config.metrics, "it serves them on its own port"
    assert config.postgres_directory == Path("/data/postgres")


def test_simulated_instances_are_not_for_users() -> None:
    with pytest.raises(ConfigError, match="LONGSHORE_RUNTIME"):
        StandaloneConfig.from_environment({"LONGSHORE_RUNTIME": "simulated"})
