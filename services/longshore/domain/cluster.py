"""Compute environments, instances and attempts as Amazon ECS would show them.

AWS Batch runs jobs as tasks of ECS clusters, and some programs look there: for the machine that an
attempt ran on, or at the events and the audit log of ECS. There are no clusters here; what they
would have follows from the same rows as all else.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.domain.job.job import JobKey

#: CPU units of a vCPU.
_UNITS = 1024
#: What an attempt's status is as a task's.
TASK_STATUSES = {"STARTING": "PENDING", "RUNNING": "RUNNING", "ENDED": "STOPPED"}
_SINGLE = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRecord:
    """A compute environment, and how much of it is there."""

    name: str
    uuid: uuid.UUID
    tags: Mapping[str, str]
    instances: int
    running: int
    pending: int
    #: Whether its tasks run on Fargate.
    is_fargate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerInstanceRecord:
    """An instance whose agent joined."""

    instance_id: str
    compute_environment: str
    #: None if the compute environment is gone.
    environment_id: uuid.UUID | None
    instance_type: str
    zone: str
    #: ACTIVE, DRAINING or INACTIVE.
    status: str
    is_connected: bool
    agent_version: str
    registered_at: datetime
    vcpu_milli: int
    memory_mib: int
    gpus: int
    held_vcpu_milli: int = 0
    held_memory_mib: int = 0
    running: int = 0
    pending: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """An attempt with what is told of its job."""

    key: JobKey
    attempt: int
    attempt_id: str
    instance_id: str
    instance_type: str
    zone: str
    compute_environment: str
    #: None if the compute environment is gone.
    environment_id: uuid.UUID | None
    job_queue: str
    definition_name: str
    definition_revision: int
    #: STARTING, RUNNING or ENDED.
    status: str
    stop_kind: str | None
    placed_at: datetime
    started_at: datetime | None
    stopped_at: datetime | None
    exit_code: int | None
    reason: str | None
    status_reason: str | None
    vcpu_milli: int
    memory_mib: int
    image: str | None
    address: str | None = None
    #: Of several containers: name, and exitCode and reason once known.
    containers: Sequence[Json] = field(default_factory=tuple)

    @property
    def is_fargate(self) -> bool:
        """Whether it runs on Fargate, where there are no container instances."""
        return is_fargate(self.instance_type)


def is_fargate(instance_type: str) -> bool:
    """Whether an instance stands for a part of Fargate."""
    return instance_type.startswith("fargate.")


def cluster(record: ClusterRecord, arns: Arns, include: Sequence[str]) -> Json:
    """A Cluster."""
    shown: Json = {
        "clusterArn": arns.cluster(record.name, record.uuid),
        "clusterName": arns.cluster(record.name, record.uuid).rpartition("/")[2],
        "status": "ACTIVE",
        "registeredContainerInstancesCount": record.instances,
        "runningTasksCount": record.running,
        "pendingTasksCount": record.pending,
        "activeServicesCount": 0,
    }
    if "TAGS" in include:
        shown["tags"] = [{"key": key, "value": value} for key, value in record.tags.items()]
    if "STATISTICS" in include:
        kind = "Fargate" if record.is_fargate else "EC2"
        shown["statistics"] = [
            {"name": f"running{kind}TasksCount", "value": str(record.running)},
            {"name": f"pending{kind}TasksCount", "value": str(record.pending)},
        ]
    return shown


def container_instance(record: ContainerInstanceRecord, arns: Arns) -> Json:
    """A ContainerInstance."""
    of_all = _resources(record.vcpu_milli, record.memory_mib, record.gpus)
    free = _resources(
        record.vcpu_milli - record.held_vcpu_milli, record.memory_mib - record.held_memory_mib, 0
    )
    return {
        "containerInstanceArn": arns.container_instance(
            record.compute_environment, record.environment_id, record.instance_id
        ),
        "ec2InstanceId": record.instance_id,
        "status": record.status,
        "agentConnected": record.is_connected,
        "versionInfo": {"agentVersion": record.agent_version},
        "registeredResources": of_all,
        "remainingResources": free,
        "runningTasksCount": record.running,
        "pendingTasksCount": record.pending,
        "registeredAt": record.registered_at.timestamp(),
        "attributes": [
            {"name": "ecs.availability-zone", "value": record.zone},
            {"name": "ecs.instance-type", "value": record.instance_type},
            # Not known here, and looked for without asking whether it is there.
            {"name": "ecs.ami-id", "value": ""},
        ],
    }


def _resources(vcpu_milli: int, memory_mib: int, gpus: int) -> list[Json]:
    amounts = [("CPU", vcpu_milli * _UNITS // 1000), ("MEMORY", memory_mib)]
    found: list[Json] = [
        {"name": name, "type": "INTEGER", "integerValue": amount} for name, amount in amounts
    ]
    if gpus:
        numbers = [str(number) for number in range(gpus)]
        found.append({"name": "GPU", "type": "STRINGSET", "stringSetValue": numbers})
    return found


def task(record: TaskRecord, arns: Arns) -> Json:
    """A Task."""
    environment = record.compute_environment, record.environment_id
    arn = arns.attempt(*environment, record.attempt_id)
    status = TASK_STATUSES[record.status]
    shown: Json = {
        "taskArn": arn,
        "clusterArn": arns.cluster(*environment),
        "taskDefinitionArn": arns.task_definition(
            record.definition_name, record.definition_revision
        ),
        "group": f"family:{record.definition_name}",
        "launchType": "FARGATE" if record.is_fargate else "EC2",
        "lastStatus": status,
        "desiredStatus": "STOPPED" if status == "STOPPED" else "RUNNING",
        "cpu": str(record.vcpu_milli * _UNITS // 1000),
        "memory": str(record.memory_mib),
        "availabilityZone": record.zone,
        "createdAt": record.placed_at.timestamp(),
        "overrides": {"containerOverrides": [_override(record)]},
        "containers": [_container(record, arn, state) for state in _states(record)],
    }
    if not record.is_fargate:
        shown["containerInstanceArn"] = arns.container_instance(*environment, record.instance_id)
    if record.started_at is not None:
        shown["startedAt"] = record.started_at.timestamp()
    if record.stopped_at is not None:
        shown["stoppedAt"] = record.stopped_at.timestamp()
        shown["stoppedReason"] = record.status_reason or record.reason or ""
        if code := _stop_code(record):
            shown["stopCode"] = code
    return shown


def variables(record: TaskRecord) -> list[Json]:
    """The variables by which programs tell whose task one is."""
    named = {
        "AWS_BATCH_JOB_ID": str(record.key),
        "AWS_BATCH_JQ_NAME": record.job_queue,
        "AWS_BATCH_CE_NAME": record.compute_environment,
        "AWS_BATCH_JOB_ATTEMPT": str(record.attempt),
    }
    return [{"name": name, "value": value} for name, value in named.items()]


def _override(record: TaskRecord) -> Json:
    return {"name": _states(record)[0]["name"], "environment": variables(record)}


def _states(record: TaskRecord) -> Sequence[Json]:
    """How far each container is."""
    if record.containers:
        return record.containers
    state: Json = {"name": _SINGLE}
    if record.exit_code is not None:
        state["exitCode"] = record.exit_code
    if record.reason is not None:
        state["reason"] = record.reason
    return [state]


def _container(record: TaskRecord, arn: str, state: Json) -> Json:
    shown: Json = {
        "name": state["name"],
        "taskArn": arn,
        "lastStatus": "STOPPED" if "exitCode" in state else TASK_STATUSES[record.status],
        **{name: state[name] for name in ("exitCode", "reason") if state.get(name) is not None},
    }
    if record.image is not None:
        shown["image"] = record.image
    if record.address is not None:
        shown["networkInterfaces"] = [{"privateIpv4Address": record.address}]
    return shown


def _stop_code(record: TaskRecord) -> str | None:
    if record.stop_kind == "TERMINATED":
        return "UserInitiated"
    if record.exit_code is not None:
        return "EssentialContainerExited"
    return "TaskFailedToStart" if record.started_at is None else None
