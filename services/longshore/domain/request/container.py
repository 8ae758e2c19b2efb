"""Checks of a job definition's container, and of the parts that overrides share with it."""

import posixpath
import re
from collections.abc import Collection, Mapping, Sequence

from longshore.domain.checks import (
    INT32_MAX,
    Json,
    check_role,
    parse_integer,
    require,
)
from longshore.domain.environment import EC2, FARGATE
from longshore.domain.errors import InvalidRequest
from longshore.domain.limits import LONGSHORE, Limits
from longshore.domain.log_group import GROUP, GROUP_OPTION, KEPT_DRIVERS
from longshore.domain.request.fargate import check_fargate_container, check_fargate_size
from longshore.domain.request.log import check_driver
from longshore.domain.resources import Resources
from longshore.domain.secret import parse_login, parse_secret

MEMORY_MIN_MIB = 4
#: vCPUs with a part.
_FRACTION = re.compile(r"[0-9]{0,4}\.[0-9]{1,3}")
_IMAGE = re.compile(r"[A-Za-z0-9@:._/#-]{1,255}")
_FILE_SYSTEM = re.compile(r"fs-[0-9A-Za-z-]{1,64}")
#: Characters of an EFS volume's rootDirectory.
_ROOT_MAX = 4096
_VOLUME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_ACCOUNT_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}"
_USER = re.compile(rf"{_ACCOUNT_NAME}(:{_ACCOUNT_NAME})?")
_ULIMITS = frozenset(
    [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ]
)
_MOUNT_OPTIONS = frozenset(
    [
        "defaults",
        "ro",
        "rw",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "exec",
        "noexec",
        "sync",
        "async",
        "dirsync",
        "remount",
        "mand",
        "nomand",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "bind",
        "rbind",
        "unbindable",
        "runbindable",
        "private",
        "rprivate",
        "shared",
        "rshared",
        "slave",
        "rslave",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
        "mode",
        "uid",
        "gid",
        "nr_inodes",
        "nr_blocks",
        "mpol",
    ]
)
#: Those of them that have a value.
_VALUED_MOUNT_OPTIONS = frozenset(["mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"])
#: What stands first in the name of an attempt's log, in place of the definition's name.
LOG_PREFIX_OPTION = "awslogs-stream-prefix"
#: CloudWatch's names have at most 512 characters; `/default/` and an attempt's id are part of them.
LOG_NAME_MAX = 512
LOG_PREFIX_MAX = LOG_NAME_MAX - len("/default/") - 32
_LOG_PREFIX = re.compile(rf"[^:*\x00-\x1f\x7f]{{1,{LOG_PREFIX_MAX}}}")
_REQUIREMENTS = "resourceRequirements"
#: Members that AWS has for Fargate alone.
_FARGATE_ONLY = (
    "networkConfiguration",
    "fargatePlatformConfiguration",
    "ephemeralStorage",
    "runtimePlatform",
)


def check_container(
    container: Json,
    path: str = "containerProperties",
    platform: str = EC2,
    *,
    of_node: bool = False,
    limits: Limits = LONGSHORE,
) -> None:
    """Checks the container of a job definition for a platform.

    `of_node` allows what only nodes of multi-node jobs may have.
    """
    require(
        of_node or not container.get("instanceType"),
        "instanceType is for multi-node jobs alone.",
        f"{path}.instanceType",
    )
    is_fargate = platform == FARGATE
    check_resources(
        container.get("resourceRequirements", []),
        f"{path}.resourceRequirements",
        with_fractions=is_fargate,
        limits=limits,
    )
    if is_fargate:
        check_fargate_container(container, path)
        check_fargate_size(needs_of(container, path), f"{path}.resourceRequirements")
    else:
        check_for_ec2(container, path)
        needs_of(container, path)
    check_role(container.get("jobRoleArn"), f"{path}.jobRoleArn")
    check_role(container.get("executionRoleArn"), f"{path}.executionRoleArn")
    check_settings(container, path, check_volumes(container, path))


def check_for_ec2(properties: Json, path: str) -> None:
    """Refuses members that AWS has for Fargate alone."""
    for name in _FARGATE_ONLY:
        require(name not in properties, f"{name} not applicable for EC2.", f"{path}.{name}")


def check_settings(container: Json, path: str, volumes: Collection[str]) -> None:
    """Checks what says how a container runs, apart from what it needs and its roles.

    Args:
        container: a job's only one, or one of several.
        path: to its members, for error texts.
        volumes: names of those that it may mount.
    """
    image = container.get("image", "")
    require(image, f"{path}.image is required.", f"{path}.image")
    require(
        _IMAGE.fullmatch(image),
        f"{path}.image must have 1 to 255 letters, digits and the characters - _ : . / # @.",
        f"{path}.image",
    )
    check_environment(container.get("environment", []), f"{path}.environment")
    _check_secrets(container, path)
    user = container.get("user", "")
    require(
        not user or _USER.fullmatch(user), f"User '{user}' does not match regex", f"{path}.user"
    )
    taken = _check_mounts(container, path, volumes)
    _check_ulimits(container.get("ulimits", []), f"{path}.ulimits")
    _check_linux(container.get("linuxParameters", {}), f"{path}.linuxParameters", taken)
    _check_log(container.get("logConfiguration", {}), f"{path}.logConfiguration")


def log_prefix(driver: str, options: Mapping[str, str]) -> str:
    """What a log configuration has for the first part of a log's name; empty: nothing."""
    if driver not in KEPT_DRIVERS:
        return ""
    # Whatever a definition had before it was checked, a name stays one that can be stored.
    return options.get(LOG_PREFIX_OPTION, "")[:LOG_PREFIX_MAX]


def log_name(prefix: str, container: str, attempt_id: str) -> str:
    """The name of the log of a container in an attempt."""
    return f"{prefix}/{container}/{attempt_id}"


def _check_log(configuration: Json, path: str) -> None:
    check_driver(configuration, path)
    member = f"{path}.options.{LOG_PREFIX_OPTION}"
    prefix = configuration.get("options", {}).get(LOG_PREFIX_OPTION)
    require(
        prefix is None or _LOG_PREFIX.fullmatch(prefix),
        f"{member} must have 1 to {LOG_PREFIX_MAX} characters, none of them : or * or a control "
        "character.",
        member,
    )
    member = f"{path}.options.{GROUP_OPTION}"
    group = configuration.get("options", {}).get(GROUP_OPTION)
    require(
        group is None or GROUP.fullmatch(group),
        f"{member} must have 1 to 512 letters, digits and . - _ / #, and not begin with aws/.",
        member,
    )


def check_resources(
    requirements: Sequence[Json],
    path: str,
    *,
    with_fractions: bool = False,
    limits: Limits = LONGSHORE,
) -> None:
    """Checks a list of resource requirements, each type at most once.

    `with_fractions` allows all parts of a vCPU, for Fargate, whose sizes say later which there are.
    """
    step_milli = 1 if with_fractions else limits.vcpu_step_milli
    seen = set()
    for index, requirement in enumerate(requirements):
        kind, text, member = requirement["type"], requirement["value"], f"{path}[{index}].value"
        require(kind not in seen, f"{path} has more than one entry of type {kind}.", path)
        seen.add(kind)
        if kind == "VCPU" and _is_part(text, step_milli):
            continue
        value = parse_integer(text)
        smallest = MEMORY_MIN_MIB if kind == "MEMORY" else 1
        what = f"a whole number from {smallest} to {INT32_MAX}"
        if kind == "VCPU" and with_fractions:
            what += ", or such a part of one as its platform has"
        elif kind == "VCPU" and step_milli < 1000:
            what += f", or below 10000 a multiple of {step_milli / 1000:g}"
        require(
            value is not None and value >= smallest,
            f"{member} is {text[:64]!r}; {kind} must be {what}.",
            member,
        )


def _is_part(text: str, step_milli: int) -> bool:
    """Whether a number of vCPUs has a part that may be asked for."""
    if step_milli == 1000 or _FRACTION.fullmatch(text) is None:
        return False
    milli = round(float(text) * 1000)
    return milli > 0 and milli % step_milli == 0


def needs_of(
    container: Json, path: str = "containerProperties", *, of_several: bool = False
) -> Resources:
    """What an attempt takes: resource requirements first, then the deprecated pair.

    `of_several`: it is one of several containers, which have no such pair.

    Raises:
        InvalidRequest: there is no vCPU or memory, or too little.
    """
    given = {r["type"]: float(r["value"]) for r in container.get("resourceRequirements", [])}
    vcpus = given.get("VCPU", container.get("vcpus"))
    memory_mib = given.get("MEMORY", container.get("memory"))
    if vcpus is None:
        name = _REQUIREMENTS if of_several else "vcpus"
        raise InvalidRequest("vCPU is not provided.", member=f"{path}.{name}")
    if memory_mib is None:
        name = _REQUIREMENTS if of_several else "memory"
        raise InvalidRequest("Memory is not provided.", member=f"{path}.{name}")
    require(vcpus > 0, f"vcpus is {vcpus}; it must be at least 1.", f"{path}.vcpus")
    require(
        memory_mib >= MEMORY_MIN_MIB,
        f"memory is {memory_mib}; it must be at least {MEMORY_MIN_MIB} MiB.",
        f"{path}.memory",
    )
    return Resources(round(vcpus * 1000), int(memory_mib), int(given.get("GPU", 0)))


def check_environment(environment: Sequence[Json], path: str) -> None:
    """Checks names of environment variables."""
    for index, variable in enumerate(environment):
        name = variable.get("name", "")
        good = name and "=" not in name and "\0" not in name + variable.get("value", "")
        require(
            good,
            f"{path}[{index}] needs a name without = and no NUL character.",
            f"{path}[{index}].name",
        )


def _check_secrets(container: Json, path: str) -> None:
    """Checks where secrets lie, and that nothing else has their names (Amazon ECS API, Secret)."""
    log = container.get("logConfiguration", {})
    _check_secret_names(
        container.get("secrets", []),
        {variable.get("name") for variable in container.get("environment", [])},
        f"{path}.secrets",
    )
    _check_secret_names(
        log.get("secretOptions", []),
        set(log.get("options", {})),
        f"{path}.logConfiguration.secretOptions",
    )
    if "repositoryCredentials" in container:
        member = f"{path}.repositoryCredentials.credentialsParameter"
        parse_login(container["repositoryCredentials"]["credentialsParameter"], member=member)


def _check_secret_names(secrets: Sequence[Json], taken: set[str | None], path: str) -> None:
    for index, secret in enumerate(secrets):
        name, member = secret["name"], f"{path}[{index}]"
        require(
            name and "=" not in name and "\0" not in name,
            f"{member} needs a name without = and no NUL character.",
            f"{member}.name",
        )
        require(
            name not in taken,
            "The secret name must be unique and not shared with any new or existing environment "
            f"variables set on the container, such as '{name[:255]}'.",
            f"{member}.name",
        )
        taken.add(name)
        parse_secret(secret["valueFrom"], member=f"{member}.valueFrom")


def check_volumes(properties: Json, path: str) -> set[str]:
    """Checks volumes, and returns their names."""
    names: set[str] = set()
    for index, volume in enumerate(properties.get("volumes", [])):
        member = f"{path}.volumes[{index}]"
        name = volume.get("name", "")
        require(
            _VOLUME.fullmatch(name),
            f"{member}.name must have 1 to 255 letters, digits, - and _.",
            f"{member}.name",
        )
        require(name not in names, f"{path}.volumes names {name!r} twice.", f"{member}.name")
        names.add(name)
        if source := volume.get("host", {}).get("sourcePath", ""):
            _check_path(source, f"{member}.host.sourcePath")
        if "efsVolumeConfiguration" in volume:
            require(
                "host" not in volume,
                f"{member} has both host and efsVolumeConfiguration; give one of them.",
                member,
            )
            _check_efs(volume["efsVolumeConfiguration"], f"{member}.efsVolumeConfiguration")
    return names


def _check_mounts(container: Json, path: str, names: Collection[str]) -> set[str]:
    """Checks what is mounted; returns where."""
    taken: set[str] = set()
    for index, mount in enumerate(container.get("mountPoints", [])):
        member = f"{path}.mountPoints[{index}]"
        source = mount.get("sourceVolume", "")
        require(
            source in names,
            f"{member}.sourceVolume is {source[:255]!r}, which is not the name of a volume.",
            f"{member}.sourceVolume",
        )
        _take(mount.get("containerPath", ""), f"{member}.containerPath", taken)
    return taken


def _take(target: str, member: str, taken: set[str]) -> None:
    """Checks where something is mounted: each place has one thing, however its path is written."""
    _check_path(target, member)
    place = "/" + posixpath.normpath(target).strip("/")
    require(place != "/", f"{member} must not be the container's root.", member)
    require(place not in taken, f"{member} is {target[:64]!r}, where something is mounted.", member)
    taken.add(place)


def _check_efs(volume: Json, member: str) -> None:
    """Checks a volume on a file system of the network, which the engine mounts by NFS alone."""
    file_system = volume["fileSystemId"]
    require(
        _FILE_SYSTEM.fullmatch(file_system),
        f"{member}.fileSystemId is {file_system[:64]!r}; it must be fs- and up to 64 letters, "
        "digits and -.",
        f"{member}.fileSystemId",
    )
    root = volume.get("rootDirectory", "/")
    require(
        root.startswith("/") and "\0" not in root and len(root) <= _ROOT_MAX,
        f"{member}.rootDirectory must be an absolute path of up to {_ROOT_MAX} characters.",
        f"{member}.rootDirectory",
    )


def _check_path(path: str, member: str) -> None:
    require(
        path.startswith("/") and ":" not in path and "\0" not in path,
        f"{member} must be an absolute path without a colon.",
        member,
    )


def _check_mount_option(option: str, member: str) -> None:
    """Checks one option: they are put together with commas, so one may not hold several."""
    name, equals, _ = option.partition("=")
    require(
        name in _MOUNT_OPTIONS and "," not in option and "\0" not in option,
        f"{member} has an unknown option: {option[:64]!r}.",
        member,
    )
    require(
        not equals or name in _VALUED_MOUNT_OPTIONS,
        f"{member} has {option[:64]!r}, but {name} takes no value.",
        member,
    )


def _check_ulimits(ulimits: Sequence[Json], path: str) -> None:
    seen = set()
    for index, ulimit in enumerate(ulimits):
        member, name = f"{path}[{index}]", ulimit["name"]
        require(name in _ULIMITS, f"{member}.name is no ulimit: {name[:64]!r}.", f"{member}.name")
        require(name not in seen, f"{path} has {name} twice.", f"{member}.name")
        seen.add(name)
        soft, hard = ulimit["softLimit"], ulimit["hardLimit"]
        unlimited = hard == -1
        require(
            soft >= -1 and hard >= -1 and (unlimited or 0 <= soft <= hard),
            f"{member} needs softLimit at most hardLimit; -1 is without limit.",
            f"{member}.softLimit",
        )


def _check_linux(linux: Json, path: str, taken: set[str]) -> None:
    for index, device in enumerate(linux.get("devices", [])):
        member = f"{path}.devices[{index}]"
        _check_path(device["hostPath"], f"{member}.hostPath")
        _check_path(device.get("containerPath", device["hostPath"]), f"{member}.containerPath")
    for index, tmpfs in enumerate(linux.get("tmpfs", [])):
        member = f"{path}.tmpfs[{index}]"
        _take(tmpfs["containerPath"], f"{member}.containerPath", taken)
        require(tmpfs["size"] >= 1, f"{member}.size must be at least 1 MiB.", f"{member}.size")
        for option in tmpfs.get("mountOptions", []):
            _check_mount_option(option, f"{member}.mountOptions")
    shared = linux.get("sharedMemorySize")
    require(
        shared is None or shared >= 1,
        f"{path}.sharedMemorySize must be at least 1 MiB.",
        f"{path}.sharedMemorySize",
    )
    require(linux.get("maxSwap", 0) >= 0, f"{path}.maxSwap must be 0 or more.", f"{path}.maxSwap")
    require(
        0 <= linux.get("swappiness", 0) <= 100,
        f"{path}.swappiness must be from 0 to 100.",
        f"{path}.swappiness",
    )
