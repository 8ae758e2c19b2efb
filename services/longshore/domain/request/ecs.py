"""Checks of `ecsProperties`, the several containers of a job, and of what overrides make of them.

In AWS Batch's words these are the containers of one Amazon ECS task. Where AWS's own texts are not
known, the texts are ours.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from longshore.domain.checks import Json, check_role, require
from longshore.domain.environment import FARGATE
from longshore.domain.job.containers import (
    CONTAINERS_MAX,
    ContainerCondition,
    JobContainer,
    Need,
    loop_in,
)
from longshore.domain.limits import LONGSHORE, Limits
from longshore.domain.request.container import (
    LOG_NAME_MAX,
    check_environment,
    check_for_ec2,
    check_resources,
    check_settings,
    check_volumes,
    log_name,
    log_prefix,
    needs_of,
)
from longshore.domain.request.fargate import (
    LATEST,
    check_fargate_job,
    check_fargate_settings,
    check_fargate_size,
    check_platform_version,
)
from longshore.domain.request.merge import Overrides, check_length, merge_container
from longshore.domain.request.reference import command_bytes
from longshore.domain.resources import Resources

PATH = "ecsProperties"
OVERRIDE_PATH = "ecsPropertiesOverride"
TIMEOUT_MIN_SECONDS = 2
FARGATE_TIMEOUT_MAX_SECONDS = 120
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_IPC_MODES = ("host", "task", "none")
_PID_MODES = ("host", "task")
_CONDITIONS = tuple(str(condition) for condition in ContainerCondition)
#: As long as the id of any attempt.
_ATTEMPT_ID = "0" * 32


@dataclass(frozen=True, slots=True)
class ContainerOverrides:
    """What a submission changes in the container of a name."""

    name: str
    changes: Overrides


@dataclass(frozen=True, slots=True)
class EcsOverrides:
    """`ecsPropertiesOverride`, of its only entry of `taskProperties`."""

    containers: tuple[ContainerOverrides, ...] = ()


def check_ecs(
    properties: Json, platform: str, path: str = PATH, *, limits: Limits = LONGSHORE
) -> None:
    """Checks the containers of a job definition, or of a range of nodes.

    Raises:
        InvalidRequest: a member is wrong.
    """
    tasks = properties.get("taskProperties", [])
    member = f"{path}.taskProperties"
    require(len(tasks) == 1, f"{member} must have exactly one entry.", member)
    _check_task(tasks[0], platform, f"{member}[0]", limits)


def task_of(properties: Json) -> Json:
    """What runs: the only entry of `taskProperties`."""
    task: Json = properties["taskProperties"][0]
    return task


def _check_task(task: Json, platform: str, path: str, limits: Limits) -> None:
    containers: Sequence[Json] = task.get("containers", [])
    member = f"{path}.containers"
    require(
        1 <= len(containers) <= CONTAINERS_MAX,
        f"{member} must have 1 to {CONTAINERS_MAX} containers.",
        member,
    )
    _check_names(containers, member)
    is_fargate = platform == FARGATE
    if is_fargate:
        version = task.get("platformVersion", LATEST)
        check_fargate_job(task, path, version)
        check_platform_version(version, f"{path}.platformVersion")
    else:
        check_for_ec2(task, path)
        require(
            "platformVersion" not in task,
            "platformVersion not applicable for EC2.",
            f"{path}.platformVersion",
        )
    _check_modes(task, path, is_fargate=is_fargate)
    check_role(task.get("taskRoleArn"), f"{path}.taskRoleArn")
    check_role(task.get("executionRoleArn"), f"{path}.executionRoleArn")
    volumes = check_volumes(task, path)
    for index, container in enumerate(containers):
        name = f"{member}[{index}]"
        _check_container(container, name, volumes, limits, is_fargate=is_fargate)
    _check_dependencies(containers, member)
    needs = needs_of_task(task, path)
    if is_fargate:
        check_fargate_size(needs, member)


def _check_names(containers: Sequence[Json], path: str) -> None:
    seen: set[str] = set()
    for index, container in enumerate(containers):
        name, member = container.get("name", ""), f"{path}[{index}].name"
        require(
            _NAME.fullmatch(name), f"{member} must have 1 to 255 letters, digits, - and _.", member
        )
        require(name not in seen, f"{member}: the container name {name} is used twice.", member)
        seen.add(name)


def _check_modes(task: Json, path: str, *, is_fargate: bool) -> None:
    for name, modes in (("ipcMode", _IPC_MODES), ("pidMode", _PID_MODES)):
        mode, member = task.get(name), f"{path}.{name}"
        if mode is None:
            continue
        require(mode in modes, f"{member} must be one of {', '.join(modes)}.", member)
        fits = not is_fargate or (name == "pidMode" and mode == "task")
        require(fits, f"{name} {mode} is not applicable for Fargate.", member)


def _check_container(
    container: Json, path: str, volumes: Collection[str], limits: Limits, *, is_fargate: bool
) -> None:
    logging = container.get("logConfiguration", {})
    check_resources(
        container.get("resourceRequirements", []),
        f"{path}.resourceRequirements",
        with_fractions=is_fargate,
        limits=limits,
    )
    check_settings(container, path, volumes)
    if is_fargate:
        check_fargate_settings(container, path)
    prefix = log_prefix(logging.get("logDriver", ""), logging.get("options", {}))
    require(
        len(log_name(prefix, container["name"], _ATTEMPT_ID)) <= LOG_NAME_MAX,
        f"{path}.name and its awslogs-stream-prefix together are too long for a log's name, of at "
        f"most {LOG_NAME_MAX} characters.",
        f"{path}.name",
    )
    for name in ("startTimeout", "stopTimeout"):
        seconds = container.get(name)
        if seconds is None:
            continue
        member = f"{path}.{name}"
        require(
            seconds >= TIMEOUT_MIN_SECONDS,
            f"{member} must be at least {TIMEOUT_MIN_SECONDS} seconds.",
            member,
        )
        require(
            not is_fargate or seconds <= FARGATE_TIMEOUT_MAX_SECONDS,
            f"{member} must be at most {FARGATE_TIMEOUT_MAX_SECONDS} seconds for Fargate.",
            member,
        )


def _check_dependencies(containers: Sequence[Json], path: str) -> None:
    essential = {container["name"]: container.get("essential", True) for container in containers}
    require(any(essential.values()), f"{path}: at least one container must be essential.", path)
    for index, container in enumerate(containers):
        seen: set[str] = set()
        for position, need in enumerate(container.get("dependsOn", [])):
            member = f"{path}[{index}].dependsOn[{position}]"
            other, condition = need.get("containerName", ""), need.get("condition", "")
            require(
                other in essential,
                f"{member}.containerName is {other[:255]!r}, which is not the name of a container.",
                f"{member}.containerName",
            )
            require(
                condition in _CONDITIONS,
                f"{member}.condition must be one of {', '.join(_CONDITIONS)}.",
                f"{member}.condition",
            )
            require(
                condition == ContainerCondition.START or not essential[other],
                f"{member}: the condition {condition} can't be set on an essential container, "
                f"which {other} is.",
                f"{member}.condition",
            )
            require(
                other not in seen, f"{member}: {other} is named twice.", f"{member}.containerName"
            )
            seen.add(other)
    circle = loop_in(members_of(containers))
    require(
        not circle,
        f"{path} depend on each other in a circle: {' -> '.join([*circle, *circle[:1]])}.",
        path,
    )


def members_of(containers: Sequence[Json]) -> list[JobContainer]:
    """Containers as their order is decided by."""
    return [
        JobContainer(
            container["name"],
            container.get("essential", True),
            tuple(
                Need(need["containerName"], ContainerCondition(need["condition"]))
                for need in container.get("dependsOn", [])
            ),
            timedelta(seconds=container["startTimeout"]) if "startTimeout" in container else None,
        )
        for container in containers
    ]


def needs_of_task(task: Json, path: str = f"{PATH}.taskProperties[0]") -> Resources:
    """What an attempt takes: all its containers together."""
    needs = [
        needs_of(container, f"{path}.containers[{index}]", of_several=True)
        for index, container in enumerate(task["containers"])
    ]
    return Resources(
        sum(need.vcpu_milli for need in needs),
        sum(need.memory_mib for need in needs),
        sum(need.gpus for need in needs),
    )


def kept_ecs(properties: Json, platform: str) -> Json:
    """The form in which the containers are stored; variables without a value are dropped."""
    task = {
        **task_of(properties),
        "containers": [
            {
                **container,
                "environment": [v for v in container.get("environment", []) if v.get("value")],
            }
            for container in task_of(properties)["containers"]
        ],
    }
    if platform == FARGATE:
        task.setdefault("platformVersion", LATEST)
    return {"taskProperties": [task]}


def check_ecs_overrides(
    overrides: EcsOverrides, path: str = OVERRIDE_PATH, *, limits: Limits = LONGSHORE
) -> None:
    """Checks what can be checked without the definition.

    Raises:
        InvalidRequest: the first member found wrong.
    """
    seen: set[str] = set()
    for index, given in enumerate(overrides.containers):
        member = f"{path}.taskProperties[0].containers[{index}]"
        require(given.name, f"{member}.name is required.", f"{member}.name")
        require(
            given.name not in seen,
            f"{member}.name: {given.name[:255]} is named twice.",
            f"{member}.name",
        )
        seen.add(given.name)
        check_resources(
            given.changes.resource_requirements,
            f"{member}.resourceRequirements",
            with_fractions=True,
        )
        check_environment(given.changes.environment, f"{member}.environment")
    check_length((given.changes for given in overrides.containers), path, limits)


def resolve_ecs(
    properties: Json,
    overrides: EcsOverrides | None,
    parameters: Mapping[str, str],
    platform: str,
    path: str = OVERRIDE_PATH,
    *,
    limits: Limits = LONGSHORE,
) -> tuple[Json, Resources]:
    """The containers that run, and what they need together.

    Args:
        properties: of the definition; not changed.
        overrides: of the submission.
        parameters: of the definition and the submission, merged already.
        platform: that the definition is for.
        path: of the overrides, for error texts.
        limits: what a submission may ask for.

    Raises:
        InvalidRequest: an override names no container, a placeholder has no parameter, or resources
            are not what the platform has.
    """
    task = task_of(properties)
    changes: dict[str, tuple[Overrides, str]] = {}
    names = {container["name"] for container in task["containers"]}
    for index, given in enumerate((overrides or EcsOverrides()).containers):
        member = f"{path}.taskProperties[0].containers[{index}]"
        require(
            given.name in names,
            f"{member}.name is {given.name[:255]!r}, which is not the name of a container of the "
            "job definition.",
            f"{member}.name",
        )
        if platform != FARGATE:
            check_resources(
                given.changes.resource_requirements,
                f"{member}.resourceRequirements",
                limits=limits,
            )
        changes[given.name] = given.changes, member
    merged: list[Json] = []
    taken = 0
    for container in task["containers"]:
        own, member = changes.get(container["name"], (None, f"{path}.taskProperties"))
        merged.append(merge_container(container, own, parameters, member, taken))
        taken += command_bytes(merged[-1].get("command", ()))
    resolved = {**task, "containers": merged}
    needs = needs_of_task(resolved)
    if platform == FARGATE:
        check_fargate_size(needs, f"{path}.taskProperties")
    return {"taskProperties": [resolved]}, needs
