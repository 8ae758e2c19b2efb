"""An instance, as placement sees it: apart from its arithmetic, whose numpy takes long to load."""

from dataclasses import dataclass

from longshore.domain.catalogue import FARGATE_FAMILY
from longshore.domain.instance import InstanceCondition
from longshore.domain.resources import Resources


def is_slot(instance_type: str) -> bool:
    """Whether an instance of a type is a slot: for one job, of exactly its size."""
    return instance_type.partition(".")[0] == FARGATE_FAMILY


@dataclass(frozen=True, slots=True)
class Room:
    """What an instance of a compute environment has free, and what it offers in all."""

    instance_id: str
    compute_environment: str
    free: Resources
    total: Resources
    draining: bool = False
    #: Its agent has no stream now: what is placed there would wait for it.
    away: bool = False
    #: It takes one attempt in all, of exactly its size. One that has its attempt is draining.
    slot: bool = False
    instance_type: str = ""
    #: As its agent says. One that is not healthy could start nothing.
    condition: InstanceCondition = InstanceCondition.HEALTHY

    @property
    def is_open(self) -> bool:
        """Whether anything may be placed there."""
        return not self.draining and not self.away and self.condition is InstanceCondition.HEALTHY
