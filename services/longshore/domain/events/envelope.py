"""Events in EventBridge's shape, made of what happened.

Of one thing that happened several events may be told: of a job that is placed its own change of
status, the task that AWS would make of it, and the call that would make the task. `kinds` names
them without reading anything, so that only what somebody waits for is made.
"""

import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.domain.events.hops import BUSES_MEMBER, HOPS_MEMBER, HOPS_TAG
from longshore.domain.events.occurrence import Happened, JobMoved, Kind, Told
from longshore.domain.events.rule import DEFAULT_BUS
from longshore.domain.job.job import JobStatus
from longshore.domain.request.job_detail import job_detail
from longshore.domain.request.moment import Moment, as_of
from longshore.domain.request.reading import AttemptRecord, DescribedJob


class DetailType(StrEnum):
    """What an event tells of."""

    JOB = "Batch Job State Change"
    QUEUE_BLOCKED = "Batch Job Queue Blocked"
    TASK = "ECS Task State Change"
    API_CALL = "AWS API Call via CloudTrail"
    INSTANCE = "EC2 Instance State-change Notification"
    INTERRUPTION = "EC2 Spot Instance Interruption Warning"


BATCH, ECS, EC2 = "aws.batch", "aws.ecs", "aws.ec2"
_TASKS = {JobStatus.STARTING: "PENDING", JobStatus.RUNNING: "RUNNING"}
_INSTANCES = {
    Kind.INSTANCE_STATE: DetailType.INSTANCE,
    Kind.SPOT_INTERRUPTION: DetailType.INTERRUPTION,
}
_ACTS = {
    Kind.AGENT_JOINED: "RegisterContainerInstance",
    Kind.AGENT_LEFT: "DeregisterContainerInstance",
}


@dataclass(frozen=True, slots=True)
class Sketch:
    """As much of an event as is known before anything is read for it."""

    happened: Happened
    bus: str
    source: str
    detail_type: str
    #: `detail.status`, where it has one that is known.
    status: str | None = None
    #: Whether it is of a call that only read.
    is_read: bool = False


def sketches(happened: Happened) -> list[Sketch]:
    """The events that are told of something that happened to one job, or to something else."""
    if isinstance(happened, JobMoved):
        if happened.status is JobStatus.SUBMITTED:
            return []
        found = [Sketch(happened, DEFAULT_BUS, BATCH, DetailType.JOB, happened.status.value)]
        if happened.attempt and happened.status is not JobStatus.PENDING:
            found.append(Sketch(happened, DEFAULT_BUS, ECS, DetailType.TASK))
        if happened.status is JobStatus.STARTING:
            found.append(Sketch(happened, DEFAULT_BUS, ECS, DetailType.API_CALL))
        return found
    return [_told(happened)]


def _told(told: Told) -> Sketch:
    match told.kind:
        case Kind.PUT:
            body = told.body
            return Sketch(told, body["bus"], body["source"], body["detail-type"])
        case Kind.QUEUE_BLOCKED:
            status = JobStatus.RUNNABLE.value
            return Sketch(told, DEFAULT_BUS, BATCH, DetailType.QUEUE_BLOCKED, status)
        case Kind.AGENT_JOINED | Kind.AGENT_LEFT:
            return Sketch(told, DEFAULT_BUS, ECS, DetailType.API_CALL)
        case Kind.API_CALL:
            # Such as `batch.amazonaws.com`.
            source = "aws." + str(told.body["eventSource"]).partition(".")[0]
            is_read = bool(told.body.get("readOnly"))
            return Sketch(told, DEFAULT_BUS, source, DetailType.API_CALL, is_read=is_read)
        case _:
            return Sketch(told, DEFAULT_BUS, EC2, _INSTANCES[told.kind])


class Writer:
    """Makes events of one installation."""

    def __init__(self, arns: Arns, namespace: uuid.UUID) -> None:
        self._arns = arns
        self._namespace = namespace

    def event_id(self, name: str) -> uuid.UUID:
        """The id that follows from what an event is about."""
        return uuid.uuid5(self._namespace, name)

    def write(self, sketch: Sketch, described: DescribedJob | None) -> Json | None:
        """An event; None if there is none after all, or its job is no longer on record.

        Args:
            sketch: of the event.
            described: the job that it is about, as it is now.
        """
        happened = sketch.happened
        if isinstance(happened, Told):
            return self._of_told(sketch, happened, described)
        event = None if described is None else self._of_job(sketch, happened, described)
        if event is not None and described is not None:
            hops = described.tags.get(HOPS_TAG)
            # Said here, since only whole jobs show their tags.
            return event if hops is None else {**event, HOPS_MEMBER: hops}
        return event

    def _of_told(self, sketch: Sketch, told: Told, described: DescribedJob | None) -> Json | None:
        match told.kind:
            case Kind.PUT:
                return self._put(told)
            case Kind.QUEUE_BLOCKED:
                return None if described is None else self._blocked(sketch, told, described)
            case Kind.AGENT_JOINED | Kind.AGENT_LEFT:
                return self._of_agent(sketch, told)
            case Kind.API_CALL:
                return self._envelope(sketch, f"call/{told.number}", [], told.body)
            case _:
                arn = self._arns.instance(told.body["instance-id"])
                return self._envelope(sketch, str(told.number), [arn], told.body)

    def _of_job(self, sketch: Sketch, moved: JobMoved, described: DescribedJob) -> Json | None:
        moment = Moment(moved.status, moved.status_reason, moved.attempt, moved.at)
        then = as_of(described, moment)
        name = f"{moved.number}/{moved.first}"
        if sketch.detail_type == DetailType.JOB:
            detail = _completed(job_detail(then, self._arns))
            return self._envelope(sketch, name, [detail["jobArn"]], detail)
        if then.job.nodes is not None and not then.job.key.is_node:
            # Each of its nodes is a task, and tells of it.
            return None
        # What began for an attempt that was given back is of an attempt that is not on record.
        own = then.attempts[-1] if then.attempts else None
        if own is None or own.attempt != moved.attempt:
            return None
        if sketch.detail_type == DetailType.API_CALL:
            call = self._run_task(moved, then, own)
            return self._envelope(sketch, f"{name}/call", [], call)
        task = self._task(moved, then, own)
        # Its end is told with that of the attempt; a job that fails later, before its next attempt,
        # tells of it again, and so by the same id.
        name = f"{own.attempt_id}/{task['lastStatus']}"
        return self._envelope(sketch, name, [task["taskArn"]], task)

    def _blocked(self, sketch: Sketch, told: Told, described: DescribedJob) -> Json:
        ended = tuple(
            attempt
            for attempt in described.attempts
            if attempt.stopped_at is not None and attempt.stopped_at <= told.at
        )
        latest = ended[-1].attempt if ended else 0
        moment = Moment(JobStatus.RUNNABLE, told.body["reason"], latest, told.at)
        then = as_of(replace(described, attempts=ended), moment)
        detail = _completed(job_detail(then, self._arns))
        resources = [detail["jobArn"], detail["jobQueue"]]
        return self._envelope(sketch, str(told.number), resources, detail)

    def _put(self, told: Told) -> Json:
        body = told.body
        # What came from another bus is the same event there.
        kept = ("id", "account", HOPS_MEMBER, BUSES_MEMBER)
        more = {name: body[name] for name in kept if name in body}
        return {
            "version": "0",
            "id": str(self.event_id(str(told.number))),
            "detail-type": body["detail-type"],
            "source": body["source"],
            "account": self._arns.account,
            "time": body["time"],
            "region": self._arns.region,
            "resources": body["resources"],
            "detail": body["detail"],
            **more,
        }

    def _envelope(self, sketch: Sketch, name: str, resources: list[str], detail: Json) -> Json:
        return {
            "version": "0",
            "id": str(self.event_id(name)),
            "detail-type": str(sketch.detail_type),
            "source": sketch.source,
            "account": self._arns.account,
            "time": time_text(sketch.happened.at),
            "region": self._arns.region,
            "resources": resources,
            "detail": detail,
        }

    def _task(self, moved: JobMoved, then: DescribedJob, own: AttemptRecord) -> Json:
        """The task that AWS would make of an attempt."""
        job, environment = then.job, (own.compute_environment, own.environment_id)
        last = _TASKS.get(moved.status, "STOPPED")
        container: Json = {"name": "default", "lastStatus": last}
        task_arn = self._arns.attempt(*environment, own.attempt_id)
        container["taskArn"] = task_arn
        task: Json = {
            "clusterArn": self._arns.cluster(*environment),
            "taskArn": task_arn,
            "containerInstanceArn": self._arns.container_instance(*environment, own.instance_id),
            "availabilityZone": own.zone,
            "taskDefinitionArn": self._arns.task_definition(
                job.definition_name, job.definition_revision
            ),
            "group": f"family:{job.definition_name}",
            "launchType": "EC2",
            "lastStatus": last,
            "desiredStatus": "STOPPED" if last == "STOPPED" else "RUNNING",
            "overrides": {"containerOverrides": [_override(then, own)]},
            "containers": [container],
            "updatedAt": time_text(moved.at),
        }
        if own.started_at is not None and last != "PENDING":
            task["startedAt"] = time_text(own.started_at)
        if last == "STOPPED" and own.stopped_at is not None:
            task["stoppedAt"] = time_text(own.stopped_at)
            task["stoppedReason"] = own.status_reason or ""
            if own.exit_code is not None:
                container["exitCode"] = own.exit_code
            if own.reason is not None:
                container["reason"] = own.reason
        return task

    def _run_task(self, moved: JobMoved, then: DescribedJob, own: AttemptRecord) -> Json:
        """The record of the call by which AWS would start an attempt."""
        job, environment = then.job, (own.compute_environment, own.environment_id)
        asked: Json = {
            "cluster": self._arns.cluster(*environment),
            "taskDefinition": f"{job.definition_name}:{job.definition_revision}",
            "tags": [
                {"key": "aws:batch:compute-environment", "value": own.compute_environment},
                {"key": "aws:batch:job-queue", "value": job.job_queue},
            ],
            "overrides": {"containerOverrides": [_override(then, own)]},
        }
        tasks = [{"taskArn": self._arns.attempt(*environment, own.attempt_id)}]
        answered: Json = {"tasks": tasks, "failures": []}
        return self._act("RunTask", str(uuid.UUID(own.attempt_id)), moved.at, asked, answered)

    def _of_agent(self, sketch: Sketch, told: Told) -> Json:
        """The call by which an instance would join its cluster at AWS, or leave it."""
        body, name = told.body, _ACTS[told.kind]
        given = body["environment_id"]
        environment = body["compute_environment"], None if given is None else uuid.UUID(given)
        arn = self._arns.container_instance(*environment, body["instance_id"])
        joined = told.kind is Kind.AGENT_JOINED
        attributes = {
            "ecs.availability-zone": body["zone"],
            "ecs.instance-type": body["instance_type"],
        }
        resources = {"CPU": body["vcpu_milli"] * 1024 // 1000, "MEMORY": body["memory_mib"]}
        instance: Json = {
            "containerInstanceArn": arn,
            "ec2InstanceId": body["instance_id"],
            "status": "ACTIVE" if joined else "INACTIVE",
            "agentConnected": joined,
            "attributes": [{"name": n, "value": v} for n, v in attributes.items() if v],
            "registeredResources": [
                {"name": n, "type": "INTEGER", "integerValue": v} for n, v in resources.items()
            ],
        }
        asked: Json = {"cluster": self._arns.cluster(*environment)}
        if not joined:
            asked["containerInstance"] = arn
        ident = str(self.event_id(f"{told.number}/call"))
        record = self._act(name, ident, told.at, asked, {"containerInstance": instance})
        return self._envelope(sketch, str(told.number), [], record)

    def _act(self, name: str, ident: str, at: datetime, asked: Json, answered: Json) -> Json:
        """The record of a call that Batch makes to ECS at AWS."""
        return {
            "eventVersion": "1.11",
            "userIdentity": {"type": "AWSService", "invokedBy": "batch.amazonaws.com"},
            "eventTime": time_text(at),
            "eventSource": "ecs.amazonaws.com",
            "eventName": name,
            "awsRegion": self._arns.region,
            "sourceIPAddress": "batch.amazonaws.com",
            "userAgent": "batch.amazonaws.com",
            "requestParameters": asked,
            "responseElements": answered,
            "eventID": ident,
            "readOnly": False,
            "eventType": "AwsApiCall",
            "managementEvent": True,
            "recipientAccountId": self._arns.account,
            "eventCategory": "Management",
        }


def time_text(at: datetime) -> str:
    """A time as events have it: whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _override(then: DescribedJob, own: AttemptRecord) -> Json:
    """What AWS sets in the container of a job: how consumers find the job of a task."""
    job = then.job
    values = {
        "AWS_BATCH_JOB_ID": str(job.key),
        "AWS_BATCH_JQ_NAME": job.job_queue,
        "AWS_BATCH_CE_NAME": own.compute_environment,
        "AWS_BATCH_JOB_ATTEMPT": str(own.attempt),
    }
    if job.is_child:
        values["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.key.array_index)
    return {
        "name": "default",
        "environment": [{"name": name, "value": value} for name, value in values.items()],
    }


#: Members that AWS shows also where they are empty.
_EMPTY: Json = {"attempts": [], "dependsOn": [], "parameters": {}, "tags": {}}
_EMPTY_CONTAINER: Json = {
    name: []
    for name in (
        "command",
        "environment",
        "mountPoints",
        "networkInterfaces",
        "resourceRequirements",
        "secrets",
        "ulimits",
        "volumes",
    )
}


def _completed(detail: Json) -> Json:
    """A job's detail with the members that are there also where they are empty."""
    whole = {**_EMPTY, **detail}
    whole["tags"] = {"resourceArn": detail["jobArn"], **whole["tags"]}
    if "retryStrategy" in whole:
        whole["retryStrategy"] = {"evaluateOnExit": [], **whole["retryStrategy"]}
    if "container" in whole and "ecsProperties" not in whole:
        whole["container"] = {**_EMPTY_CONTAINER, **whole["container"]}
    whole["attempts"] = [
        {**one, "container": {"networkInterfaces": [], **one["container"]}}
        if "container" in one
        else one
        for one in whole["attempts"]
    ]
    whole.setdefault("propagateTags", False)
    return whole
