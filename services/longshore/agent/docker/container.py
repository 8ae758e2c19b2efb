"""Container properties as the Docker engine takes them (AWS Batch API, ContainerProperties).

Pure: an assignment goes in, the body of `POST /containers/create` comes out. What cannot be
honoured is refused with `CannotCreateContainerError` naming the member; submission refuses it
earlier, so this is the last line of defence against accepting something and then ignoring it.

Logs: the default and `awslogs` are `json-file` (which puts U+FFFD for bytes that are not UTF-8)
with our own collection on top (of the awslogs options the stream prefix alone has a meaning, for
the scheduler, which names logs); `json-file` keeps its options; other drivers get the output
themselves, and what we collect is what the engine still lets us read. What an engine's file may
grow to is bounded, and there are at least two: a single one is emptied under whoever reads it.

Bounds that no job definition can name are set by the instance: processes, and the files above. A
process gains no privileges by what it executes unless the container is privileged itself.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from longshore.agent.attempts.attempt import (
    DEFAULT_CONTAINER,
    NO_SECRETS,
    AttemptKey,
    SecretValues,
    StepFailed,
)
from longshore.agent.attempts.environment import environment
from longshore.agent.docker.intake import Bounds
from longshore.agent.docker.network_volume import AMAZON, FileSystems
from longshore.rpc.refused import first_refusal
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import container_pb2, job_definition_pb2

MIB = 1024 * 1024
#: The engine's bounds of CPU shares.
LEAST_SHARES, MOST_SHARES = 2, 262_144
#: When, in the engine's words, something happened that never did.
NEVER = "0001-01-01T00:00:00Z"
#: AWS Batch allows 4 MiB, which today's engines refuse.
LEAST_MEMORY_MIB = 6
#: What the engine's `local` driver keeps unless it is told otherwise.
_LOCAL_SIZE, _LOCAL_FILES = "20m", "5"
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)(?:i?b)?")
_PERMISSIONS = {"READ": "r", "WRITE": "w", "MKNOD": "m"}

INSTANCE_LABEL = "longshore.instance"
JOB_LABEL = "longshore.job-id"
ATTEMPT_LABEL = "longshore.attempt"
ATTEMPT_ID_LABEL = "longshore.attempt-id"
GPUS_LABEL = "longshore.gpus"
#: Of several containers of an attempt, the position of one, from 1.
CONTAINER_LABEL = "longshore.container"
#: What the paused container of an attempt is called where its others have their names.
ANCHOR = "~internal~longshore~pause"
#: Before the key of a propagated tag, so that no tag passes for one of the labels above.
TAG_LABEL = "longshore.tag."

Container = job_definition_pb2.ContainerProperties


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Which container it is of its attempt, and what it shares with others."""

    #: `bridge`, `host`, `none` or `container:ID`, as the engine has it.
    network: str
    #: The like for Linux's other namespaces; empty: the engine's default.
    ipc: str = ""
    pid: str = ""
    #: As the job definition has it.
    name: str = DEFAULT_CONTAINER
    #: Among several containers of the attempt, from 1; 0: it is the only one.
    position: int = 0


@dataclass(frozen=True, slots=True)
class ContainerLimits:
    """What an instance allows each container, and where file systems of the network are to it."""

    pids: int
    log_file_mib: int
    log_files: int
    spool_mib: int
    file_systems: FileSystems = AMAZON


def refused(member: str, why: str) -> StepFailed:
    """The failure for a member that cannot be honoured."""
    return StepFailed("CannotCreateContainerError", f"{member}: {why}")


def container_name(instance_id: str, key: AttemptKey) -> str:
    """The container's name: unique to the attempt on an engine that several agents may share."""
    return f"longshore-{instance_id}-{key.path()}"


def labels(
    assignment: pb.Assignment, instance_id: str, name: str, position: int = 0
) -> dict[str, str]:
    """By which the container is found again, and which AWS's own agent would set."""
    family, _, revision = assignment.job_definition.partition(":")
    return {
        INSTANCE_LABEL: instance_id,
        JOB_LABEL: assignment.key.job_id,
        ATTEMPT_LABEL: str(assignment.key.attempt),
        ATTEMPT_ID_LABEL: assignment.attempt_id,
        **({CONTAINER_LABEL: str(position)} if position else {}),
        "longshore.job-name": assignment.job_name,
        "com.amazonaws.ecs.container-name": name,
        "com.amazonaws.ecs.task-definition-family": family,
        "com.amazonaws.ecs.task-definition-version": revision,
        **{f"{TAG_LABEL}{key}": value for key, value in assignment.tags.items()},
    }


def trial_config(
    *, image: str, labels: dict[str, str], network_mode: str, gpus: bool
) -> dict[str, Any]:
    """A container that does nothing, made as those of attempts are."""
    host: dict[str, Any] = {"NetworkMode": network_mode, "LogConfig": {"Type": "json-file"}}
    if gpus:
        host["DeviceRequests"] = [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}]
    return {"Image": image, "Labels": labels, "HostConfig": host}


def container_config(  # noqa: PLR0913 - a container has that many sides
    assignment: pb.Assignment,
    *,
    instance_id: str,
    compute_environment: str,
    surroundings: Surroundings,
    gpu_ids: Sequence[str],
    limits: ContainerLimits,
    variables: dict[str, str],
    secrets: SecretValues = NO_SECRETS,
    otlp_endpoint: str = "",
) -> dict[str, Any]:
    """The container of an attempt.

    Args:
        assignment: what to run.
        instance_id: for labels.
        compute_environment: for the environment.
        surroundings: which container it is, and what it shares.
        gpu_ids: the GPUs that the attempt holds alone.
        limits: the instance's own.
        variables: by which the container finds the agent's endpoint; nothing else may set them.
        secrets: the values of the attempt's secrets.
        otlp_endpoint: of a collector that the job may send what it measures to.

    Raises:
        StepFailed: a member cannot be honoured.
    """
    container = assignment.container
    refuse_impossible(container)
    own_labels = labels(assignment, instance_id, surroundings.name, surroundings.position)
    if gpu_ids:
        own_labels[GPUS_LABEL] = ",".join(gpu_ids)
    env = environment(assignment, compute_environment, secrets.environment, otlp_endpoint)
    env |= variables
    config: dict[str, Any] = {
        "Image": container.image,
        "Env": [f"{name}={value}" for name, value in env.items()],
        "Labels": own_labels,
        "HostConfig": _host_config(assignment, surroundings, gpu_ids, limits),
    }
    config["HostConfig"]["LogConfig"]["Config"] |= secrets.log_options
    binds, mounts = _volumes(
        assignment, instance_id, limits.file_systems, is_shared=surroundings.position > 0
    )
    if binds:
        config["HostConfig"]["Binds"] = binds
    if mounts:
        config["HostConfig"]["Mounts"] = mounts
    if container.command:
        config["Cmd"] = list(container.command)
    if container.user:
        config["User"] = container.user
    return config


def refuse_impossible(container: Container) -> None:
    """Refuses what no runtime of ours can do.

    Raises:
        StepFailed: naming the first such member.
    """
    if not container.image:
        raise refused("image", "is required")
    # Registration refuses it by the same; what was registered with another longshore may have it.
    if (refusal := first_refusal(container)) is not None:
        raise StepFailed("CannotCreateContainerError", refusal.message)


def anchor_config(
    assignment: pb.Assignment, *, image: str, instance_id: str, network_mode: str
) -> dict[str, Any]:
    """A paused container whose namespaces the several containers of an attempt share."""
    task = assignment.task
    shared = [c.linux_parameters.shared_memory_size for c in task.containers]
    return {
        "Image": image,
        "Labels": labels(assignment, instance_id, ANCHOR),
        "HostConfig": {
            "NetworkMode": network_mode,
            "IpcMode": "shareable",
            # It is the first process of all that they run, if they share that: it has to bury.
            "Init": task.pid_mode == "task",
            **({"ShmSize": max(shared) * MIB} if any(shared) else {}),
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "LogConfig": {"Type": "none", "Config": {}},
        },
    }


def _host_config(
    assignment: pb.Assignment,
    surroundings: Surroundings,
    gpu_ids: Sequence[str],
    limits: ContainerLimits,
) -> dict[str, Any]:
    container = assignment.container
    shares = assignment.resources.vcpu_milli * 1024 // 1000
    memory = max(assignment.resources.memory_mib, LEAST_MEMORY_MIB) * MIB
    host: dict[str, Any] = {
        "NetworkMode": surroundings.network,
        "Memory": memory,
        "CpuShares": min(max(shares, LEAST_SHARES), MOST_SHARES),
        "LogConfig": _log_config(container.log_configuration, limits),
        "PidsLimit": limits.pids,
    }
    if container.privileged:
        host["Privileged"] = True
    else:
        host["SecurityOpt"] = ["no-new-privileges"]
    if container.readonly_root_filesystem:
        host["ReadonlyRootfs"] = True
    if container.ulimits:
        host["Ulimits"] = [
            {"Name": limit.name, "Soft": limit.soft_limit, "Hard": limit.hard_limit}
            for limit in container.ulimits
        ]
    if gpu_ids:
        host["DeviceRequests"] = [
            {"Driver": "", "DeviceIDs": list(gpu_ids), "Capabilities": [["gpu"]]},
        ]
    if surroundings.ipc:
        host["IpcMode"] = surroundings.ipc
    if surroundings.pid:
        host["PidMode"] = surroundings.pid
    host |= _linux(container.linux_parameters, memory)
    return host


def _log_config(log: container_pb2.LogConfiguration, limits: ContainerLimits) -> dict[str, Any]:
    driver, options = log.log_driver, dict(log.options)
    if driver in ("", "awslogs"):
        driver, options = "json-file", {}
    if driver == "json-file":
        options.setdefault("max-size", f"{limits.log_file_mib}m")
        options.setdefault("max-file", str(limits.log_files))
    if options.get("max-file") == "1" and driver in ("json-file", "local"):
        options["max-file"] = "2"
    return {"Type": driver, "Config": options}


def log_bounds(log: container_pb2.LogConfiguration, limits: ContainerLimits) -> Bounds:
    """How much of a container's output is kept, by us and by the engine."""
    config = _log_config(log, limits)
    options = config["Config"]
    if config["Type"] in ("json-file", "local"):
        size, files = options.get("max-size", _LOCAL_SIZE), options.get("max-file", _LOCAL_FILES)
    else:
        # The engine keeps a copy for readers in the form of its `local` driver.
        size = options.get("cache-max-size", _LOCAL_SIZE)
        files = options.get("cache-max-file", _LOCAL_FILES)
    return Bounds(limits.spool_mib * MIB, _size(size), int(files) if files.isdecimal() else 1)


def _size(text: str) -> int | None:
    """A size as the engine reads it, in bytes; None if it bounds nothing."""
    match = _SIZE.fullmatch(text.lower())
    if match is None:
        return None
    return int(float(match[1]) * 1024 ** "bkmgtp".index(match[2] or "b")) or None


def _linux(linux: container_pb2.LinuxParameters, memory: int) -> dict[str, Any]:
    host: dict[str, Any] = {}
    if linux.init_process_enabled:
        host["Init"] = True
    if linux.shared_memory_size:
        host["ShmSize"] = linux.shared_memory_size * MIB
    if linux.tmpfs:
        host["Tmpfs"] = {
            mount.container_path: ",".join([f"size={mount.size}m", *mount.mount_options])
            for mount in linux.tmpfs
        }
    if linux.devices:
        host["Devices"] = [
            {
                "PathOnHost": device.host_path,
                "PathInContainer": device.container_path or device.host_path,
                "CgroupPermissions": "".join(_PERMISSIONS[name] for name in device.permissions)
                or "rwm",
            }
            for device in linux.devices
        ]
    if linux.HasField("max_swap"):
        host["MemorySwap"] = memory + linux.max_swap * MIB
        if linux.HasField("swappiness"):
            host["MemorySwappiness"] = linux.swappiness
    return host


def _volumes(
    assignment: pb.Assignment, instance_id: str, file_systems: FileSystems, *, is_shared: bool
) -> tuple[list[str], list[dict[str, Any]]]:
    """Binds for host paths, which the engine creates if missing, and mounts for all else."""
    container = assignment.container
    volumes = {volume.name: volume for volume in container.volumes}
    shared = set(shared_volumes(assignment))
    if is_shared:
        shared = {volume_name(assignment, name) for name in volumes}
    binds: list[str] = []
    mounts: list[dict[str, Any]] = []
    for point in container.mount_points:
        volume = volumes.get(point.source_volume)
        if volume is None:
            raise refused("mountPoints.sourceVolume", f"no volume is named {point.source_volume}")
        source = volume.host.source_path
        if source:
            if ":" in source or ":" in point.container_path:
                raise refused("volumes.host.sourcePath", "a path must not hold a colon")
            binds.append(f"{source}:{point.container_path}{':ro' if point.read_only else ''}")
            continue
        mount: dict[str, Any] = {
            "Type": "volume",
            "Target": point.container_path,
            "ReadOnly": point.read_only,
        }
        name = volume_name(assignment, volume.name)
        if name in shared:
            mount["Source"] = name
            mount["VolumeOptions"] = {"Labels": {INSTANCE_LABEL: instance_id}}
        if volume.HasField("efs_volume_configuration"):
            driver = file_systems.driver_config(volume.efs_volume_configuration)
            mount["VolumeOptions"]["DriverConfig"] = driver
        mounts.append(mount)
    return binds, mounts


def volume_name(assignment: pb.Assignment, volume: str) -> str:
    """The engine's name for an attempt's volume without a host path."""
    return f"longshore-{assignment.attempt_id}-{volume}"


def shared_volumes(assignment: pb.Assignment) -> list[str]:
    """The volumes that need a name: they are mounted more than once, or are of the network.

    Of several containers those of any of them are. The others are anonymous, so that the engine
    removes them with the container.
    """
    container, task = assignment.container, assignment.task
    points = [point.source_volume for point in container.mount_points]
    several = {point.source_volume for c in task.containers for point in c.mount_points}
    networked = network_volumes(assignment)
    return [
        volume_name(assignment, volume.name)
        for volume in (*container.volumes, *task.volumes)
        if not volume.host.source_path
        and (points.count(volume.name) > 1 or volume.name in several or volume.name in networked)
    ]


def network_volumes(assignment: pb.Assignment) -> list[str]:
    """The volumes on file systems of the network that are mounted."""
    container, task = assignment.container, assignment.task
    points = {point.source_volume for point in container.mount_points}
    points.update(point.source_volume for c in task.containers for point in c.mount_points)
    return [
        volume.name
        for volume in (*container.volumes, *task.volumes)
        if volume.HasField("efs_volume_configuration") and volume.name in points
    ]
