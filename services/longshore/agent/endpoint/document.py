"""What an attempt is told of itself, in the form of Amazon ECS's task metadata, version 4.

Pure: an assignment and what its runtime knows of it go in, what is sent as JSON comes out.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from longshore.domain.arn import Arns
from longshore.v1 import agent_service_pb2 as pb

#: The only container of a job's task, as AWS Batch names it.
CONTAINER = "default"
LOG_GROUP = "/aws/batch/job"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a runtime knows of what it runs for an attempt."""

    id: str
    name: str
    image_id: str
    created_at: str
    #: Empty: it has not started yet.
    started_at: str
    network_mode: str
    addresses: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt runs, in AWS's names."""

    arns: Arns
    compute_environment: str

    def task_arn(self, assignment: pb.Assignment) -> str:
        """The ARN that DescribeJobs shows as the attempt's `taskArn`."""
        return self.arns.attempt(
            self.compute_environment, _environment_id(assignment), assignment.attempt_id
        )

    def cluster(self, assignment: pb.Assignment) -> str:
        """The cluster that AWS would keep behind the compute environment."""
        return self.arns.cluster(self.compute_environment, _environment_id(assignment))


def _environment_id(assignment: pb.Assignment) -> uuid.UUID | None:
    text = assignment.compute_environment_uuid
    return uuid.UUID(text) if text else None


def container_document(assignment: pb.Assignment, facts: Facts, place: Place) -> dict[str, Any]:
    """The answer to `/`: the container.

    Args:
        assignment: what runs.
        facts: what the runtime knows of it.
        place: where it runs.
    """
    task_arn = place.task_arn(assignment)
    family, revision = _definition(assignment)
    log = assignment.container.log_configuration
    document: dict[str, Any] = {
        "DockerId": facts.id,
        "Name": CONTAINER,
        "DockerName": facts.name,
        "Image": assignment.container.image,
        "ImageID": facts.image_id,
        "Labels": {
            **facts.labels,
            "com.amazonaws.ecs.cluster": place.cluster(assignment),
            "com.amazonaws.ecs.container-name": CONTAINER,
            "com.amazonaws.ecs.task-arn": task_arn,
            "com.amazonaws.ecs.task-definition-family": family,
            "com.amazonaws.ecs.task-definition-version": revision,
        },
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING" if facts.started_at else "CREATED",
        "Limits": {
            "CPU": assignment.resources.vcpu_milli * 1024 // 1000,
            "Memory": assignment.resources.memory_mib,
        },
        "CreatedAt": facts.created_at,
        "Type": "NORMAL",
        "LogDriver": log.log_driver or "awslogs",
        "LogOptions": dict(log.options),
        "ContainerARN": f"{task_arn.replace(':task/', ':container/')}/{_container_id(assignment)}",
        "Networks": [
            {"NetworkMode": facts.network_mode, "IPv4Addresses": list(facts.addresses)},
        ],
    }
    if facts.started_at:
        document["StartedAt"] = facts.started_at
    if document["LogDriver"] == "awslogs":
        # Where the log really is, whatever the job definition would have it named in AWS.
        document["LogOptions"] = {
            "awslogs-group": LOG_GROUP,
            "awslogs-region": place.arns.region,
            "awslogs-stream": assignment.log_stream_name,
        }
    return document


def task_document(assignment: pb.Assignment, facts: Facts, place: Place) -> dict[str, Any]:
    """The answer to `/task`: the attempt, with its container in it."""
    container = container_document(assignment, facts, place)
    family, revision = _definition(assignment)
    return {
        "Cluster": place.cluster(assignment),
        "TaskARN": place.task_arn(assignment),
        "Family": family,
        "Revision": revision,
        "DesiredStatus": container["DesiredStatus"],
        "KnownStatus": container["KnownStatus"],
        "Limits": {
            "CPU": assignment.resources.vcpu_milli / 1000,
            "Memory": assignment.resources.memory_mib,
        },
        "LaunchType": "EC2",
        "Containers": [container],
    }


def task_document_with_tags(
    assignment: pb.Assignment, facts: Facts, place: Place
) -> dict[str, Any]:
    """The answer to `/taskWithTags`: the attempt, and the tags that its job propagates."""
    return {**task_document(assignment, facts, place), "TaskTags": dict(assignment.tags)}


def _definition(assignment: pb.Assignment) -> tuple[str, str]:
    family, _, revision = assignment.job_definition.partition(":")
    return family, revision


def _container_id(assignment: pb.Assignment) -> str:
    """A UUID of its own, always the same for the same attempt."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, assignment.attempt_id))
