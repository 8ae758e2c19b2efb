"""Why a RUNNABLE job cannot be placed at all, in AWS's words (AWS Batch User Guide, "blocked job queues")."""

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
    if not valid:
        return INVALID
    usable = [e for e in valid if e.enabled]
    if not usable:
        return DISABLED
    if any(not e.managed for e in usable):
        return None
    large = [e for e in usable if (e.maxv_cpus or 0) * 1000 >= shape.need.vcpu_milli]
    if not large:
        return MAX_RESOURCE
    for environment in large:
        types = catalogue.resolve(environment.instance_types)
        if any(kind.offer.holds(shape.need) for kind in types):
            return None
    return TOO_LARGE
