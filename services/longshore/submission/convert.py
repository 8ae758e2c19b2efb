"""What is asked: the wire's messages as AWS-shaped JSON and as records of the domain."""

import functools
import hashlib
import uuid
from dataclasses import replace

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from longshore.domain.arn import JOB_QUEUE, parse_definition, parse_name
from longshore.domain.checks import (
    Json,
    check_job_name,
    check_priority,
    check_tags,
    require,
)
from longshore.domain.job.dependency import DependencyCondition
from longshore.domain.job.job import JobKey
from longshore.domain.job.trace import TraceParent
from longshore.domain.request.ecs import (
    OVERRIDE_PATH,
    ContainerOverrides,
    EcsOverrides,
    task_of,
)
from longshore.domain.request.listing import ListRequest
from longshore.domain.request.merge import Overrides
from longshore.domain.request.node_overrides import NodeOverrides, RangeOverrides
from longshore.domain.request.submission import PLAIN, RequestedDependency, Submission, Token
from longshore.v1 import (
    ecs_pb2,
    job_definition_pb2,
    job_pb2,
)


def to_json(message: Message) -> Json:
    """A request as AWS-shaped JSON."""
    return MessageToDict(message)


def encode_container(container: Json) -> bytes:
    """Container properties as agents get them."""
    return ParseDict(container, job_definition_pb2.ContainerProperties()).SerializeToString()


def encode_task(properties: Json) -> bytes:
    """`ecsProperties` as agents get them: their only task."""
    return ParseDict(task_of(properties), ecs_pb2.EcsTaskProperties()).SerializeToString()


def encode_nodes(properties: Json) -> bytes:
    """Properties of a multi-node job, as the scheduler reads them."""
    return ParseDict(properties, job_definition_pb2.NodeProperties()).SerializeToString()


def submission_from(
    request: job_pb2.SubmitJobRequest,
    request_id: uuid.UUID | None,
    trace: TraceParent | None = None,
) -> Submission:
    """A SubmitJob request, its form checked as far as the wire knows it.

    Args:
        request: as it came.
        request_id: the id that the caller chose for the job.
        trace: the span that it comes from.
    """
    check_job_name(request.job_name)
    check_priority(request.scheduling_priority_override, "schedulingPriorityOverride")
    if request.tags:
        check_tags(request.tags)
    return Submission(
        job_name=request.job_name,
        job_queue=_known_queue(request.job_queue),
        definition=parse_definition(request.job_definition, member="jobDefinition"),
        array_size=_array_size(request),
        depends_on=tuple(_dependency(*entry) for entry in enumerate(request.depends_on)),
        parameters=dict(request.parameters),
        overrides=(
            _overrides(request.container_overrides)
            if request.HasField("container_overrides")
            else None
        ),
        ecs_overrides=(
            _ecs_overrides(request.ecs_properties_override, OVERRIDE_PATH)
            if request.HasField("ecs_properties_override")
            else None
        ),
        node_overrides=_node_overrides(request),
        retry=to_json(request.retry_strategy) if request.HasField("retry_strategy") else None,
        timeout=to_json(request.timeout) if request.HasField("timeout") else None,
        tags=dict(request.tags),
        propagate_tags=request.propagate_tags if request.HasField("propagate_tags") else None,
        request_id=None if request.HasField("client_token") else request_id,
        trace=trace,
        share=request.share_identifier if request.HasField("share_identifier") else None,
        priority=(
            request.scheduling_priority_override
            if request.HasField("scheduling_priority_override")
            else None
        ),
        consumables=_consumables(request),
        token=(
            token_of(request, request.client_token) if request.HasField("client_token") else None
        ),
        max_running=(
            request.array_properties.max_running
            if request.array_properties.HasField("max_running")
            else None
        ),
    )


def _consumables(
    request: job_pb2.SubmitJobRequest | job_pb2.NodePropertyOverride,
) -> Json | None:
    if not request.HasField("consumable_resource_properties_override"):
        return None
    return to_json(request.consumable_resource_properties_override)


def token_of(request: Message, text: str) -> Token:
    """A caller's token, with a digest of all that the request says."""
    told = request.SerializeToString(deterministic=True)
    kind = request.DESCRIPTOR.full_name.encode()
    return Token(text, hashlib.sha256(kind + b"\0" + told).digest())


@functools.lru_cache(maxsize=1024)
def _known_queue(text: str) -> str:
    return parse_name(JOB_QUEUE, text, member="jobQueue")


def _array_size(request: job_pb2.SubmitJobRequest) -> int | None:
    # `arrayProperties: {}` asks for nothing, as at AWS.
    properties = request.array_properties
    return properties.size if properties.HasField("size") else None


def _dependency(index: int, entry: job_pb2.JobDependency) -> RequestedDependency:
    job = JobKey.named(entry.job_id, f"dependsOn[{index}].jobId") if entry.job_id else None
    return RequestedDependency(
        job,
        entry.type or PLAIN,
        DependencyCondition(entry.condition or DependencyCondition.SUCCESS),
    )


def _overrides(given: job_pb2.ContainerOverrides) -> Overrides:
    return replace(
        _shared_overrides(given),
        vcpus=given.vcpus if given.HasField("vcpus") else None,
        memory=given.memory if given.HasField("memory") else None,
        instance_type=given.instance_type or None,
    )


def _ecs_overrides(given: ecs_pb2.EcsPropertiesOverride, path: str) -> EcsOverrides:
    member = f"{path}.taskProperties"
    require(len(given.task_properties) <= 1, f"{member} has more than one entry.", member)
    return EcsOverrides(
        tuple(
            ContainerOverrides(entry.name, _shared_overrides(entry))
            for task in given.task_properties
            for entry in task.containers
        )
    )


def _shared_overrides(
    given: job_pb2.ContainerOverrides | ecs_pb2.TaskContainerOverrides,
) -> Overrides:
    """What may be changed in a job's only container and in one of several."""
    return Overrides(
        command=tuple(given.command),
        environment=tuple({"name": v.name, "value": v.value} for v in given.environment),
        resource_requirements=tuple(
            {"type": r.type, "value": r.value} for r in given.resource_requirements
        ),
    )


def _node_overrides(request: job_pb2.SubmitJobRequest) -> NodeOverrides | None:
    if not request.HasField("node_overrides"):
        return None
    given = request.node_overrides
    return NodeOverrides(
        num_nodes=given.num_nodes if given.HasField("num_nodes") else None,
        ranges=tuple(
            _range_overrides(entry, f"nodeOverrides.nodePropertyOverrides[{index}]")
            for index, entry in enumerate(given.node_property_overrides)
        ),
    )


def _range_overrides(entry: job_pb2.NodePropertyOverride, member: str) -> RangeOverrides:
    has_overrides = entry.HasField("container_overrides")
    return RangeOverrides(
        target_nodes=entry.target_nodes,
        container=_overrides(entry.container_overrides) if has_overrides else None,
        ecs=(
            _ecs_overrides(entry.ecs_properties_override, f"{member}.{OVERRIDE_PATH}")
            if entry.HasField("ecs_properties_override")
            else None
        ),
        instance_types=tuple(entry.instance_types),
        consumables=_consumables(entry),
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
