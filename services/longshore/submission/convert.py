"""Between the wire's messages and the domain: AWS-shaped JSON in, records out."""

import functools
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from longshore.domain.arn import JOB_QUEUE, Arns, parse_definition, parse_name
from longshore.domain.environment import ComputeEnvironment, JobQueue
from longshore.domain.errors import InvalidRequest
from longshore.domain.job import JobKey, JobStatus
from longshore.domain.merge import Overrides
from longshore.domain.reading import AttemptRecord, DescribedJob, JobRecord
from longshore.domain.submission import PLAIN, Dependency, Submission
from longshore.domain.validation import (
    SUBMIT_BYTES_MAX,
    Json,
    check_job_name,
    check_priority,
    check_propagation,
    check_size,
    check_tags,
    require,
    unsupported,
)
from longshore.domain.validation_environment import compute_resources
from longshore.state.job_definition import DefinitionRecord
from longshore.submission.jobs import ListRequest
from longshore.v1 import (
    compute_environment_pb2,
    job_definition_pb2,
    job_pb2,
    job_queue_pb2,
)

_NO_SHARE = (
    "Job with shareIdentifier or schedulingPriority can onlybe submitted to job queue with fair "
    "share scheduling policy."
)
_STARTED = (JobStatus.STARTING, JobStatus.RUNNING, JobStatus.SUCCEEDED, JobStatus.FAILED)


def to_json(message: Message) -> Json:
    """A request as AWS-shaped JSON."""
    return MessageToDict(message)


def encode_container(container: Json) -> bytes:
    """Container properties as agents get them."""
    return ParseDict(container, job_definition_pb2.ContainerProperties()).SerializeToString()


def submission_from(request: job_pb2.SubmitJobRequest, request_id: uuid.UUID | None) -> Submission:
    """A SubmitJob request, its form checked as far as the wire knows it."""
    check_size(request.ByteSize(), SUBMIT_BYTES_MAX, "SubmitJob")
    check_job_name(request.job_name)
    _refuse_other_overrides(request)
    if request.consumable_resource_properties_override.consumable_resource_list:
        raise unsupported("consumableResourcePropertiesOverride")
    check_propagation(request.propagate_tags)
    check_priority(request.scheduling_priority_override, "schedulingPriorityOverride")
    if request.HasField("share_identifier") or request.HasField("scheduling_priority_override"):
        raise InvalidRequest(_NO_SHARE, member="shareIdentifier")
    if request.tags:
        check_tags(request.tags)
    return Submission(
        job_name=request.job_name,
        job_queue=_known_queue(request.job_queue),
        definition=parse_definition(request.job_definition, member="jobDefinition"),
        array_size=_array_size(request),
        depends_on=tuple(_dependency(entry) for entry in request.depends_on),
        parameters=dict(request.parameters),
        overrides=_overrides(request),
        retry=to_json(request.retry_strategy) if request.HasField("retry_strategy") else None,
        timeout=to_json(request.timeout) if request.HasField("timeout") else None,
        tags=dict(request.tags),
        request_id=request_id,
    )


def _refuse_other_overrides(request: job_pb2.SubmitJobRequest) -> None:
    given = {
        "nodeOverrides": request.HasField("node_overrides"),
        "eksPropertiesOverride": request.HasField("eks_properties_override"),
        "ecsPropertiesOverride": request.HasField("ecs_properties_override"),
    }
    for name, present in given.items():
        if present:
            raise unsupported(name, ": use containerOverrides")


@functools.lru_cache(maxsize=1024)
def _known_queue(text: str) -> str:
    return parse_name(JOB_QUEUE, text, member="jobQueue")


def _array_size(request: job_pb2.SubmitJobRequest) -> int | None:
    # `arrayProperties: {}` asks for nothing, as at AWS.
    properties = request.array_properties
    return properties.size if properties.HasField("size") else None


def _dependency(entry: job_pb2.JobDependency) -> Dependency:
    return Dependency(
        job=JobKey.parse(entry.job_id) if entry.job_id else None, type=entry.type or PLAIN
    )


def _overrides(request: job_pb2.SubmitJobRequest) -> Overrides | None:
    if not request.HasField("container_overrides"):
        return None
    given = request.container_overrides
    require(
        not given.instance_type,
        "containerOverrides.instanceType is for multi-node jobs alone.",
        "containerOverrides.instanceType",
    )
    return Overrides(
        command=tuple(given.command),
        environment=tuple({"name": v.name, "value": v.value} for v in given.environment),
        resource_requirements=tuple(
            {"type": r.type, "value": r.value} for r in given.resource_requirements
        ),
        vcpus=given.vcpus if given.HasField("vcpus") else None,
        memory=given.memory if given.HasField("memory") else None,
    )


def list_request_from(request: job_pb2.ListJobsRequest) -> ListRequest:
    """A ListJobs request."""
    return ListRequest(
        job_queue=request.job_queue if request.HasField("job_queue") else None,
        array_job_id=request.array_job_id if request.HasField("array_job_id") else None,
        multi_node_job_id=(
            request.multi_node_job_id if request.HasField("multi_node_job_id") else None
        ),
        status=request.job_status or None,
        max_results=request.max_results if request.HasField("max_results") else None,
        token=request.next_token or None,
        filters=tuple((entry.name, tuple(entry.values)) for entry in request.filters),
    )


def environment_to(
    environment: ComputeEnvironment, arns: Arns
) -> compute_environment_pb2.ComputeEnvironmentDetail:
    """A compute environment as AWS shows it."""
    detail: Json = {
        **environment.detail,
        "computeEnvironmentName": environment.name,
        "computeEnvironmentArn": arns.compute_environment(environment.name),
        "ecsClusterArn": arns.cluster(environment.name, environment.uuid),
        "tags": dict(environment.tags),
        "type": environment.type,
        "state": environment.state,
        "status": environment.status,
        "statusReason": environment.status_reason,
        "containerOrchestrationType": "ECS",
        "uuid": str(environment.uuid),
    }
    if environment.unmanagedv_cpus is not None:
        detail["unmanagedvCpus"] = environment.unmanagedv_cpus
    if environment.resource_type is not None:
        detail["computeResources"] = compute_resources(environment)
    return ParseDict(detail, compute_environment_pb2.ComputeEnvironmentDetail())


def queue_to(queue: JobQueue, arns: Arns) -> job_queue_pb2.JobQueueDetail:
    """A queue as AWS shows it: compute environments by ARN."""
    return job_queue_pb2.JobQueueDetail(
        job_queue_name=queue.name,
        job_queue_arn=arns.job_queue(queue.name),
        state=queue.state,
        status=queue.status,
        status_reason=queue.status_reason,
        priority=queue.priority,
        compute_environment_order=[
            job_queue_pb2.ComputeEnvironmentOrder(
                order=order, compute_environment=arns.compute_environment(name)
            )
            for order, name in queue.environments
        ],
        job_queue_type=queue.detail.get("jobQueueType", "ECS"),
        tags=queue.tags,
    )


def definition_to(record: DefinitionRecord, arns: Arns) -> job_definition_pb2.JobDefinition:
    """A revision as AWS shows it."""
    detail: Json = {
        "parameters": {},
        "propagateTags": False,
        **record.detail,
        "jobDefinitionName": record.name,
        "jobDefinitionArn": arns.job_definition(record.name, record.revision),
        "revision": record.revision,
        "status": record.status,
        "type": record.type,
        "tags": dict(record.tags),
        "containerOrchestrationType": "ECS",
    }
    return ParseDict(detail, job_definition_pb2.JobDefinition())


def job_to(described: DescribedJob, arns: Arns) -> job_pb2.JobDetail:
    """A job as AWS shows it: what it was submitted as, and where it is now."""
    job, key = described.job, str(described.job.key)
    detail: Json = {
        **described.detail,
        "jobArn": arns.job(key),
        "jobId": key,
        "jobName": job.name,
        "jobQueue": arns.job_queue(job.job_queue),
        "jobDefinition": arns.job_definition(job.definition_name, job.definition_revision),
        "status": str(job.status),
        "container": {**described.detail["container"], **_container_state(described, arns)},
        "attempts": [_attempt(a, arns) for a in described.attempts if a.stopped_at is not None],
        "isCancelled": job.is_cancelled,
        "isTerminated": job.is_terminated,
        # Tags belong to the array; AWS never shows them on its children.
        "tags": {} if job.is_child else dict(described.tags),
        **_times(job),
    }
    _put(detail, "statusReason", job.status_reason)
    if job.array_size is not None:
        detail["arrayProperties"] = _array_detail(job)
    return ParseDict(detail, job_pb2.JobDetail())


def summary_to(job: JobRecord, arns: Arns) -> job_pb2.JobSummary:
    """A job as a listing shows it."""
    key = str(job.key)
    summary: Json = {
        "jobArn": arns.job(key),
        "jobId": key,
        "jobName": job.name,
        "status": str(job.status),
        "jobDefinition": arns.job_definition(job.definition_name, job.definition_revision),
        **_times(job),
    }
    _put(summary, "statusReason", job.status_reason)
    container: Json = {}
    _put(container, "exitCode", job.exit_code)
    _put(container, "reason", job.reason)
    if container:
        summary["container"] = container
    if job.array_size is not None:
        summary["arrayProperties"] = _array_detail(job)
    if job.is_cancelled:
        summary["isCancelled"] = True
    if job.is_terminated:
        summary["isTerminated"] = True
    return ParseDict(summary, job_pb2.JobSummary())


def _times(job: JobRecord) -> Json:
    times: Json = {"createdAt": _milliseconds(job.created_at)}
    if job.started_at is not None:
        times["startedAt"] = _milliseconds(job.started_at)
    if job.stopped_at is not None:
        times["stoppedAt"] = _milliseconds(job.stopped_at)
    return times


def _array_detail(job: JobRecord) -> Json:
    if job.is_child:
        return {"index": job.key.array_index, "size": job.array_size}
    counts: Mapping[str, int] = {str(status): 0 for status in JobStatus}
    detail: Json = {"size": job.array_size, "statusSummary": counts}
    if job.counts is not None:
        detail["statusSummary"] = job.counts.by_status
        detail["statusSummaryLastUpdatedAt"] = _milliseconds(job.counts.changed_at)
    return detail


def _container_state(described: DescribedJob, arns: Arns) -> Json:
    """What the latest attempt adds to the container; nothing between two attempts."""
    job = described.job
    state: Json = {}
    if not described.attempts or job.status not in _STARTED:
        return state
    state.update(_attempt_container(described.attempts[-1], arns))
    _put(state, "exitCode", job.exit_code)
    _put(state, "reason", job.reason)
    return state


def _attempt(attempt: AttemptRecord, arns: Arns) -> Json:
    entry: Json = {"container": _attempt_container(attempt, arns)}
    _put(entry, "statusReason", attempt.status_reason)
    for name, at in (("startedAt", attempt.started_at), ("stoppedAt", attempt.stopped_at)):
        if at is not None:
            entry[name] = _milliseconds(at)
    return entry


def _attempt_container(attempt: AttemptRecord, arns: Arns) -> Json:
    environment = attempt.compute_environment, attempt.environment_id
    container: Json = {
        "containerInstanceArn": arns.container_instance(*environment, attempt.instance_id),
        "taskArn": arns.attempt(*environment, attempt.attempt_id),
    }
    if attempt.started_at is not None:
        container["logStreamName"] = attempt.log_stream_name
    _put(container, "exitCode", attempt.exit_code)
    _put(container, "reason", attempt.reason)
    return container


def _put(target: Json, name: str, value: Any) -> None:
    if value is not None:
        target[name] = value


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
