"""Compute environments and queues as they are stored."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from longshore.domain.checks import Json

#: How long attempts may go on after an infrastructure update, where nothing is said.
JOB_EXECUTION_TIMEOUT_MINUTES = 30
ENVIRONMENT_HEALTHY = "ComputeEnvironment Healthy"
QUEUE_HEALTHY = "JobQueue Healthy"


EC2 = "EC2"
FARGATE = "FARGATE"


def takes_nodes(*, is_managed: bool, is_fargate: bool, is_spot: bool) -> bool:
    """Whether multi-node jobs run in an environment: on on-demand instances that we launch."""
    return is_managed and not is_fargate and not is_spot


def is_fargate(resource_type: str | None) -> bool:
    """Whether a compute environment of a type of resources has slots instead of instances."""
    return resource_type in ("FARGATE", "FARGATE_SPOT")


def platform_of(definition: Json) -> str:
    """The platform that a job definition is for; its platformCapabilities has one at most."""
    capabilities: list[str] = definition.get("platformCapabilities") or [EC2]
    return capabilities[0]


@dataclass(frozen=True, slots=True)
class ComputeEnvironment:
    """A compute environment. The vCPU figures and the type of resources are None for UNMANAGED."""

    name: str
    uuid: uuid.UUID
    type: str
    state: str
    status: str
    status_reason: str
    #: AWS-shaped members without those that are fields here.
    detail: Json
    resource_type: str | None
    minv_cpus: int | None
    maxv_cpus: int | None
    desiredv_cpus: int | None
    unmanagedv_cpus: int | None
    tags: Mapping[str, str]
    #: Counts infrastructure updates.
    generation: int = 1
    #: Of the last infrastructure update.
    infrastructure_updated_at: datetime | None = None

    @property
    def platform(self) -> str:
        """What a job definition needs among its platformCapabilities to run here."""
        return FARGATE if is_fargate(self.resource_type) else EC2


@dataclass(frozen=True, slots=True)
class JobQueue:
    """A job queue."""

    name: str
    state: str
    status: str
    status_reason: str
    priority: int
    #: AWS-shaped members without those that are fields here.
    detail: Json
    tags: Mapping[str, str]
    #: Order and name of its compute environments, ascending.
    environments: tuple[tuple[int, str], ...]
    #: Name of its scheduling policy, if it has one.
    scheduling_policy: str | None = None
    #: How many of its jobs run at one time; 0 for any number.
    max_running: int = 0


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What decides whether a queue takes a job, or a change; `type` is its jobQueueType."""

    state: str
    status: str
    type: str = "ECS"
    #: Whether it has a scheduling policy, so that all its jobs belong to shares.
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class SchedulingPolicy:
    """A fair-share policy as it was given, in AWS's shape."""

    name: str
    fairshare: Json
    tags: Mapping[str, str]
