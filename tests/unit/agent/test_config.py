"""Settings of the agent."""

from pathlib import Path

import pytest

from longshore.agent import machine
from longshore.agent.config import AgentConfig
from longshore.agent.docker.network_volume import FileSystems
from longshore.domain.instance import is_instance_id
from longshore.runtime.config import ConfigError


def test_declared_instance(tmp_path: Path) -> None:
    config = AgentConfig.from_environment(
        {
            "LONGSHORE_DATA_DIR": str(tmp_path),
            "LONGSHORE_INSTANCE_ID": "i-0123456789abcdef0",
            "LONGSHORE_INSTANCE_TYPE": "m5.large",
            "LONGSHORE_VCPU_MILLI": "2000",
            "LONGSHORE_MEMORY_MIB": "7985",
            "LONGSHORE_GPUS": "1",
            "LONGSHORE_SCHEDULER_ADDRESS": "10.0.0.1:7071",
        }
    )
    assert (config.vcpu_milli, config.memory_mib, config.gpu_ids) == (2000, 7985, ("0",))
    assert not config.unmanaged
    assert config.scheduler_address == "10.0.0.1:7111"
    assert config.logs_address == "127.0.0.1:7114"


def test_machine_that_joins_by_itself_is_detected_and_keeps_its_id(tmp_path: Path) -> None:
    environ = {"LONGSHORE_DATA_DIR": str(tmp_path / "data")}
    config = AgentConfig.from_environment(environ)
    assert config.unmanaged
    assert config.instance_type == "unmanaged"
    assert is_instance_id(config.instance_id)
    assert config.vcpu_milli % 1000 == 0
    assert config.memory_mib == machine.memory_mib()
    assert AgentConfig.from_environment(environ).instance_id == config.instance_id


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LONGSHORE_INSTANCE_ID", "i-1"),
        ("LONGSHORE_RUNTIME", "podman"),
        ("LONGSHORE_NETWORK", "overlay"),
        ("LONGSHORE_NODE_NETWORK", "overlay"),
        ("LONGSHORE_PULL", "never"),
        ("LONGSHORE_VCPU_MILLI", "many"),
        ("LONGSHORE_JOB_ROLES", "yes"),
        ("LONGSHORE_STS_ENDPOINT_URL", "minio:9000"),
        ("LONGSHORE_ACCOUNT", "12"),
        ("LONGSHORE_REGION", "Europe"),
    ],
)
def test_bad_values_name_their_variable(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        AgentConfig.from_environment({"LONGSHORE_DATA_DIR": str(tmp_path), name: value})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("sandbox", "sandbox")),
        ({"LONGSHORE_NETWORK": "bridge"}, ("bridge", "bridge")),
        ({"LONGSHORE_NODE_NETWORK": "host"}, ("sandbox", "host")),
        ({"LONGSHORE_NETWORK": "none", "LONGSHORE_NODE_NETWORK": "bridge"}, ("none", "bridge")),
    ],
)
def test_nodes_join_the_same_network_unless_told_otherwise(
    tmp_path: Path, environ: dict[str, str], expected: tuple[str, str]
) -> None:
    config = AgentConfig.from_environment({"LONGSHORE_DATA_DIR": str(tmp_path), **environ})
    assert (config.network, config.node_network) == expected


def test_roles_are_assumed_where_it_is_said(tmp_path: Path) -> None:
    environ = {"LONGSHORE_DATA_DIR": str(tmp_path)}
    assert AgentConfig.from_environment(environ).job_roles == "none"
    environ |= {"LONGSHORE_JOB_ROLES": "sts", "LONGSHORE_REGION": "eu-west-1"}
    config = AgentConfig.from_environment(environ)
    assert (config.job_roles, config.sts_endpoint_url) == ("sts", "")
    assert (config.region, config.sts_region) == ("eu-west-1", "eu-west-1")
    for name, region in (
        ("AWS_DEFAULT_REGION", "eu-west-2"),
        ("AWS_REGION", "eu-west-3"),
        ("LONGSHORE_STS_REGION", "eu-north-1"),
    ):
        environ[name] = region
        config = AgentConfig.from_environment(environ)
        assert (config.region, config.sts_region) == ("eu-west-1", region)


def test_file_systems_are_where_it_is_said(tmp_path: Path) -> None:
    environ = {"LONGSHORE_DATA_DIR": str(tmp_path), "AWS_REGION": "eu-west-1"}
    assert AgentConfig.from_environment(environ).file_systems == FileSystems("eu-west-1", {})
    environ["LONGSHORE_FILE_SYSTEMS"] = "fs-a=nas.example:/x, fs-b=10.0.0.7:/"
    found = AgentConfig.from_environment(environ).file_systems
    assert found.exports == {"fs-a": ("nas.example", "/x"), "fs-b": ("10.0.0.7", "/")}
    for wrong in ("fs-a", "fs-a=h:x", "fs-a=h,o=1:/x", "a=h:/x"):
        with pytest.raises(ConfigError, match="LONGSHORE_FILE_SYSTEMS has"):
            AgentConfig.from_environment(environ | {"LONGSHORE_FILE_SYSTEMS": wrong})
