"""Which image an instance boots from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from longshore.domain.catalogue import ARM64, InstanceType
from longshore.domain.checks import Json
from longshore.domain.errors import InvalidRequest
from longshore.provisioning.ec2.api import Api
from longshore.provisioning.ec2.config import Ec2Config

_ECS = "/aws/service/ecs/optimized-ami/amazon-linux-2023"
_ECS_AL2 = "/aws/service/ecs/optimized-ami/amazon-linux-2"
#: AWS's public parameter that holds the id of its newest image, by image type and architecture.
#: These images have Docker, and the drivers where there are GPUs.
_PARAMETERS = {
    ("ECS_AL2023", "x86_64"): f"{_ECS}/recommended/image_id",
    ("ECS_AL2023", "arm64"): f"{_ECS}/arm64/recommended/image_id",
    ("ECS_AL2023_NVIDIA", "x86_64"): f"{_ECS}/gpu/recommended/image_id",
    ("ECS_AL2", "x86_64"): f"{_ECS_AL2}/recommended/image_id",
    ("ECS_AL2", "arm64"): f"{_ECS_AL2}/arm64/recommended/image_id",
    ("ECS_AL2_NVIDIA", "x86_64"): f"{_ECS_AL2}/gpu/recommended/image_id",
}


@dataclass(frozen=True, slots=True)
class InstanceClass:
    """Types that boot from the same image."""

    architecture: str
    has_gpus: bool

    @classmethod
    def of(cls, kind: InstanceType) -> "InstanceClass":
        """The class of a type."""
        return cls(kind.architecture, bool(kind.gpus))


class MachineImages:
    """Finds images; parameters are read once and kept, as a compute environment's image is."""

    def __init__(self, ssm: Api, config: Ec2Config) -> None:
        self._ssm = ssm
        self._config = config
        self._parameters: dict[str, str] = {}

    async def find(
        self, resources: Json, template: Mapping[str, Any], instance_class: InstanceClass
    ) -> str:
        """The image for instances of a class: the first of these that is given.

        `imageIdOverride` of the class's `ec2Configuration`, `imageId`, the launch template's image,
        the setting's, AWS's newest of the image type.

        Args:
            resources: `computeResources` of the compute environment.
            template: data of its own launch template; empty if it has none.
            instance_class: what boots from it.

        Raises:
            InvalidRequest: there is no image of that type for the class.
            RefusedByAws: AWS does not say which its newest is.
            Unavailable: AWS does not answer.
        """
        kind = _configured(resources, has_gpus=instance_class.has_gpus)
        chosen: str = (
            kind.get("imageIdOverride")
            or resources.get("imageId")
            or template.get("ImageId")
            or self._setting(instance_class.architecture)
            or ""
        )
        if not chosen:
            default = "ECS_AL2023_NVIDIA" if instance_class.has_gpus else "ECS_AL2023"
            image_type = kind.get("imageType") or default
            parameter = _PARAMETERS.get((image_type, instance_class.architecture))
            if parameter is None:
                raise InvalidRequest(
                    f"AWS has no image {image_type} for {instance_class.architecture}; name one "
                    "with imageIdOverride in ec2Configuration.",
                    member="computeResources.ec2Configuration",
                )
            chosen = f"ssm:{parameter}"
        if chosen.startswith("ssm:"):
            return await self._parameter(chosen.removeprefix("ssm:"))
        return chosen

    def _setting(self, architecture: str) -> str:
        return self._config.image_arm64 if architecture == ARM64 else self._config.image

    async def _parameter(self, name: str) -> str:
        if name not in self._parameters:
            answer = await self._ssm.call("get_parameter", Name=name)
            self._parameters[name] = answer["Parameter"]["Value"]
        return self._parameters[name]


def _configured(resources: Json, *, has_gpus: bool) -> Mapping[str, str]:
    """The entry of `ec2Configuration` for instances with or without GPUs; empty if there is none.

    One entry alone that is not for GPUs by its name serves all instances without them.
    """
    for entry in resources.get("ec2Configuration") or ():
        if entry.get("imageType", "").endswith("_NVIDIA") is has_gpus:
            return dict(entry)
    return {}
