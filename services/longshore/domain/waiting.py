"""Why a RUNNABLE job cannot be placed at all, in AWS's words.

AWS Batch User Guide, "blocked job queues".
"""

from collections.abc import Sequence
from dataclasses import dataclass

from longshore.domain.catalogue import Catalogue
from longshore.domain.placement import Shape

INVALID = "ACTION_REQUIRED - CE(s) associated with the job queue are invalid."
DISABLED = "ACTION_REQUIRED - CE(s) associated with the job queue are disabled."
NO_ENVIRONMENT = "ACTION_REQUIRED - The job queue has no compute environment."
MAX_RESOURCE = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue "
    "cannot meet the CPU requirement of the job."
)
TOO_LARGE = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is "
    "higher than that can be met by the CE(s) attached to the job queue."
)

#: What the user may do about each.
HINTS = {
    INVALID: "Describe the queue's compute environments: their status reasons say what is wrong.",
    DISABLED: "Enable a compute environment of the queue.",
    NO_ENVIRONMENT: "Update the queue with a compute environment.",
    MAX_RESOURCE: "Ask for fewer vCPUs, or raise maxvCpus of a compute environment of the queue.",
    TOO_LARGE: "Ask for less, or allow larger types in a compute environment of the queue.",
}


@dataclass(frozen=True, slots=True)
class EnvironmentFacts:
    """What matters of a compute environment for placement."""

    name: str
    managed: bool
    enabled: bool
    valid: bool
    maxv_cpus: int | None
    instance_types: tuple[str, ...]

    @property
    def placeable(self) -> bool:
        """Whether jobs may be placed on its instances."""
        return self.enabled and self.valid


def blocked_reason(
    shape: Shape, environments: Sequence[EnvironmentFacts], catalogue: Catalogue
) -> str | None:
    """What must be changed before the shape can ever be placed; None if waiting may help.

    Unmanaged environments have no known bound: a larger machine may join at any time.
    """
    if not environments:
        return NO_ENVIRONMENT
    valid = [e for e in environments if e.valid]
    usable = [e for e in valid if e.enabled]
    if not usable:
        return DISABLED if valid else INVALID
    if any(not e.managed for e in usable):
        return None
    large = [e for e in usable if (e.maxv_cpus or 0) * 1000 >= shape.need.vcpu_milli]
    if not large:
        return MAX_RESOURCE
    offers = (kind.offer for e in large for kind in catalogue.resolve(e.instance_types))
    return None if any(offer.holds(shape.need) for offer in offers) else TOO_LARGE
