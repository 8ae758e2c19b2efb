"""Compute environments: checked, created, and changed by a partial update.

An update is one of two kinds (AWS Batch User Guide, "Updating compute environments"). A scaling
update changes bounds and switches in place. An infrastructure update changes what instances are: it
counts the generation up, so that instances of an earlier one are replaced, and leaves the status at
UPDATING until the scaler has looked at it. Any update of an INVALID environment goes that way too:
its failures are forgotten.
"""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from longshore.domain.catalogue import Catalogue
from longshore.domain.checks import Json, check_name, check_tags, require
from longshore.domain.environment import ENVIRONMENT_HEALTHY, ComputeEnvironment, is_fargate
from longshore.domain.environment_tags import check_settings
from longshore.domain.errors import PreconditionFailed
from longshore.domain.request.compute_resources import (
    ROLE,
    check_fargate,
    check_forms,
    check_instance_types,
    check_kind,
    check_required,
    check_vcpus,
)

#: Members of computeResources that have a column of their own.
_COLUMNS = ("type", "minvCpus", "maxvCpus", "desiredvCpus")
#: Members that an update removes by an empty string.
_REMOVABLE = ("ec2KeyPair", "imageId", "placementGroup")
_DEFAULT_INSTANCE_TYPES = ["optimal"]
#: Members of computeResources whose change replaces instances.
_INFRASTRUCTURE = (
    "type",
    "allocationStrategy",
    "instanceTypes",
    "bidPercentage",
    "imageId",
    "ec2Configuration",
    "launchTemplate",
    "ec2KeyPair",
    "subnets",
    "securityGroupIds",
    "placementGroup",
    "instanceRole",
    "tags",
)
#: Members that go when SPOT becomes EC2.
_SPOT_ONLY = ("bidPercentage", "spotIamFleetRole")
_BEING_MODIFIED = "Cannot update, resource is being modified."
#: In the name of the role that AWS Batch makes for itself; it is taken where none is given.
_LINKED_ROLE = "AWSServiceRoleForBatch"
_DESIRED_LOWERED = (
    "Manually scaling down compute environment is not supported. Disconnecting job queues from "
    "compute environment will cause it to scale-down to minvCpus."
)


def new_environment(
    request: Json, environment_id: uuid.UUID, catalogue: Catalogue | None = None
) -> ComputeEnvironment:
    """What a CreateComputeEnvironment request makes.

    Args:
        request: the request as AWS-shaped JSON.
        environment_id: of the new compute environment.
        catalogue: the instance types that there are; without it the built-in ones.

    Raises:
        InvalidRequest: a member is wrong.
    """
    name, kind = request["computeEnvironmentName"], request["type"]
    check_name(name, "computeEnvironmentName")
    tags: Mapping[str, str] = request.get("tags", {})
    check_tags(tags)
    check_settings(tags)
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
        # A managed one waits for the scaler to look at it; for the other kind nothing is set
        # up.
        status="CREATING" if managed else "VALID",
        status_reason="" if managed else ENVIRONMENT_HEALTHY,
        detail=_top_level(request),
        resource_type=None,
        minv_cpus=None,
        maxv_cpus=None,
        desiredv_cpus=None,
        unmanagedv_cpus=request.get("unmanagedvCpus"),
        tags=tags,
    )
    if resources:
        check_kind(resources)
        if is_fargate(resources["type"]):
            environment = replace(environment, detail=_without_policy(environment.detail))
        else:
            check_required(resources)
            resources = {"instanceTypes": _DEFAULT_INSTANCE_TYPES, **resources}
        environment = _with_resources(environment, resources)
    _check(environment, catalogue or Catalogue())
    _check_desired(request, environment)
    return environment


def updated_environment(
    environment: ComputeEnvironment,
    request: Json,
    now: datetime,
    catalogue: Catalogue | None = None,
) -> ComputeEnvironment:
    """What an UpdateComputeEnvironment request makes of one: absent members stay.

    Args:
        environment: as it is.
        request: the request as AWS-shaped JSON.
        now: the time of an infrastructure update, if it is one.
        catalogue: the instance types that there are; without it the built-in ones.

    Raises:
        InvalidRequest: a member is wrong, or the whole would be.
        PreconditionFailed: the compute environment is in the middle of a change.
    """
    if environment.status not in ("VALID", "INVALID"):
        raise PreconditionFailed(_BEING_MODIFIED)
    _check_role_swap(environment, request)
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
        _check_switch(environment, update)
        present = environment.desiredv_cpus or 0
        require(
            update.get("desiredvCpus", present) >= present,
            _DESIRED_LOWERED,
            "computeResources.desiredvCpus",
        )
        resources = {**compute_resources(environment), **update}
        if resources["type"] == "EC2":
            for name in _SPOT_ONLY:
                if name not in update:
                    resources.pop(name, None)
        check_kind(resources)
        changed = _with_resources(changed, resources)
    if is_fargate(environment.resource_type):
        changed = replace(changed, detail=_without_policy(changed.detail))
    _check(changed, catalogue or Catalogue())
    _check_desired(request, changed)
    replaced = _infrastructure_changes(environment, changed, update)
    if replaced:
        _check_replaceable(environment, request, replaced)
        changed = replace(
            changed, generation=environment.generation + 1, infrastructure_updated_at=now
        )
    if environment.type == "MANAGED" and (replaced or environment.status == "INVALID"):
        changed = replace(changed, status="UPDATING", status_reason="")
    return changed


def _check_switch(environment: ComputeEnvironment, update: Json) -> None:
    """The kind of capacity may go from EC2 to SPOT and back, and nowhere else."""
    before, after = environment.resource_type, update.get("type", environment.resource_type)
    if is_fargate(before):
        check_fargate(update)
    require(
        before == after or {before, after} == {"EC2", "SPOT"},
        f"computeResources.type cannot change from {before} to {after}: only EC2 and SPOT can be "
        "exchanged.",
        "computeResources.type",
    )


def _infrastructure_changes(
    before: ComputeEnvironment, after: ComputeEnvironment, update: Json
) -> list[str]:
    """Members whose change replaces instances. Slots are never replaced."""
    if before.type != "MANAGED" or is_fargate(before.resource_type):
        return []
    old, new = compute_resources(before), compute_resources(after)
    changes = [name for name in _INFRASTRUCTURE if old.get(name) != new.get(name)]
    if update.get("updateToLatestImageVersion"):
        changes.append("updateToLatestImageVersion")
    return changes


def _check_replaceable(environment: ComputeEnvironment, request: Json, changes: list[str]) -> None:
    """An infrastructure update needs a strategy that is free to move on to other instances."""
    strategy = compute_resources(environment).get("allocationStrategy", "BEST_FIT")
    member = f"computeResources.{changes[0]}"
    require(
        strategy != "BEST_FIT",
        f"Cannot update {', '.join(changes)}: the allocation strategy of the compute environment "
        "is BEST_FIT, whose instances cannot be replaced. Create a new compute environment and put "
        "it in the place of this one in its job queues.",
        member,
    )
    require(
        "serviceRole" not in request,
        f"serviceRole cannot be updated together with {', '.join(changes)}.",
        "serviceRole",
    )


def _check_role_swap(environment: ComputeEnvironment, request: Json) -> None:
    """The role that AWS made for itself and one of the user's own cannot be exchanged."""
    role = request.get("serviceRole")
    if role is None or environment.type != "MANAGED":
        return
    present = environment.detail.get("serviceRole")
    was_linked = not present or _LINKED_ROLE in present
    require(
        was_linked == (_LINKED_ROLE in role),
        "serviceRole cannot change between the service-linked role and another one.",
        "serviceRole",
    )


def _without_policy(detail: Json) -> Json:
    """AWS takes an updatePolicy for Fargate and does nothing with it; so it is not shown."""
    return {name: value for name, value in detail.items() if name != "updatePolicy"}


def compute_resources(environment: ComputeEnvironment) -> Json:
    """The whole of computeResources, columns and detail."""
    columns = (
        environment.resource_type,
        environment.minv_cpus,
        environment.maxv_cpus,
        environment.desiredv_cpus,
    )
    stored: Json = environment.detail.get("computeResources", {})
    given = dict(zip(_COLUMNS, columns, strict=True))
    if is_fargate(environment.resource_type):
        # The scaler counts vCPUs of slots as well, where AWS shows nothing.
        given = {name: given[name] for name in ("type", "maxvCpus")}
    return {**stored, **given}


def _top_level(request: Json) -> Json:
    names = ("serviceRole", "context", "ecsSettings", "updatePolicy")
    kept = {name: request[name] for name in names if name in request}
    if "serviceRole" in kept:
        require(ROLE.fullmatch(kept["serviceRole"]), "serviceRole is no role.", "serviceRole")
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
    detail = {**environment.detail, "computeResources": stored}
    if is_fargate(resources["type"]):
        return replace(
            environment,
            detail=detail,
            resource_type=resources["type"],
            maxv_cpus=resources["maxvCpus"],
            desiredv_cpus=environment.desiredv_cpus or 0,
        )
    minimum = resources.get("minvCpus", 0)
    return replace(
        environment,
        detail=detail,
        resource_type=resources["type"],
        minv_cpus=minimum,
        maxv_cpus=resources["maxvCpus"],
        desiredv_cpus=resources.get("desiredvCpus", minimum),
    )


def _check(environment: ComputeEnvironment, catalogue: Catalogue) -> None:
    if environment.unmanagedv_cpus is not None:
        require(
            environment.type == "UNMANAGED" and environment.unmanagedv_cpus >= 0,
            "unmanagedvCpus is for type UNMANAGED alone and not below 0.",
            "unmanagedvCpus",
        )
    if environment.type == "MANAGED":
        resources = compute_resources(environment)
        check_vcpus(resources)
        if not is_fargate(environment.resource_type):
            check_instance_types(resources["instanceTypes"], catalogue)
        check_forms(resources)


def _check_desired(request: Json, environment: ComputeEnvironment) -> None:
    """A desiredvCpus that a client gives; the scaler's own may pass maxvCpus by one instance."""
    desired = request.get("computeResources", {}).get("desiredvCpus")
    if desired is not None:
        require(
            (environment.minv_cpus or 0) <= desired <= (environment.maxv_cpus or 0),
            "desiredvCpus must be from minvCpus to maxvCpus.",
            "computeResources.desiredvCpus",
        )
