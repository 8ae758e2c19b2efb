"""Overrides of a submission over the container of its definition."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from longshore.domain.checks import Json, require
from longshore.domain.errors import InvalidRequest
from longshore.domain.limits import Limits
from longshore.domain.request.reference import command_bytes, substitute

#: Variables that AWS Batch sets itself; those of a user's are dropped without an error, as AWS
#: does.
RESERVED_VARIABLES = "AWS_BATCH"


@dataclass(frozen=True, slots=True)
class Overrides:
    """`containerOverrides`; an empty list or None leaves the definition's."""

    command: tuple[str, ...] = ()
    environment: tuple[Json, ...] = ()
    resource_requirements: tuple[Json, ...] = ()
    vcpus: int | None = None
    memory: int | None = None
    #: For nodes of multi-node jobs.
    instance_type: str | None = None


def check_length(overrides: Iterable[Overrides], path: str, limits: Limits) -> None:
    """Checks how much a submission changes of the containers of one task, in AWS's words.

    Raises:
        InvalidRequest: it is too much.
    """
    size = 0
    for given in overrides:
        size += command_bytes(given.command)
        for variable in given.environment:
            size += command_bytes([variable.get("name", ""), variable.get("value", "")])
    most = limits.overrides_bytes_max
    require(size <= most, f"Container Overrides length must be at most {most}", path)


def merge_container(
    container: Json,
    overrides: Overrides | None,
    parameters: Mapping[str, str],
    path: str = "containerOverrides",
    taken: int = 0,
) -> Json:
    """The container that runs: overrides merged, then placeholders of the command replaced.

    Args:
        container: of the definition; not changed.
        overrides: of the submission.
        parameters: of the definition and the submission, merged already.
        path: of the overrides, for error texts.
        taken: bytes that the commands of the job's other containers take.

    Raises:
        InvalidRequest: a placeholder has no parameter, or the command becomes too long.
    """
    merged = dict(container)
    overrides = overrides or Overrides()
    if any(element == "" for element in overrides.command):
        raise InvalidRequest(f"{path}.command has an empty string.", member=f"{path}.command")
    command = overrides.command or container.get("command", ())
    if command:
        merged["command"] = substitute(command, parameters, taken)
    environment = _by_key(container.get("environment", ()), overrides.environment, "name")
    environment = [v for v in environment if not v["name"].startswith(RESERVED_VARIABLES)]
    requirements = _by_key(
        container.get("resourceRequirements", ()), overrides.resource_requirements, "type"
    )
    for name, values in (("environment", environment), ("resourceRequirements", requirements)):
        if values:
            merged[name] = values
        else:
            merged.pop(name, None)
    if overrides.instance_type:
        merged["instanceType"] = overrides.instance_type
    _merge_deprecated(merged, container, overrides)
    return merged


def _by_key(below: Iterable[Json], above: Iterable[Json], key: str) -> list[Json]:
    """Entries of both by one member, in order of first mention; those above win."""
    return list(({entry[key]: entry for entry in below} | {e[key]: e for e in above}).values())


def _merge_deprecated(merged: Json, container: Json, overrides: Overrides) -> None:
    """Deprecated members override their like; resource requirements they leave alone."""
    stated = {entry["type"] for entry in container.get("resourceRequirements", ())}
    if overrides.vcpus is not None and "VCPU" not in stated:
        merged["vcpus"] = overrides.vcpus
    if overrides.memory is not None and "MEMORY" not in stated:
        merged["memory"] = overrides.memory
