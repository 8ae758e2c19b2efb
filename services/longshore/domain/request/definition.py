"""Checks of job definitions, and the form in which they are stored."""

from longshore.domain.checks import (
    Json,
    check_name,
    check_priority,
    check_retry,
    check_tags,
    check_timeout,
    require,
    unsupported,
)
from longshore.domain.environment import EC2, FARGATE, platform_of
from longshore.domain.limits import LONGSHORE, Limits
from longshore.domain.request.consumable import PROPERTIES, properties_of
from longshore.domain.request.container import check_container
from longshore.domain.request.ecs import check_ecs, kept_ecs
from longshore.domain.request.fargate import with_platform_version
from longshore.domain.request.node_properties import check_nodes, with_consumables

_KEPT = (
    "parameters",
    "schedulingPriority",
    "containerProperties",
    "ecsProperties",
    "nodeProperties",
    "retryStrategy",
    "timeout",
    "platformCapabilities",
    "propagateTags",
)
#: What each type of definition is described by: exactly one of these.
_DESCRIBED_BY = {
    "container": ("containerProperties", "ecsProperties"),
    "multinode": ("nodeProperties",),
}


def new_definition(request: Json, limits: Limits = LONGSHORE) -> Json:
    """What a RegisterJobDefinition request stores; variables without a value are dropped.

    Raises:
        InvalidRequest: a member is wrong.
        Unimplemented: it asks for a kind that longshore does not do.
    """
    check_name(request["jobDefinitionName"], "jobDefinitionName")
    check_tags(request.get("tags", {}))
    _check_kind(request)
    if len(request.get("platformCapabilities", [])) > 1:
        raise unsupported("platformCapabilities", " with two values: use EC2 or FARGATE")
    platform = platform_of(request)
    check_priority(request.get("schedulingPriority"), "schedulingPriority")
    check_retry(request.get("retryStrategy"))
    check_timeout(request.get("timeout"), limits)
    detail = {name: request[name] for name in _KEPT if name in request}
    if needed := properties_of(request.get(PROPERTIES, {}), PROPERTIES):
        detail[PROPERTIES] = needed
    if request["type"] == "multinode":
        properties = with_consumables(request["nodeProperties"])
        check_nodes(properties, platform, limits)
        return {**detail, "nodeProperties": _kept_nodes(properties)}
    if "ecsProperties" in request:
        check_ecs(request["ecsProperties"], platform, limits=limits)
        return {**detail, "ecsProperties": kept_ecs(request["ecsProperties"], platform)}
    container: Json = request["containerProperties"]
    check_container(container, platform=platform, limits=limits)
    if platform == FARGATE:
        container = with_platform_version(container)
    return {**detail, "containerProperties": _kept_container(container)}


def _check_kind(request: Json) -> None:
    """Checks that a definition is described by what its type asks for, and nothing else."""
    kind = request["type"]
    wanted = _DESCRIBED_BY[kind]
    for other, names in _DESCRIBED_BY.items():
        for name in names:
            require(
                other == kind or name not in request,
                f"{name} is for job definitions of type {other}, not {kind}.",
                name,
            )
    given = [name for name in wanted if name in request]
    require(given, f"{' or '.join(wanted)} is required for type {kind}.", wanted[0])
    require(len(given) == 1, f"{' and '.join(given)} must not both be given.", given[-1])


def _kept_container(container: Json) -> Json:
    if "environment" not in container:
        return container
    return {**container, "environment": [v for v in container["environment"] if v.get("value")]}


def _kept_nodes(properties: Json) -> Json:
    return {
        **properties,
        "nodeRangeProperties": [
            {**entry, "ecsProperties": kept_ecs(entry["ecsProperties"], EC2)}
            if "ecsProperties" in entry
            else {**entry, "container": _kept_container(entry["container"])}
            for entry in properties["nodeRangeProperties"]
        ],
    }
