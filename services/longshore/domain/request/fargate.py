"""Checks of containers that are for Fargate: each job in a slot of its own size.

Of what AWS has for Fargate alone, a job's size has its effect here. The other members
(networkConfiguration, fargatePlatformConfiguration, ephemeralStorage, executionRoleArn) mean
something inside AWS: they are checked for form and kept.
"""

import re
from collections.abc import Sequence

from longshore.domain.catalogue import FARGATE_SIZES
from longshore.domain.checks import Json, require
from longshore.domain.resources import Resources

EPHEMERAL_STORAGE_GIB = (21, 200)
LATEST = "LATEST"
_PLATFORM_VERSION = re.compile(r"LATEST|[0-9]+\.[0-9]+\.[0-9]+")
_EFS_VERSION = "1.4.0"
_LOG_DRIVERS = ("awslogs", "splunk")
_LINUX = "initProcessEnabled"
_ULIMIT = "nofile"


def check_fargate_container(container: Json, path: str) -> None:
    """Checks what is different from a container that runs on an instance."""
    check_not_deprecated(container.get("vcpus"), container.get("memory"), path)
    version = container.get("fargatePlatformConfiguration", {}).get("platformVersion", LATEST)
    check_fargate_job(container, path, version)
    check_fargate_settings(container, path)
    check_platform_version(version, f"{path}.fargatePlatformConfiguration.platformVersion")


def check_fargate_settings(container: Json, path: str) -> None:
    """Checks what is different in how one container runs."""
    _refuse(container.get("privileged"), "privileged", path)
    for index, ulimit in enumerate(container.get("ulimits", [])):
        _check_among((_ULIMIT,), ulimit["name"], f"{path}.ulimits[{index}].name")
    for name in container.get("linuxParameters", {}):
        _refuse(name != _LINUX, name, f"{path}.linuxParameters")
    if "logDriver" in (log := container.get("logConfiguration", {})):
        _check_among(_LOG_DRIVERS, log["logDriver"], f"{path}.logConfiguration.logDriver")


def check_platform_version(version: str, member: str) -> None:
    """Checks the form of a platform version."""
    require(
        _PLATFORM_VERSION.fullmatch(version),
        f"platformVersion must be {LATEST} or three numbers, as in 1.4.0.",
        member,
    )


def _has_efs(version: str) -> bool:
    if version == LATEST or _PLATFORM_VERSION.fullmatch(version) is None:
        # What is no version is refused as such.
        return True
    return [int(part) for part in version.split(".")] >= [1, 4, 0]


def check_fargate_job(container: Json, path: str, version: str) -> None:
    """Checks what is the whole job's, however many containers it has.

    Args:
        container: the job's only one, or what its several share.
        path: to its members, for error texts.
        version: of the platform.
    """
    require(
        container.get("executionRoleArn"),
        "executionRoleArn is required for Fargate.",
        f"{path}.executionRoleArn",
    )
    for index, volume in enumerate(container.get("volumes", [])):
        member = f"{path}.volumes[{index}]"
        _refuse(volume.get("host", {}).get("sourcePath"), "host", member)
        require(
            "efsVolumeConfiguration" not in volume or _has_efs(version),
            f"EFS is supported for Fargate platform version {_EFS_VERSION}",
            f"{member}.efsVolumeConfiguration",
        )
    network = container.get("networkConfiguration", {})
    require(
        network.get("assignPublicIp", "DISABLED") in ("ENABLED", "DISABLED"),
        "assignPublicIp must be ENABLED or DISABLED.",
        f"{path}.networkConfiguration.assignPublicIp",
    )
    smallest, largest = EPHEMERAL_STORAGE_GIB
    storage = container.get("ephemeralStorage")
    require(
        storage is None or smallest <= storage.get("sizeInGiB", 0) <= largest,
        f"ephemeralStorage.sizeInGiB must be from {smallest} to {largest}.",
        f"{path}.ephemeralStorage.sizeInGiB",
    )


def check_fargate_size(needs: Resources, member: str) -> None:
    """Checks that a job is of one of Fargate's sizes, with AWS's text."""
    require(not needs.gpus, "GPU is not applicable for Fargate.", member)
    require(
        needs.memory_mib in FARGATE_SIZES.get(needs.vcpu_milli, ()),
        f"Fargate resource requirements ({needs.vcpu_milli / 1000:.2f} vCPU, "
        f"{needs.memory_mib} MiB) not valid.",
        member,
    )


def check_not_deprecated(
    vcpus: int | None, memory: int | None, path: str = "containerOverrides"
) -> None:
    """The deprecated pair is for EC2 alone; AWS's text."""
    for name, value in (("vcpus", vcpus), ("memory", memory)):
        require(
            value is None,
            f"{name} is not applicable for Fargate. Use resource requirements instead.",
            f"{path}.{name}",
        )


def with_platform_version(container: Json) -> Json:
    """The container as AWS gives it back: with the platform version that holds."""
    given = container.get("fargatePlatformConfiguration", {})
    return {**container, "fargatePlatformConfiguration": {"platformVersion": LATEST, **given}}


def _refuse(condition: object, name: str, path: str) -> None:
    require(not condition, f"{name} is not applicable for Fargate.", f"{path}.{name}")


def _check_among(allowed: Sequence[str], value: str, member: str) -> None:
    require(
        value in allowed,
        f"{value[:64]} is not applicable for Fargate. {member} must be {' or '.join(allowed)}.",
        member,
    )
