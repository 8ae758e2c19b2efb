"""Launch templates, made from compute environments.

Each has what an order's instances of one class (architecture, GPUs) boot with: the data of the
environment's own launch template, if it names one, and over it what its `computeResources` say, as
AWS Batch does it. A template's name ends in a digest of what it holds, so one that exists already
is the right one, and none is ever changed.

Each order has templates of its own, as its instances join with a token of theirs; the token of an
order is always the same, so that an order that is asked for again is the same. Instances need no
template once they run: templates are deleted after a while.
"""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import botocore.session
import structlog
from botocore.model import ListShape, Shape, StructureShape

from longshore.domain.checks import Json
from longshore.domain.errors import InvalidRequest, Unavailable
from longshore.provisioning.ec2.api import Api, RefusedByAws
from longshore.provisioning.ec2.config import Ec2Config
from longshore.provisioning.ec2.image import InstanceClass, MachineImages
from longshore.provisioning.ec2.user_data import boot_script, merged

log = structlog.get_logger()

STACK_TAG = "longshore:stack"
ENVIRONMENT_TAG = "longshore:compute-environment"
GENERATION_TAG = "longshore:generation"
_EXISTS = "InvalidLaunchTemplateName.AlreadyExistsException"
#: How old a template is at least before it is deleted, and how many are at one time.
UNUSED_FOR = timedelta(hours=1)
DELETIONS_MAXIMUM = 200


class Templates:
    """Makes templates, and removes those that nothing uses."""

    def __init__(self, ec2: Api, images: MachineImages, config: Ec2Config, stack: str) -> None:
        self._ec2 = ec2
        self._images = images
        self._config = config
        self._stack = stack
        self._names: dict[tuple[str, int, InstanceClass, str, str], str] = {}

    async def ensure(
        self,
        compute_environment: str,
        generation: int,
        resources: Json,
        instance_class: InstanceClass,
        token: str,
    ) -> str:
        """The name of the template for an order's instances of a class; made if it is not there.

        Raises:
            InvalidRequest: what the environment says cannot be made a template.
            RefusedByAws: AWS says no, for example to an unknown launch template.
            Unavailable: AWS does not answer.
        """
        digest = hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()
        key = (compute_environment, generation, instance_class, digest, token)
        if key not in self._names:
            data = await self._data(
                compute_environment, generation, resources, instance_class, token
            )
            name = _name(compute_environment, generation, data)
            await self._create(name, data, compute_environment, generation)
            self._names[key] = name
        return self._names[key]

    def forget(self) -> None:
        """Makes sure that templates are looked for again: one was missing."""
        self._names.clear()

    async def _create(
        self, name: str, data: Mapping[str, Any], compute_environment: str, generation: int
    ) -> None:
        tags = {
            STACK_TAG: self._stack,
            ENVIRONMENT_TAG: compute_environment,
            GENERATION_TAG: str(generation),
        }
        try:
            await self._ec2.call(
                "create_launch_template",
                LaunchTemplateName=name,
                LaunchTemplateData=data,
                TagSpecifications=[tagged("launch-template", tags)],
            )
        except RefusedByAws as error:
            if error.code != _EXISTS:
                raise
        else:
            log.info("launch_template.created", name=name, compute_environment=compute_environment)

    async def _data(
        self,
        compute_environment: str,
        generation: int,
        resources: Json,
        instance_class: InstanceClass,
        token: str,
    ) -> dict[str, Any]:
        data = await self._given(resources)
        image = await self._images.find(resources, data, instance_class)
        script = boot_script(self._config, compute_environment, token)
        try:
            given = base64.b64decode(data.get("UserData") or "").decode()
        except UnicodeDecodeError:
            raise InvalidRequest(
                "The user data of the launch template is no text; longshore adds its own to it, "
                "so it must not be compressed.",
                member="computeResources.launchTemplate",
            ) from None
        data["ImageId"] = image
        data["UserData"] = base64.b64encode(merged(script, given).encode()).decode()
        data.setdefault(
            "MetadataOptions",
            {
                "HttpEndpoint": "enabled",
                "HttpTokens": "required",
                "HttpPutResponseHopLimit": self._config.metadata_hops,
            },
        )
        # A machine that shuts itself down is over: it never registers again.
        data["InstanceInitiatedShutdownBehavior"] = "terminate"
        # Who launches instances ends them: one that is protected from that would cost for ever.
        data.pop("DisableApiTermination", None)
        if role := resources.get("instanceRole"):
            member = "Arn" if role.startswith("arn:") else "Name"
            data["IamInstanceProfile"] = {member: role}
        if key := resources.get("ec2KeyPair"):
            data["KeyName"] = key
        if group := resources.get("placementGroup"):
            data["Placement"] = {**data.get("Placement", {}), "GroupName": group}
        _set_security_groups(data, resources.get("securityGroupIds") or ())
        if self._config.volume_gib and not data.get("BlockDeviceMappings"):
            data["BlockDeviceMappings"] = [await self._root_volume(image)]
        tags = {
            **resources.get("tags", {}),
            STACK_TAG: self._stack,
            ENVIRONMENT_TAG: compute_environment,
            GENERATION_TAG: str(generation),
        }
        others = [
            specification
            for specification in data.get("TagSpecifications") or ()
            if specification.get("ResourceType") not in ("instance", "volume")
        ]
        data["TagSpecifications"] = [*others, tagged("volume", tags)]
        return data

    async def _given(self, resources: Json) -> dict[str, Any]:
        """The data of the environment's own launch template, in the form of a request."""
        given = resources.get("launchTemplate") or {}
        which = {}
        if template_id := given.get("launchTemplateId"):
            which["LaunchTemplateId"] = template_id
        elif name := given.get("launchTemplateName"):
            which["LaunchTemplateName"] = name
        if not which:
            return {}
        answer = await self._ec2.call(
            "describe_launch_template_versions",
            **which,
            Versions=[given.get("version") or "$Default"],
        )
        versions = answer.get("LaunchTemplateVersions") or ()
        if not versions:
            raise InvalidRequest(
                f"The launch template {next(iter(which.values()))} has no such version.",
                member="computeResources.launchTemplate",
            )
        shape = await asyncio.to_thread(_request_shape)
        data: dict[str, Any] = _as_request(versions[0]["LaunchTemplateData"], shape)
        return data

    async def _root_volume(self, image: str) -> dict[str, Any]:
        answer = await self._ec2.call("describe_images", ImageIds=[image])
        images = answer.get("Images") or ()
        if not images or not images[0].get("RootDeviceName"):
            raise InvalidRequest(f"The image {image} is not known.", member="imageId")
        return {
            "DeviceName": images[0]["RootDeviceName"],
            "Ebs": {
                "VolumeSize": self._config.volume_gib,
                "VolumeType": "gp3",
                "DeleteOnTermination": True,
            },
        }

    async def sweep(self, now: datetime) -> int:
        """Deletes templates of this stack whose orders were answered; a few at a time.

        Args:
            now: the time.

        Returns:
            How many were deleted. What fails is tried again the next time.
        """
        deleted = 0
        try:
            templates = await self._ec2.pages(
                "describe_launch_templates",
                "LaunchTemplates",
                Filters=[{"Name": f"tag:{STACK_TAG}", "Values": [self._stack]}],
            )
            for template in templates:
                if now - template["CreateTime"] < UNUSED_FOR:
                    continue
                self._names = {
                    key: name
                    for key, name in self._names.items()
                    if name != template["LaunchTemplateName"]
                }
                await self._ec2.call(
                    "delete_launch_template", LaunchTemplateId=template["LaunchTemplateId"]
                )
                deleted += 1
                if deleted == DELETIONS_MAXIMUM:
                    break
        except (RefusedByAws, Unavailable) as error:
            log.info("launch_templates.not_swept", error=str(error))
        if deleted:
            log.info("launch_templates.deleted", count=deleted)
        return deleted


def tagged(resource_type: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Tags of what a request makes."""
    return {
        "ResourceType": resource_type,
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
    }


def _name(compute_environment: str, generation: int, data: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9_-]", "-", compute_environment)[:80]
    return f"longshore-{readable}-{generation}-{digest}"


def _set_security_groups(data: dict[str, Any], groups: Collection[str]) -> None:
    """The environment's list beats the template's, which may stand at its network interface."""
    if not groups:
        return
    if data.get("NetworkInterfaces"):
        data["NetworkInterfaces"][0]["Groups"] = list(groups)
        return
    data.pop("SecurityGroups", None)
    data["SecurityGroupIds"] = list(groups)


def _request_shape() -> Shape:
    """The form of launch template data in requests, by botocore's model; read from its disk."""
    model = botocore.session.get_session().get_service_model("ec2")
    return model.shape_for("RequestLaunchTemplateData")


def _as_request(value: Any, shape: Shape) -> Any:
    """An answer's data without the members that requests do not have."""
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        return {
            name: _as_request(member, shape.members[name])
            for name, member in value.items()
            if name in shape.members and member is not None
        }
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_as_request(item, shape.member) for item in value]
    return value
