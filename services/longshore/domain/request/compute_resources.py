"""Checks of computeResources: what instances or slots a managed compute environment has."""

import re

from longshore.domain.catalogue import Catalogue
from longshore.domain.checks import (
    INT32_MAX,
    Json,
    check_count,
    check_tags,
    require,
)
from longshore.domain.environment import is_fargate
from longshore.domain.errors import InvalidRequest

#: A role by its name or ARN.
ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/\S{1,512}|[\w+=,.@/-]{1,128}")
#: vCPUs that an environment keeps without jobs: more than anybody means to pay for is a mistake.
MINV_CPUS_MAX = 1_000_000
#: Members of computeResources that mean something for instances, and nothing for slots.
_EC2_ONLY = (
    "minvCpus",
    "desiredvCpus",
    "allocationStrategy",
    "instanceTypes",
    "imageId",
    "ec2KeyPair",
    "instanceRole",
    "tags",
    "placementGroup",
    "bidPercentage",
    "spotIamFleetRole",
    "launchTemplate",
    "ec2Configuration",
    "scalingPolicy",
    "updateToLatestImageVersion",
)
_PROFILE = re.compile(
    r"arn:aws[a-z-]*:iam::[0-9]{12}:instance-profile/\S{1,512}|[\w+=,.@/-]{1,128}"
)
_NAME = re.compile(r"[\x20-\x7e]{1,255}"), "1 to 255 printable ASCII characters"
#: Forms of members, and the words for them.
_FORMS = {
    "subnets": (
        re.compile(r"subnet-[0-9a-zA-Z]{1,32}"),
        "subnet- and 1 to 32 letters and digits",
    ),
    "securityGroupIds": (
        re.compile(r"sg-[0-9a-zA-Z]{1,32}"),
        "sg- and 1 to 32 letters and digits",
    ),
    "imageId": (re.compile(r"ami-[0-9a-zA-Z]{1,32}"), "ami- and 1 to 32 letters and digits"),
    "ec2KeyPair": _NAME,
    "placementGroup": _NAME,
    "instanceRole": (_PROFILE, "the name or ARN of an instance profile"),
    "spotIamFleetRole": (ROLE, "the name or ARN of a role"),
}
_SPOT_STRATEGIES = frozenset(
    {
        "SPOT_CAPACITY_OPTIMIZED",
        "SPOT_PRICE_CAPACITY_OPTIMIZED",
        "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED",
    }
)


def check_kind(resources: Json) -> None:
    """Checks the kind of capacity, and members that only other kinds have.

    Raises:
        InvalidRequest: a member does not fit the kind.
    """
    if is_fargate(resources["type"]):
        check_fargate(resources)
    else:
        _check_strategy(resources)


def check_fargate(resources: Json) -> None:
    """Checks that no member is given which slots do not have, with AWS's text."""
    for name in _EC2_ONLY:
        require(
            name not in resources,
            f"{name} is not applicable for Fargate.",
            f"computeResources.{name}",
        )
    for name, limit in (("subnets", 16), ("securityGroupIds", 5)):
        check_count(resources.get(name, []), limit, f"computeResources.{name}")


def _check_strategy(resources: Json) -> None:
    kind = resources["type"]
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


def check_vcpus(resources: Json) -> None:
    """Checks the bounds of a compute environment."""
    minimum, maximum = resources.get("minvCpus", 0), resources["maxvCpus"]
    require(
        0 <= minimum <= MINV_CPUS_MAX,
        f"minvCpus must be from 0 to {MINV_CPUS_MAX}.",
        "computeResources.minvCpus",
    )
    require(
        max(minimum, 1) <= maximum <= INT32_MAX,
        "maxvCpus must be at least 1 and at least minvCpus.",
        "computeResources.maxvCpus",
    )


def check_instance_types(names: list[str], catalogue: Catalogue) -> None:
    """Checks that all names mean something, and types of one CPU architecture.

    Raises:
        InvalidRequest: one is not known, or they mix architectures.
    """
    member = "computeResources.instanceTypes"
    for index, name in enumerate(names):
        if not catalogue.known(name):
            raise InvalidRequest(
                f"{member}[{index}] is {name[:64]!r}, which is no instance type or family that "
                "longshore knows.",
                member=f"{member}[{index}]",
            )
    architectures = {kind.architecture for kind in catalogue.resolve(names)}
    require(len(architectures) <= 1, f"{member} mixes CPU architectures.", member)


def check_forms(resources: Json) -> None:
    """Names that mean something inside AWS alone: their form."""
    for name, (form, words) in _FORMS.items():
        value = resources.get(name, [])
        for text in [value] if isinstance(value, str) else value:
            require(
                form.fullmatch(text),
                f"computeResources.{name} has {text[:64]!r}; it must be {words}.",
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


def check_required(resources: Json) -> None:
    """Members that AWS wants of every environment with instances, in its words."""
    require("minvCpus" in resources, "Resource minvCpus is required.", "computeResources.minvCpus")
    require(
        resources.get("instanceRole"),
        "Instance role is required.",
        "computeResources.instanceRole",
    )
