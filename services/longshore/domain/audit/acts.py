"""What longshore does by itself, in the form of the calls that AWS Batch makes to ECS for it.

AWS Batch places a job by `RunTask`, and the agent of an instance joins by
`RegisterContainerInstance`; programs that watch a fleet read these. Nobody calls them here, so they
are not recorded: an attempt is a RunTask at its placement, an instance's agent a registration when
it joined, and its end the contrary.
"""

import uuid
from datetime import datetime

from longshore.domain import cluster
from longshore.domain.arn import Arns
from longshore.domain.audit.record import AuditRecord, found_by, shown_time
from longshore.domain.checks import Json
from longshore.domain.cluster import ContainerInstanceRecord, TaskRecord

SOURCE = "ecs.amazonaws.com"
RUN = "RunTask"
JOIN = "RegisterContainerInstance"
LEAVE = "DeregisterContainerInstance"
NAMES = frozenset({RUN, JOIN, LEAVE})
#: On whose behalf.
_BATCH = "batch.amazonaws.com"


def run_task(record: TaskRecord, arns: Arns) -> AuditRecord:
    """The placement of an attempt; its event has the attempt's id."""
    environment = record.compute_environment, record.environment_id
    shown = cluster.task(record, arns)
    placed = {
        name: shown[name]
        for name in ("taskArn", "clusterArn", "taskDefinitionArn", "containerInstanceArn")
        if name in shown
    }
    return _act(
        RUN,
        uuid.UUID(record.attempt_id),
        record.placed_at,
        arns,
        {
            "cluster": arns.cluster(*environment),
            "taskDefinition": shown["taskDefinitionArn"],
            "count": 1,
            "startedBy": "AWS Batch",
            "overrides": shown["overrides"],
            "tags": [
                {"key": "aws:batch:compute-environment", "value": record.compute_environment},
                {"key": "aws:batch:job-queue", "value": record.job_queue},
            ],
        },
        {
            "tasks": [{**placed, "lastStatus": "PENDING", "desiredStatus": "RUNNING"}],
            "failures": [],
        },
    )


def register(
    record: ContainerInstanceRecord, event_id: uuid.UUID, at: datetime, arns: Arns
) -> AuditRecord:
    """The joining of an instance's agent."""
    shown = cluster.container_instance(record, arns)
    return _instance(JOIN, record, event_id, at, arns, {**shown, "status": "ACTIVE"})


def deregister(
    record: ContainerInstanceRecord, event_id: uuid.UUID, at: datetime, arns: Arns
) -> AuditRecord:
    """The end of an instance whose agent had joined."""
    shown = cluster.container_instance(record, arns)
    return _instance(LEAVE, record, event_id, at, arns, {**shown, "status": "INACTIVE"})


def _instance(
    name: str,
    record: ContainerInstanceRecord,
    event_id: uuid.UUID,
    at: datetime,
    arns: Arns,
    shown: Json,
) -> AuditRecord:
    environment = record.compute_environment, record.environment_id
    asked: Json = {"cluster": arns.cluster(*environment)}
    if name == LEAVE:
        asked["containerInstance"] = shown["containerInstanceArn"]
    shown = {**shown, "agentConnected": name == JOIN}
    return _act(name, event_id, at, arns, asked, {"containerInstance": shown})


def _act(
    name: str, event_id: uuid.UUID, at: datetime, arns: Arns, asked: Json, answered: Json
) -> AuditRecord:
    record: Json = {
        "eventVersion": "1.11",
        "userIdentity": {"type": "AWSService", "invokedBy": _BATCH},
        "eventTime": shown_time(at),
        "eventSource": SOURCE,
        "eventName": name,
        "awsRegion": arns.region,
        "sourceIPAddress": _BATCH,
        "userAgent": _BATCH,
        "requestParameters": asked,
        "responseElements": answered,
        "requestID": str(event_id),
        "eventID": str(event_id),
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": arns.account,
        "eventCategory": "Management",
    }
    return found_by(record, at)
