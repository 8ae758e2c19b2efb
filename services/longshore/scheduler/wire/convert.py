"""Between the agents' wire and the scheduler's records.

Whatever an agent may say is checked here, so that the tables can hold it. A registration with
something wrong is refused. Of a report what cannot be so is left out or cut to what can: an attempt
that ended has ended, whatever else is said of it.
"""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from longshore.domain.errors import InvalidRequest
from longshore.domain.instance import InstanceCondition, is_instance_id
from longshore.domain.job.containers import CONTAINERS_MAX
from longshore.domain.job.job import JobKey
from longshore.domain.job.nodes import range_of_each, ranges_of
from longshore.domain.job.record import AttemptReport, ContainerState, ImageStart, LiveAttempt
from longshore.domain.job.trace import of_attempt
from longshore.domain.request.container import needs_of
from longshore.domain.request.ecs import needs_of_task
from longshore.domain.resources import Resources
from longshore.scheduler.log_stream import container_log_names
from longshore.state.scheduler.agent import Health, Notice, Registration
from longshore.state.scheduler.job_transition import JobDetails
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import job_definition_pb2, resources_pb2

#: Seconds between SIGTERM and SIGKILL (AWS Batch User Guide, "Job timeouts").
STOP_SECONDS = 30
#: Most attempts that an agent's registration names.
KEYS_LIMIT = 50_000
#: Longest texts, in characters; AWS's reason of a container has 255, a user's reason 1,024.
NAME_MAX = 128
TEXT_MAX = 255
STATUS_REASON_MAX = 1024
#: More than any instance has: vCPUs in thousandths, memory in MiB, GPUs.
VCPU_MILLI_MAX = 10_000_000
MEMORY_MIB_MAX = 1024 * 1024 * 1024
GPUS_MAX = 10_000
#: More than any pull takes, or gets.
PULL_SECONDS_MAX = 86_400.0
PULLED_BYTES_MAX = 2**44
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Seconds from then to the last day that a time may be of.
_LAST_SECOND = int((datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH).total_seconds())
_RUNTIMES = {
    resources_pb2.RUNTIME_DOCKER: "docker",
    resources_pb2.RUNTIME_PROCESS: "process",
    resources_pb2.RUNTIME_SIMULATED: "simulated",
}
#: Statuses that say something new.
_STATUSES = (
    pb.ATTEMPT_STATUS_STARTING,
    pb.ATTEMPT_STATUS_RUNNING,
    pb.ATTEMPT_STATUS_ENDED,
    pb.ATTEMPT_STATUS_RETURNED,
)
_CONDITIONS = {
    pb.AGENT_CONDITION_UNSPECIFIED: InstanceCondition.HEALTHY,
    pb.AGENT_CONDITION_HEALTHY: InstanceCondition.HEALTHY,
    pb.AGENT_CONDITION_ENGINE_AWAY: InstanceCondition.ENGINE_AWAY,
    pb.AGENT_CONDITION_DISK_FULL: InstanceCondition.DISK_FULL,
    pb.AGENT_CONDITION_QUARANTINED: InstanceCondition.QUARANTINED,
}
_NETWORKS = ("sandbox", "bridge", "host", "none")
#: Most GPUs of one machine that are told of.
DEVICES_MAX = 1024
#: Longest name of an agent's process.
PROCESS_ID_MAX = 64
#: Members of a registration that are texts, with their longest.
_TEXTS = {
    "compute_environment": NAME_MAX,
    "instance_type": NAME_MAX,
    "architecture": NAME_MAX,
    "address": TEXT_MAX,
    "agent_version": TEXT_MAX,
    "process_id": PROCESS_ID_MAX,
}
#: What an instance offers at least and at most.
_AMOUNTS = {
    "vcpu_milli": (1, VCPU_MILLI_MAX),
    "memory_mib": (1, MEMORY_MIB_MAX),
    "gpus": (0, GPUS_MAX),
}


def registration(message: pb.AgentRegister) -> Registration:
    """Reads what an agent says of itself.

    Raises:
        InvalidRequest: a member is missing or out of range, or a job id is none.
    """
    if not is_instance_id(message.instance_id):
        raise InvalidRequest(
            "instance_id is not `i-` and 17 hexadecimal digits.", member="instance_id"
        )
    if not message.compute_environment:
        raise InvalidRequest("compute_environment is empty.", member="compute_environment")
    for member, longest in _TEXTS.items():
        text = getattr(message, member)
        if "\0" in text or len(text) > longest:
            raise InvalidRequest(
                f"{member} has a NUL character or more than {longest} characters.", member=member
            )
    if message.runtime not in _RUNTIMES:
        raise InvalidRequest("runtime is not known.", member="runtime")
    for member, (least, most) in _AMOUNTS.items():
        if not least <= getattr(message.resources, member) <= most:
            raise InvalidRequest(
                f"resources.{member} is not from {least:,} to {most:,}.",
                member=f"resources.{member}",
            )
    if len(message.attempts) > KEYS_LIMIT:
        raise InvalidRequest(f"attempts are more than {KEYS_LIMIT:,}.", member="attempts")
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
        attempts=tuple((JobKey.parse(key.job_id), key.attempt) for key in message.attempts),
        health=health(message.health),
        process_id=message.process_id,
        gpu_devices=tuple(_device(device) for device in message.gpu_devices[:DEVICES_MAX]),
    )


def _device(device: pb.GpuDevice) -> str:
    """A GPU in words, for people: nothing is decided by it."""
    name, uuid = _text(device.name, NAME_MAX), _text(device.uuid, NAME_MAX)
    return f"{name}, {device.memory_mib} MiB, {uuid}"


def health(message: pb.AgentHealth) -> Health:
    """Reads how an instance fares; what only a newer agent can say means that it takes nothing."""
    condition = _CONDITIONS.get(message.condition, InstanceCondition.QUARANTINED)
    return Health(
        condition,
        "" if condition is InstanceCondition.HEALTHY else _text(message.detail, TEXT_MAX),
        message.network if message.network in _NETWORKS else "",
        _text(message.network_detail, TEXT_MAX),
    )


def notice(message: pb.AgentNotice, instance_id: str) -> Notice:
    """Reads why an instance will be taken away, and when, if that is known."""
    return Notice(
        instance_id=instance_id,
        reason=_text(message.reason, TEXT_MAX) or "The instance will be taken away.",
        ends_at=_time(message.end_time) if message.HasField("end_time") else None,
    )


def reports(message: pb.AgentReport, instance_id: str) -> list[AttemptReport]:
    """Reads a batch of changes; those that name no attempt, or say nothing new, are left out."""
    read = (_report(change, instance_id) for change in message.changes)
    return [report for report in read if report is not None]


def _report(change: pb.AttemptChange, instance_id: str) -> AttemptReport | None:
    if change.status not in _STATUSES:
        return None
    try:
        key = JobKey.parse(change.key.job_id)
    except InvalidRequest:
        return None
    started = change.HasField("start_time") and change.status != pb.ATTEMPT_STATUS_STARTING
    return AttemptReport(
        key=key,
        attempt=change.key.attempt,
        ended=change.status == pb.ATTEMPT_STATUS_ENDED,
        returned=change.status == pb.ATTEMPT_STATUS_RETURNED,
        started_at=_time(change.start_time) if started else None,
        stopped_at=_time(change.stop_time) if change.HasField("stop_time") else None,
        exit_code=change.exit_code if change.HasField("exit_code") else None,
        reason=_text(change.reason, TEXT_MAX) if change.HasField("reason") else None,
        status_reason=_text(change.status_reason, STATUS_REASON_MAX) or None,
        address=_text(change.address, TEXT_MAX) or None,
        instance_id=instance_id,
        containers=tuple(_container(one) for one in change.containers[:CONTAINERS_MAX]),
        images=tuple(_image(one) for one in change.images[:CONTAINERS_MAX] if one.image),
    )


def _image(start: pb.ImageStart) -> ImageStart:
    """How an attempt came by an image; no wait is longer than a pull may take."""
    seconds = None
    if start.HasField("pull_duration"):
        said = start.pull_duration
        seconds = min(max(said.seconds + said.nanos / 1e9, 0.0), PULL_SECONDS_MAX)
    pulled = min(max(start.pulled_bytes, 0), PULLED_BYTES_MAX)
    return ImageStart(_text(start.image, TEXT_MAX), seconds, pulled)


def _container(change: pb.ContainerChange) -> ContainerState:
    return ContainerState(
        _text(change.name, TEXT_MAX),
        change.HasField("start_time"),
        change.exit_code if change.HasField("exit_code") else None,
        _text(change.reason, TEXT_MAX) if change.HasField("reason") else None,
    )


def _text(said: str, longest: int) -> str:
    """A text as the database can hold it."""
    return said.replace("\0", "\N{REPLACEMENT CHARACTER}")[:longest]


def _time(stamp: Timestamp) -> datetime:
    """A time as the database can hold it: nothing before the epoch, nothing past the year 9999."""
    seconds = min(max(stamp.seconds, 0), _LAST_SECOND)
    return _EPOCH + timedelta(
        seconds=seconds, microseconds=min(max(stamp.nanos, 0), 999_999_999) // 1000
    )


def assignment(
    live: LiveAttempt,
    job: JobDetails,
    environment_id: uuid.UUID | None,
    traced: float | None = None,
) -> pb.Assignment:
    """What an agent needs to run an attempt.

    Args:
        live: the attempt.
        job: its job.
        environment_id: of its compute environment, where that is still there.
        traced: which share of jobs' traces is kept; None: none are made.
    """
    message = pb.Assignment(
        key=key(live),
        attempt_id=live.attempt_id,
        job_name=job.name,
        job_queue=job.job_queue,
        job_definition=f"{job.definition_name}:{job.definition_revision}",
        log_stream_name=live.log_stream_name,
        stop_timeout=Duration(seconds=STOP_SECONDS),
        tags=job.tags,
        compute_environment_uuid=str(environment_id or ""),
    )
    trace = of_attempt(live.key, live.attempt, job.trace, traced)
    if trace is not None:
        message.traceparent, message.tracestate = trace.text, trace.state
    if job.nodes is not None:
        nodes = job_definition_pb2.NodeProperties.FromString(job.nodes)
        _set_range(message, _range_of_node(nodes, live.key.node_index))
        message.node.index = live.key.node_index
        message.node.num_nodes = nodes.num_nodes
        message.node.main_index = nodes.main_node
        message.node.main_address = live.main_address
    else:
        message.resources.CopyFrom(_resources(live.held))
        if job.task is not None:
            message.task.ParseFromString(job.task)
        elif job.container is not None:
            message.container.ParseFromString(job.container)
    if message.HasField("task"):
        names = container_log_names(message.task, job.definition_name, live.attempt_id)
        message.container_log_stream_names.extend(names)
    if live.key.is_child:
        index, size = live.key.array_index, live.array_size
        if job.origins is not None:
            index, size = job.origins.of(index), job.origins.size
        message.array_index = index
        if size is not None:
            message.array_size = size
    return message


def _set_range(message: pb.Assignment, entry: job_definition_pb2.NodeRangeProperty) -> None:
    """Sets what a node runs and takes; its instance it has to itself."""
    if entry.HasField("ecs_properties"):
        message.task.CopyFrom(entry.ecs_properties.task_properties[0])
        needs = needs_of_task(MessageToDict(message.task))
    else:
        message.container.CopyFrom(entry.container)
        needs = needs_of(MessageToDict(message.container))
    message.resources.CopyFrom(_resources(needs))


def _range_of_node(
    nodes: job_definition_pb2.NodeProperties, node_index: int
) -> job_definition_pb2.NodeRangeProperty:
    ranges = ranges_of([entry.target_nodes for entry in nodes.node_range_properties])
    return nodes.node_range_properties[range_of_each(ranges, nodes.num_nodes)[node_index]]


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
