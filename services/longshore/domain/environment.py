"""Compute environments and queues as they are stored."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from longshore.domain.validation import Json

ENVIRONMENT_HEALTHY = "ComputeEnvironment Healthy"
QUEUE_HEALTHY = "JobQueue Healthy"


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
