"""Checks of job definitions, and the form in which they are stored."""

from longshore.domain.environment import EC2, FARGATE, platform_of
from longshore.domain.validation import (
    Json,
    check_name,
    check_priority,
    check_propagation,
    check_retry,
    check_tags,
    check_timeout,
    require,
    unsupported,
)
from longshore.domain.validation_container import check_container
from longshore.domain.validation_fargate import with_platform_version

_KEPT = (
    "parameters",
    "schedulingPriority",
    "containerProperties",
    "retryStrategy",
    "timeout",
    "platformCapabilities",
)
_UNSUPPORTED = ("ecsProperties", "eksProperties", "nodeProperties")


def new_definition(request: Json) -> Json:
    """What a RegisterJobDefinition request stores; variables without a value are dropped.

    Raises:
        InvalidRequest: a member is wrong.
        Unimplemented: it asks for a kind that longshore does not do.
    """
    check_name(request["jobDefinitionName"], "jobDefinitionName")
    check_tags(request.get("tags", {}))
    for name in _UNSUPPORTED:
        if name in request:
            raise unsupported(name, ": use containerProperties")
    if request["type"] != "container":
        raise unsupported("type", f" with the value {request['type']}: use container")
    if request.get("consumableResourceProperties", {}).get("consumableResourceList"):
        raise unsupported("consumableResourceProperties")
    require(
        "containerProperties" in request,
        "containerProperties is required for type container.",
        "containerProperties",
    )
    capabilities = request.get("platformCapabilities", [])
    if capabilities not in ([], [EC2], [FARGATE]):
        raise unsupported(
            "platformCapabilities", f" with the value {capabilities}: use EC2 or FARGATE"
        )
    platform = platform_of(request)
    check_priority(request.get("schedulingPriority"), "schedulingPriority")
    check_retry(request.get("retryStrategy"))
    check_timeout(request.get("timeout"))
    check_propagation(request.get("propagateTags"))
    container: Json = dict(request["containerProperties"])
    check_container(container, platform=platform)
    if platform == FARGATE:
        container = with_platform_version(container)
    if "environment" in container:
        container["environment"] = [v for v in container["environment"] if v.get("value")]
    detail = {name: request[name] for name in _KEPT if name in request}
    return {**detail, "containerProperties": container}
