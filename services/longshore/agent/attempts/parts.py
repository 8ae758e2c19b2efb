"""The containers of a multi-container job, each as what runs containers knows attempts."""

import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict

from longshore.agent.attempts.attempt import Attempt
from longshore.domain.errors import InvalidRequest
from longshore.domain.job.containers import JobContainer
from longshore.domain.request.container import needs_of
from longshore.domain.request.ecs import members_of
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import ecs_pb2, job_definition_pb2, resources_pb2

log = structlog.get_logger()

_CONTAINER = job_definition_pb2.ContainerProperties.DESCRIPTOR.fields_by_name


def divide(attempt: Attempt) -> None:
    """Gives an attempt of several containers its parts; others have none.

    One whose containers make no sense has none, either, and fails as one without an image does.
    """
    try:
        attempt.parts = tuple(
            Attempt(
                attempt.key._replace(container=position),
                part_assignment(attempt.assignment, position),
                of=attempt,
                change=pb.ContainerChange(name=container.name),
            )
            for position, container in enumerate(attempt.assignment.task.containers, start=1)
        )
    except (InvalidRequest, IndexError):
        log.exception("attempt.not_divided", job_id=attempt.key.job_id, attempt=attempt.key.attempt)


def members(attempt: Attempt) -> list[JobContainer]:
    """The containers of an attempt, as their order is decided by."""
    return members_of([MessageToDict(c) for c in attempt.assignment.task.containers])


def part_assignment(whole: pb.Assignment, position: int) -> pb.Assignment:
    """What one of several containers runs, as if it were the job's only one; the first is 1."""
    given = whole.task.containers[position - 1]
    part = pb.Assignment()
    part.CopyFrom(whole)
    part.ClearField("task")
    part.ClearField("container_log_stream_names")
    part.container.CopyFrom(_container(given, whole.task))
    needs = needs_of(MessageToDict(given), given.name)
    part.resources.CopyFrom(
        resources_pb2.Resources(
            vcpu_milli=needs.vcpu_milli, memory_mib=needs.memory_mib, gpus=needs.gpus
        )
    )
    part.log_stream_name = whole.container_log_stream_names[position - 1]
    if given.HasField("stop_timeout"):
        part.stop_timeout.CopyFrom(Duration(seconds=given.stop_timeout))
    return part


def _container(
    given: ecs_pb2.TaskContainerProperties, task: ecs_pb2.EcsTaskProperties
) -> job_definition_pb2.ContainerProperties:
    """One container, with what all of them share."""
    container = job_definition_pb2.ContainerProperties(volumes=task.volumes)
    for field, value in given.ListFields():
        if field.name not in _CONTAINER:
            continue
        if field.is_repeated:
            getattr(container, field.name).extend(value)
        elif field.message_type is not None:
            getattr(container, field.name).CopyFrom(value)
        else:
            setattr(container, field.name, value)
    if task.HasField("task_role_arn"):
        container.job_role_arn = task.task_role_arn
    if task.HasField("execution_role_arn"):
        container.execution_role_arn = task.execution_role_arn
    return container
