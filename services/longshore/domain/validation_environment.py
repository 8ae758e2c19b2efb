"""Checks of compute environments: created, and changed by a partial update."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import replace

from longshore.domain.catalogue import Catalogue, known
from longshore.domain.environment import ENVIRONMENT_HEALTHY, ComputeEnvironment
from longshore.domain.errors import InvalidRequest, PreconditionFailed
from longshore.domain.validation import (
    INT32_MAX,
    Json,
    check_count,
    check_name,
    check_tags,
    require,
    unsupported,
)

#: Members of computeResources that have a column of their own.
_COLUMNS = ("type", "minvCpus", "maxvCpus", "desiredvCpus")
#: Members that an update removes by an empty string.
_REMOVABLE = ("ec2KeyPair", "imageId", "placementGroup")
_DEFAULT_INSTANCE_TYPES = ["optimal"]
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/\S{1,512}|[\w+=,.@/-]{1,128}")
_PROFILE = re.compile(
    r"arn:aws[a-z-]*:iam::[0-9]{12}:instance-profile/\S{1,512}|[\w+=,.@/-]{1,128}"
)
_FORMS = {
    "subnets": re.compile(r"subnet-[0-9a-zA-Z]{1,32}"),
    "securityGroupIds": re.compile(r"sg-[0-9a-zA-Z]{1,32}"),
    "imageId": re.compile(r"ami-[0-9a-zA-Z]{1,32}"),
    "ec2KeyPair": re.compile(r"[\x20-\x7e]{1,255}"),
    "placementGroup": re.compile(r"[\x20-\x7e]{1,255}"),
    "instanceRole": _PROFILE,
    "spotIamFleetRole": _ROLE,
}
_SPOT_STRATEGIES = frozenset(
    {
        "SPOT_CAPACITY_OPTIMIZED",
        "SPOT_PRICE_CAPACITY_OPTIMIZED",
        "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED",
    }
)
_DESIRED_LOWERED = (
    "Manually scaling down compute environment is not supported. Disconnecting job queues from "
    "compute environment will cause it to scale-down to minvCpus."
)


def new_environment(request: Json, environment_id: uuid.UUID) -> ComputeEnvironment:
    """What a CreateComputeEnvironment request makes.

    Raises:
        InvalidRequest: a member is wrong.
        Unimplemented: it asks for a kind that longshore does not do.
    """
    name, kind = request["computeEnvironmentName"], request["type"]
    check_name(name, "computeEnvironmentName")
    tags: Mapping[str, str] = request.get("tags", {})
    check_tags(tags)
    require(
        request.get("state", "ENABLED") == "ENABLED",
        "A compute environment must be created ENABLED.",
        "state",
    )
    managed = kind == "MANAGED"
    resources = request.get("computeResources")
    if managed:
        require(resources, "computeResources is required for type MANAGED.", "computeResources")
    else:
        require(
            resources is None, "computeResources is for type MANAGED alone.", "computeResources"
        )
    environment = ComputeEnvironment(
        name=name,
        uuid=environment_id,
        type=kind,
        state="ENABLED",
        status="VALID",
        status_reason=ENVIRONMENT_HEALTHY,
        detail=_top_level(request),
        resource_type=None,
        minv_cpus=None,
        maxv_cpus=None,
        desiredv_cpus=None,
        unmanagedv_cpus=request.get("unmanagedvCpus"),
        tags=tags,
    )
    if resources:
        environment = _with_resources(
            environment, {"instanceTypes": _DEFAULT_INSTANCE_TYPES, **resources}
        )
    _check(environment)
    _check_desired(request, environment)
    return environment


def updated_environment(environment: ComputeEnvironment, request: Json) -> ComputeEnvironment:
    """What an UpdateComputeEnvironment request makes of one: absent members stay.

    Raises:
        InvalidRequest: a member is wrong, or the whole would be.
        PreconditionFailed: the compute environment is being deleted.
    """
    if environment.status == "DELETING":
        raise PreconditionFailed("Cannot update, resource is being modified.")
    changed = replace(
        environment,
        state=request.get("state", environment.state),
        detail={**environment.detail, **_top_level(request)},
        unmanagedv_cpus=request.get("unmanagedvCpus", environment.unmanagedv_cpus),
    )
    update: Json = request.get("computeResources", {})
    if update:
        require(
            environment.type == "MANAGED",
            "computeResources is for type MANAGED alone.",
            "computeResources",
        )
        present = environment.desiredv_cpus or 0
        require(
            update.get("desiredvCpus", present) >= present,
            _DESIRED_LOWERED,
            "computeResources.desiredvCpus",
        )
        changed = _with_resources(changed, {**compute_resources(environment), **update})
    _check(changed)
    _check_desired(request, changed)
    return changed


def compute_resources(environment: ComputeEnvironment) -> Json:
    """The whole of computeResources, columns and detail."""
    columns = (
        environment.resource_type,
        environment.minv_cpus,
        environment.maxv_cpus,
        environment.desiredv_cpus,
    )
    stored: Json = environment.detail.get("computeResources", {})
    return {**stored, **dict(zip(_COLUMNS, columns, strict=True))}


def _top_level(request: Json) -> Json:
    if "eksConfiguration" in request:
        raise unsupported("eksConfiguration")
    insights = request.get("ecsSettings", {}).get("containerInsights", "DISABLED")
    if insights != "DISABLED":
        raise unsupported("ecsSettings.containerInsights", ": use longshore's own metrics")
    if request.get("updatePolicy", {}).get("terminateJobsOnUpdate"):
        raise unsupported("updatePolicy.terminateJobsOnUpdate")
    names = ("serviceRole", "context", "ecsSettings", "updatePolicy")
    kept = {name: request[name] for name in names if name in request}
    if "serviceRole" in kept:
        require(_ROLE.fullmatch(kept["serviceRole"]), "serviceRole is no role.", "serviceRole")
    if "jobExecutionTimeoutMinutes" in kept.get("updatePolicy", {}):
        minutes = int(kept["updatePolicy"]["jobExecutionTimeoutMinutes"])
        require(
            1 <= minutes <= 7200,
            "updatePolicy.jobExecutionTimeoutMinutes must be from 1 to 7200.",
            "updatePolicy.jobExecutionTimeoutMinutes",
        )
        kept["updatePolicy"] = {**kept["updatePolicy"], "jobExecutionTimeoutMinutes": minutes}
    return kept


def _with_resources(environment: ComputeEnvironment, resources: Json) -> ComputeEnvironment:
    """The compute environment with all of computeResources put in its place."""
    stored = {name: value for name, value in resources.items() if name not in _COLUMNS}
    stored.pop("updateToLatestImageVersion", None)  # images have a meaning inside AWS alone
    for name in _REMOVABLE:
        if stored.get(name) == "":
            del stored[name]
    template = stored.get("launchTemplate", {})
    if "" in (template.get("launchTemplateId"), template.get("launchTemplateName")):
        del stored["launchTemplate"]
    if stored.get("scalingPolicy", {}).get("minScaleDownDelayMinutes") == 0:
        del stored["scalingPolicy"]
    minimum = resources.get("minvCpus", 0)
    return replace(
        environment,
        detail={**environment.detail, "computeResources": stored},
        resource_type=resources["type"],
        minv_cpus=minimum,
        maxv_cpus=resources["maxvCpus"],
        desiredv_cpus=resources.get("desiredvCpus", minimum),
    )


def _check(environment: ComputeEnvironment) -> None:
    if environment.unmanagedv_cpus is not None:
        require(
            environment.type == "UNMANAGED" and environment.unmanagedv_cpus >= 0,
            "unmanagedvCpus is for type UNMANAGED alone and not below 0.",
            "unmanagedvCpus",
        )
    if environment.type == "MANAGED":
        resources = compute_resources(environment)
        _check_kind(resources)
        _check_vcpus(resources)
        _check_instance_types(resources["instanceTypes"])
        _check_forms(resources)


def _check_kind(resources: Json) -> None:
    kind = resources["type"]
    if kind not in ("EC2", "SPOT"):
        raise unsupported("computeResources.type", f" with the value {kind}: use EC2 or SPOT")
    for name in ("managedInstancesProvider", "capacityTags"):
        require(
            name not in resources,
            f"{name} is not applicable for {kind}.",
            f"computeResources.{name}",
        )
    strategy = resources.get("allocationStrategy", "BEST_FIT")
    member = "computeResources.allocationStrategy"
    require(kind == "SPOT" or strategy not in _SPOT_STRATEGIES, f"{strategy} is for SPOT.", member)
    require(
        kind == "EC2" or strategy != "BEST_FIT_PROGRESSIVE_ORDERED",
        f"{strategy} is for EC2.",
        member,
    )
    require(
        kind == "EC2" or strategy != "BEST_FIT" or resources.get("spotIamFleetRole"),
        "ComputeResources.spotIamFleetRole cannot not be null or empty",
        "computeResources.spotIamFleetRole",
    )
    bid = resources.get("bidPercentage")
    require(
        bid is None or (kind == "SPOT" and 1 <= bid <= 100),
        "bidPercentage is for SPOT and from 1 to 100.",
        "computeResources.bidPercentage",
    )


def _check_vcpus(resources: Json) -> None:
    minimum, maximum = resources["minvCpus"], resources["maxvCpus"]
    require(minimum >= 0, "minvCpus must not be below 0.", "computeResources.minvCpus")
    require(
        max(minimum, 1) <= maximum <= INT32_MAX,
        "maxvCpus must be at least 1 and at least minvCpus.",
        "computeResources.maxvCpus",
    )


def _check_desired(request: Json, environment: ComputeEnvironment) -> None:
    """A desiredvCpus that a client gives; the scaler's own may pass maxvCpus by one instance."""
    desired = request.get("computeResources", {}).get("desiredvCpus")
    if desired is not None:
        require(
            (environment.minv_cpus or 0) <= desired <= (environment.maxv_cpus or 0),
            "desiredvCpus must be from minvCpus to maxvCpus.",
            "computeResources.desiredvCpus",
        )


def _check_instance_types(names: list[str]) -> None:
    member = "computeResources.instanceTypes"
    for index, name in enumerate(names):
        if not known(name):
            raise InvalidRequest(
                f"{member}[{index}] is {name[:64]!r}, which is no instance type or family that "
                "longshore knows.",
                member=f"{member}[{index}]",
            )
    architectures = {kind.architecture for kind in Catalogue().resolve(names)}
    require(len(architectures) <= 1, f"{member} mixes CPU architectures.", member)


def _check_forms(resources: Json) -> None:
    """Names that mean something inside AWS alone: their form."""
    for name, form in _FORMS.items():
        value = resources.get(name, [])
        for text in [value] if isinstance(value, str) else value:
            require(
                form.fullmatch(text),
                f"computeResources.{name} has a wrong form.",
                f"computeResources.{name}",
            )
    check_tags(resources.get("tags", {}), "computeResources.tags")
    template = resources.get("launchTemplate")
    if template is not None:
        require(
            ("launchTemplateId" in template) != ("launchTemplateName" in template),
            "launchTemplate needs either launchTemplateId or launchTemplateName.",
            "computeResources.launchTemplate",
        )
        check_count(template.get("overrides", []), 10, "computeResources.launchTemplate.overrides")
    images = resources.get("ec2Configuration", [])
    check_count(images, 2, "computeResources.ec2Configuration")
    require(
        not any("imageKubernetesVersion" in image for image in images),
        "At least one imageKubernetesVersion in EC2Configuration is not supported.",
        "computeResources.ec2Configuration",
    )
    delay = resources.get("scalingPolicy", {}).get("minScaleDownDelayMinutes")
    require(
        delay is None or 20 <= delay <= 10_080,
        "minScaleDownDelayMinutes must be 0 or from 20 to 10080.",
        "computeResources.scalingPolicy.minScaleDownDelayMinutes",
    )
