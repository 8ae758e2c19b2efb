"""Between the agents' wire and the scheduler's records."""

from collections.abc import Iterable
from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from longshore.domain.errors import InvalidRequest
from longshore.domain.job import JobKey
from longshore.domain.nodes import range_of_each, ranges_of
from longshore.domain.resources import Resources
from longshore.domain.validation_container import needs_of
from longshore.scheduler.ending import AttemptReport
from longshore.state.agent import Notice, Registration
from longshore.state.attempt import LiveAttempt
from longshore.state.job_transition import JobDetails
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import job_definition_pb2, resources_pb2

#: Seconds between SIGTERM and SIGKILL (AWS Batch User Guide, "Job timeouts").
STOP_SECONDS = 30
_RUNTIMES = {
    resources_pb2.RUNTIME_DOCKER: "docker",
    resources_pb2.RUNTIME_PROCESS: "process",
    resources_pb2.RUNTIME_SIMULATED: "simulated",
}


def registration(message: pb.AgentRegister) -> Registration:
    """Reads what an agent says of itself.

    Raises:
        InvalidRequest: a member is missing or out of range.
    """
    for member in ("instance_id", "compute_environment"):
        if not getattr(message, member):
            raise InvalidRequest(f"{member} is empty.", member=member)
    if message.runtime not in _RUNTIMES:
        raise InvalidRequest("runtime is not known.", member="runtime")
    if message.resources.vcpu_milli <= 0 or message.resources.memory_mib <= 0:
        raise InvalidRequest("resources are not above zero.", member="resources")
    return Registration(
        instance_id=message.instance_id,
        compute_environment=message.compute_environment,
        instance_type=message.instance_type,
        architecture=message.architecture,
        runtime=_RUNTIMES[message.runtime],
        unmanaged=message.unmanaged,
        resources=Resources(
            message.resources.vcpu_milli, message.resources.memory_mib, message.resources.gpus
        ),
        address=message.address,
        agent_version=message.agent_version,
    )


def notice(message: pb.AgentNotice, instance_id: str) -> Notice:
    """Reads why an instance will be taken away, and when, if that is known."""
    return Notice(
        instance_id=instance_id,
        reason=message.reason[:255] or "The instance will be taken away.",
        ends_at=_time(message.end_time) if message.HasField("end_time") else None,
    )


def reports(message: pb.AgentReport) -> list[AttemptReport]:
    """Reads a batch of changes.

    Raises:
        InvalidRequest: a job id or status is not one.
    """
    return [_report(change) for change in message.changes]


def _report(change: pb.AttemptChange) -> AttemptReport:
    if change.status == pb.ATTEMPT_STATUS_UNSPECIFIED:
        raise InvalidRequest("status is not set.", member="status")
    return AttemptReport(
        key=JobKey.parse(change.key.job_id),
        attempt=change.key.attempt,
        ended=change.status == pb.ATTEMPT_STATUS_ENDED,
        started_at=_time(change.start_time) if change.HasField("start_time") else None,
        stopped_at=_time(change.stop_time) if change.HasField("stop_time") else None,
        exit_code=change.exit_code if change.HasField("exit_code") else None,
        reason=change.reason[:255] if change.HasField("reason") else None,
        status_reason=change.status_reason or None,
        address=change.address[:255] or None,
    )


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)


def assignment(live: LiveAttempt, job: JobDetails) -> pb.Assignment:
    """What an agent needs to run an attempt."""
    message = pb.Assignment(
        key=key(live),
        attempt_id=live.attempt_id,
        job_name=job.name,
        job_queue=job.job_queue,
        job_definition=f"{job.definition_name}:{job.definition_revision}",
        log_stream_name=live.log_stream_name,
        stop_timeout=Duration(seconds=STOP_SECONDS),
        tags=job.tags,
    )
    if job.nodes is not None:
        nodes = job_definition_pb2.NodeProperties.FromString(job.nodes)
        message.container.CopyFrom(_container_of_node(nodes, live.key.node_index))
        message.resources.CopyFrom(_resources(needs_of(MessageToDict(message.container))))
        message.node.index = live.key.node_index
        message.node.num_nodes = nodes.num_nodes
        message.node.main_index = nodes.main_node
        message.node.main_address = live.main_address
    elif job.container is not None:
        message.container.ParseFromString(job.container)
        message.resources.CopyFrom(_resources(live.held))
    if live.key.is_child:
        message.array_index = live.key.array_index
        if live.array_size is not None:
            message.array_size = live.array_size
    return message


def _container_of_node(
    nodes: job_definition_pb2.NodeProperties, node_index: int
) -> job_definition_pb2.ContainerProperties:
    ranges = ranges_of([entry.target_nodes for entry in nodes.node_range_properties])
    position = range_of_each(ranges, nodes.num_nodes)[node_index]
    return nodes.node_range_properties[position].container


def _resources(amount: Resources) -> resources_pb2.Resources:
    return resources_pb2.Resources(
        vcpu_milli=amount.vcpu_milli, memory_mib=amount.memory_mib, gpus=amount.gpus
    )


def key(live: LiveAttempt) -> pb.AttemptKey:
    """The wire's name of an attempt."""
    return pb.AttemptKey(job_id=str(live.key), attempt=live.attempt)


def stops(lives: Iterable[LiveAttempt]) -> list[pb.AttemptStop]:
    """Attempts that were told to stop."""
    return [
        pb.AttemptStop(key=key(live), status_reason=live.stop.reason)
        for live in lives
        if live.stop is not None
    ]
