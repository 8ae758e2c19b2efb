"""What an attempt is told of itself, in the form of Amazon ECS's task metadata, version 4.

Pure: an assignment and what its runtime knows of it go in, what is sent as JSON comes out.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from longshore.agent.attempts.attempt import DEFAULT_CONTAINER
from longshore.agent.logs import naming
from longshore.domain.arn import Arns
from longshore.v1 import agent_service_pb2 as pb


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
class Described:
    """A container that is told of."""

    #: What it runs: of several containers of an attempt, of this one alone.
    assignment: pb.Assignment
    #: As the job definition has it.
    name: str
    facts: Facts


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


def container_document(described: Described, place: Place) -> dict[str, Any]:
    """The answer to `/`: the container.

    Args:
        described: what runs, and what the runtime knows of it.
        place: where it runs.
    """
    assignment, facts = described.assignment, described.facts
    task_arn = place.task_arn(assignment)
    family, revision = _definition(assignment)
    log = assignment.container.log_configuration
    document: dict[str, Any] = {
        "DockerId": facts.id,
        "Name": described.name,
        "DockerName": facts.name,
        "Image": assignment.container.image,
        "ImageID": facts.image_id,
        "Labels": {
            **facts.labels,
            "com.amazonaws.ecs.cluster": place.cluster(assignment),
            "com.amazonaws.ecs.container-name": described.name,
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
        "ContainerARN": f"{task_arn.replace(':task/', ':container/')}/{_container_id(described)}",
        "Networks": [
            {"NetworkMode": facts.network_mode, "IPv4Addresses": list(facts.addresses)},
        ],
    }
    if facts.started_at:
        document["StartedAt"] = facts.started_at
    if document["LogDriver"] == "awslogs":
        # Where the log really is, whatever the job definition would have it named in AWS.
        document["LogOptions"] = {
            "awslogs-group": naming.group_of(assignment),
            "awslogs-region": place.arns.region,
            "awslogs-stream": assignment.log_stream_name,
        }
    return document


def task_document(
    whole: pb.Assignment, containers: Sequence[Described], place: Place
) -> dict[str, Any]:
    """The answer to `/task`: the attempt, with its containers in it.

    Args:
        whole: the attempt.
        containers: those of which something is known; the one that asks is among them.
        place: where it runs.
    """
    documents = [container_document(one, place) for one in containers]
    family, revision = _definition(whole)
    return {
        "Cluster": place.cluster(whole),
        "TaskARN": place.task_arn(whole),
        "Family": family,
        "Revision": revision,
        "DesiredStatus": "RUNNING",
        "KnownStatus": min(document["KnownStatus"] for document in documents),
        "Limits": {
            "CPU": whole.resources.vcpu_milli / 1000,
            "Memory": whole.resources.memory_mib,
        },
        "LaunchType": "EC2",
        "Containers": documents,
    }


def task_document_with_tags(
    whole: pb.Assignment, containers: Sequence[Described], place: Place
) -> dict[str, Any]:
    """The answer to `/taskWithTags`: the attempt, and the tags that its job propagates."""
    return {**task_document(whole, containers, place), "TaskTags": dict(whole.tags)}


def _definition(assignment: pb.Assignment) -> tuple[str, str]:
    family, _, revision = assignment.job_definition.partition(":")
    return family, revision


def _container_id(described: Described) -> str:
    """A UUID of its own, always the same for the same container of an attempt."""
    name = described.assignment.attempt_id
    if described.name != DEFAULT_CONTAINER:
        name += described.name
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))
