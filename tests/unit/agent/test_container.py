"""Container properties become what the Docker engine creates."""

from dataclasses import replace
from typing import Any

import pytest

from longshore.agent.attempts.attempt import StepFailed
from longshore.agent.docker.container import (
    ContainerLimits,
    Surroundings,
    container_config,
    log_bounds,
    network_volumes,
    shared_volumes,
)
from longshore.agent.docker.intake import Bounds
from longshore.agent.docker.network_volume import FileSystems
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import container_pb2, ecs_pb2, job_definition_pb2, resources_pb2

MIB = 1024 * 1024
Linux = container_pb2.LinuxParameters


LIMITS = ContainerLimits(pids=100, log_file_mib=8, log_files=3, spool_mib=50)
BOUNDED = {"max-size": "8m", "max-file": "3"}


def an_assignment(vcpu_milli: int = 1000, memory_mib: int = 128, **container: Any) -> pb.Assignment:
    return pb.Assignment(
        key=pb.AttemptKey(job_id="job:3", attempt=2),
        attempt_id="abc",
        job_definition="name:7",
        resources=resources_pb2.Resources(vcpu_milli=vcpu_milli, memory_mib=memory_mib),
        container=job_definition_pb2.ContainerProperties(**({"image": "image"} | container)),
    )


def an_efs_volume(
    name: str = "v", file_system_id: str = "fs-1234", **members: Any
) -> container_pb2.Volume:
    efs = container_pb2.EFSVolumeConfiguration(file_system_id=file_system_id, **members)
    return container_pb2.Volume(name=name, efs_volume_configuration=efs)


def config_of(assignment: pb.Assignment, gpu_ids: list[str] | None = None) -> dict[str, Any]:
    return container_config(
        assignment,
        instance_id="i-1",
        compute_environment="ce",
        surroundings=Surroundings("container:abc"),
        gpu_ids=gpu_ids or [],
        limits=LIMITS,
        variables={"OWN": "agent"},
    )


def host_of(assignment: pb.Assignment, gpu_ids: list[str] | None = None) -> dict[str, Any]:
    host: dict[str, Any] = config_of(assignment, gpu_ids)["HostConfig"]
    return host


def test_least_of_all() -> None:
    """What is not asked for is not set, so that the engine's and the image's defaults hold."""
    config = config_of(an_assignment())
    assert set(config) == {"Image", "Env", "Labels", "HostConfig"}
    assert config["HostConfig"] == {
        "NetworkMode": "container:abc",
        "Memory": 128 * MIB,
        "CpuShares": 1024,
        "LogConfig": {"Type": "json-file", "Config": BOUNDED},
        "PidsLimit": 100,
        "SecurityOpt": ["no-new-privileges"],
    }


def test_propagated_tags_are_labels_and_pass_for_no_other() -> None:
    assignment = an_assignment()
    assignment.tags.update({"team": "a b", "longshore.instance": "i-2"})
    labels = config_of(assignment)["Labels"]
    assert labels["longshore.tag.team"] == "a b"
    assert labels["longshore.tag.longshore.instance"] == "i-2"
    assert labels["longshore.instance"] == "i-1"


@pytest.mark.parametrize(
    ("vcpu_milli", "shares"), [(1, 2), (250, 256), (4000, 4096), (1_000_000, 262_144)]
)
def test_cpu_shares_are_bounded(vcpu_milli: int, shares: int) -> None:
    assert host_of(an_assignment(vcpu_milli=vcpu_milli))["CpuShares"] == shares


def test_memory_has_a_floor() -> None:
    assert host_of(an_assignment(memory_mib=4))["Memory"] == 6 * MIB


def test_command_and_user() -> None:
    config = config_of(an_assignment(command=["a", "b"], user="1:2"))
    assert (config["Cmd"], config["User"]) == (["a", "b"], "1:2")
    assert "Entrypoint" not in config


def test_booleans() -> None:
    host = host_of(
        an_assignment(
            privileged=True,
            readonly_root_filesystem=True,
            linux_parameters=Linux(init_process_enabled=True),
        )
    )
    assert host["Privileged"]
    assert host["ReadonlyRootfs"]
    assert host["Init"]


def test_linux_parameters() -> None:
    host = host_of(
        an_assignment(
            memory_mib=100,
            linux_parameters=Linux(
                shared_memory_size=64,
                max_swap=50,
                swappiness=0,
                tmpfs=[
                    container_pb2.Tmpfs(container_path="/t", size=3, mount_options=["rw", "uid=1"])
                ],
                devices=[
                    container_pb2.Device(host_path="/dev/a"),
                    container_pb2.Device(
                        host_path="/dev/b", container_path="/dev/c", permissions=["READ", "MKNOD"]
                    ),
                ],
            ),
        )
    )
    assert host["ShmSize"] == 64 * MIB
    assert host["MemorySwap"] == 150 * MIB
    assert host["MemorySwappiness"] == 0
    assert host["Tmpfs"] == {"/t": "size=3m,rw,uid=1"}
    assert host["Devices"] == [
        {"PathOnHost": "/dev/a", "PathInContainer": "/dev/a", "CgroupPermissions": "rwm"},
        {"PathOnHost": "/dev/b", "PathInContainer": "/dev/c", "CgroupPermissions": "rm"},
    ]


def test_no_swap_and_swappiness_without_swap() -> None:
    none = host_of(an_assignment(memory_mib=100, linux_parameters=Linux(max_swap=0)))
    assert none["MemorySwap"] == 100 * MIB
    alone = host_of(an_assignment(linux_parameters=Linux(swappiness=10)))
    assert "MemorySwappiness" not in alone
    assert "MemorySwap" not in alone


def test_gpus() -> None:
    config = config_of(an_assignment(), ["0", "3"])
    assert config["HostConfig"]["DeviceRequests"] == [
        {"Driver": "", "DeviceIDs": ["0", "3"], "Capabilities": [["gpu"]]}
    ]
    assert config["Labels"]["longshore.gpus"] == "0,3"


@pytest.mark.parametrize(
    ("driver", "options", "expected"),
    [
        ("awslogs", {"awslogs-stream-prefix": "x"}, ("json-file", BOUNDED)),
        ("json-file", {"max-size": "1m"}, ("json-file", BOUNDED | {"max-size": "1m"})),
        ("json-file", {"max-file": "1"}, ("json-file", BOUNDED | {"max-file": "2"})),
        ("local", {"max-file": "1"}, ("local", {"max-file": "2"})),
        ("syslog", {"tag": "x"}, ("syslog", {"tag": "x"})),
    ],
)
def test_log_drivers(
    driver: str, options: dict[str, str], expected: tuple[str, dict[str, str]]
) -> None:
    log = container_pb2.LogConfiguration(log_driver=driver, options=options)
    config = host_of(an_assignment(log_configuration=log))["LogConfig"]
    assert (config["Type"], config["Config"]) == expected


@pytest.mark.parametrize(
    ("driver", "options", "file_bytes", "files"),
    [
        ("", {}, 8 * MIB, 3),
        ("awslogs", {"max-size": "1m"}, 8 * MIB, 3),
        ("json-file", {"max-size": "512k", "max-file": "1"}, 512 * 1024, 2),
        ("json-file", {"max-size": "1.5MB"}, 3 * MIB // 2, 3),
        ("json-file", {"max-size": "-1"}, None, 3),
        ("local", {}, 20 * MIB, 5),
        ("syslog", {"tag": "x"}, 20 * MIB, 5),
        ("syslog", {"cache-max-size": "1g", "cache-max-file": "2"}, 1024 * MIB, 2),
    ],
)
def test_log_bounds_are_what_the_engine_keeps(
    driver: str, options: dict[str, str], file_bytes: int | None, files: int
) -> None:
    log = container_pb2.LogConfiguration(log_driver=driver, options=options)
    assert log_bounds(log, LIMITS) == Bounds(50 * MIB, file_bytes, files)


def test_a_privileged_container_may_gain_privileges() -> None:
    assert "SecurityOpt" not in host_of(an_assignment(privileged=True))


def test_volumes() -> None:
    assignment = an_assignment(
        volumes=[
            container_pb2.Volume(name="host", host=container_pb2.Host(source_path="/src")),
            container_pb2.Volume(name="once"),
            container_pb2.Volume(name="twice"),
            container_pb2.Volume(name="never"),
        ],
        mount_points=[
            container_pb2.MountPoint(source_volume="host", container_path="/a", read_only=True),
            container_pb2.MountPoint(source_volume="once", container_path="/b"),
            container_pb2.MountPoint(source_volume="twice", container_path="/c"),
            container_pb2.MountPoint(source_volume="twice", container_path="/d", read_only=True),
        ],
    )
    host = host_of(assignment)
    shared = {
        "Source": "longshore-abc-twice",
        "VolumeOptions": {"Labels": {"longshore.instance": "i-1"}},
    }
    assert host["Binds"] == ["/src:/a:ro"]
    assert host["Mounts"] == [
        {"Type": "volume", "Target": "/b", "ReadOnly": False},
        {"Type": "volume", "Target": "/c", "ReadOnly": False, **shared},
        {"Type": "volume", "Target": "/d", "ReadOnly": True, **shared},
    ]
    assert shared_volumes(assignment) == ["longshore-abc-twice"]


def test_volumes_of_the_network_are_mounted_by_nfs_each_under_a_name() -> None:
    volumes = [
        an_efs_volume("ours", file_system_id="fs-ours", root_directory="/team/"),
        an_efs_volume("theirs"),
        an_efs_volume("unused"),
    ]
    assignment = an_assignment(
        volumes=volumes,
        mount_points=[
            container_pb2.MountPoint(source_volume="ours", container_path="/a", read_only=True),
            container_pb2.MountPoint(source_volume="theirs", container_path="/b"),
        ],
    )
    file_systems = FileSystems("eu-west-1", {"fs-ours": ("nas.example", "/export")})
    config = container_config(
        assignment,
        instance_id="i-1",
        compute_environment="ce",
        surroundings=Surroundings("host"),
        gpu_ids=[],
        limits=replace(LIMITS, file_systems=file_systems),
        variables={},
    )
    ours, theirs = config["HostConfig"]["Mounts"]
    assert (ours["Source"], ours["ReadOnly"]) == ("longshore-abc-ours", True)
    driver = ours["VolumeOptions"]["DriverConfig"]
    assert (driver["Name"], driver["Options"]["type"]) == ("local", "nfs")
    assert driver["Options"]["o"].startswith("addr=nas.example,nfsvers=4.1,")
    assert driver["Options"]["device"] == ":/export/team"
    driver = theirs["VolumeOptions"]["DriverConfig"]
    assert driver["Options"]["o"].startswith("addr=fs-1234.efs.eu-west-1.amazonaws.com,")
    assert driver["Options"]["device"] == ":/"
    assert shared_volumes(assignment) == ["longshore-abc-ours", "longshore-abc-theirs"]


PATH = f"/var/lib/docker/volumes/longshore-{'0' * 32}-team/_data"


def test_why_a_volume_cannot_be_mounted_comes_before_what_does_not_matter() -> None:
    """AWS keeps 255 characters of a reason, fewer than an engine has before it tells the cause."""
    file_systems = FileSystems("eu-west-1", {"fs-ours": ("nas.example", "/export")})
    ours = an_efs_volume(file_system_id="fs-ours", root_directory="/team")
    options = file_systems.driver_config(ours.efs_volume_configuration)["Options"]["o"]
    told = file_systems.refusal(
        ours.efs_volume_configuration,
        f"error while mounting volume '{PATH}': failed to mount local volume: mount "
        f":/export/team:{PATH}, data: {options.replace('nas.example', '10.0.0.7')}: "
        "connection refused",
    )
    assert told == "connection refused; fs-ours is nas.example:/export/team"
    told = file_systems.refusal(
        an_efs_volume().efs_volume_configuration,
        f"error while mounting volume '{PATH}': error resolving passed in network volume address: "
        "lookup fs-1234: no such host",
    )
    assert told == (
        "lookup fs-1234: no such host; LONGSHORE_FILE_SYSTEMS does not name fs-1234, so it is "
        "fs-1234.efs.eu-west-1.amazonaws.com:/"
    )


def test_volumes_of_the_network_are_those_that_one_of_several_containers_mounts() -> None:
    assignment = an_assignment()
    assignment.ClearField("container")
    assignment.task.volumes.extend([an_efs_volume("mounted"), an_efs_volume("unused")])
    mount = container_pb2.MountPoint(source_volume="mounted", container_path="/a")
    assignment.task.containers.extend(
        [
            ecs_pb2.TaskContainerProperties(name="a"),
            ecs_pb2.TaskContainerProperties(name="b", mount_points=[mount]),
        ]
    )
    assert network_volumes(assignment) == ["mounted"]
    assert shared_volumes(assignment) == ["longshore-abc-mounted"]
    part = an_assignment(volumes=assignment.task.volumes, mount_points=[mount])
    config = container_config(
        part,
        instance_id="i-1",
        compute_environment="ce",
        surroundings=Surroundings("host", name="b", position=2),
        gpu_ids=[],
        limits=LIMITS,
        variables={},
    )
    [volume] = config["HostConfig"]["Mounts"]
    assert volume["Source"] == "longshore-abc-mounted"
    assert volume["VolumeOptions"]["DriverConfig"]["Options"]["device"] == ":/"


@pytest.mark.parametrize(
    ("member", "container"),
    [
        ("image", {"image": ""}),
        ("enableExecuteCommand", {"enable_execute_command": True}),
        (
            r"volumes\[0\].efsVolumeConfiguration.transitEncryption",
            {"volumes": [an_efs_volume(transit_encryption="ENABLED")]},
        ),
        (
            "logConfiguration.logDriver",
            {"log_configuration": container_pb2.LogConfiguration(log_driver="awsfirelens")},
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(member: str, container: dict[str, Any]) -> None:
    with pytest.raises(StepFailed, match=rf"^CannotCreateContainerError: {member}\b"):
        config_of(an_assignment(**container))
