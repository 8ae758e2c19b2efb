"""What the logs of an attempt are called."""

import contextlib
import functools
from collections.abc import Sequence

from google.protobuf.message import DecodeError

from longshore.domain.job.job import JobKey
from longshore.domain.job.nodes import range_of_each, ranges_of
from longshore.domain.request.container import log_name, log_prefix
from longshore.state.scheduler.job_transition import JobDetails
from longshore.v1 import container_pb2, ecs_pb2, job_definition_pb2

#: Containers whose prefix is remembered: they may be large.
KEPT = 16
#: The only container of a job, as AWS Batch names it.
DEFAULT = "default"

#: Of a container, its log's prefix and its name.
_Named = tuple[str, str]


def log_stream_name(job: JobDetails, key: JobKey, attempt_id: str) -> str:
    """`NAME/default/ATTEMPT` by the definition, or what its log configuration has for NAME.

    Of a job of several containers that is the log of its first essential one.
    """
    prefix, name = "", DEFAULT
    # Properties that cannot be read fail the attempt when its agent is to be told of them.
    with contextlib.suppress(DecodeError):
        if job.nodes is not None:
            prefix, name = _of_nodes(job.nodes)[key.node_index]
        elif job.task is not None:
            prefix, name = _of_task(job.task)
        else:
            prefix, name = _of_container(job.container or b"")
    return log_name(prefix or job.definition_name, name, attempt_id)


def container_log_names(
    task: ecs_pb2.EcsTaskProperties, definition_name: str, attempt_id: str
) -> Sequence[str]:
    """The names of the logs of an attempt's several containers, in their order."""
    return [
        log_name(_prefix(given.log_configuration) or definition_name, given.name, attempt_id)
        for given in task.containers
    ]


# Read once for all the children or nodes that are placed one after the other.
@functools.lru_cache(maxsize=KEPT)
def _of_container(container: bytes) -> _Named:
    read = job_definition_pb2.ContainerProperties.FromString(container)
    return _prefix(read.log_configuration), DEFAULT


@functools.lru_cache(maxsize=KEPT)
def _of_task(task: bytes) -> _Named:
    return _first_essential(ecs_pb2.EcsTaskProperties.FromString(task))


@functools.lru_cache(maxsize=KEPT)
def _of_nodes(properties: bytes) -> tuple[_Named, ...]:
    """By node."""
    nodes = job_definition_pb2.NodeProperties.FromString(properties)
    ranges = ranges_of([entry.target_nodes for entry in nodes.node_range_properties])
    return tuple(
        _of_range(nodes.node_range_properties[position])
        for position in range_of_each(ranges, nodes.num_nodes)
    )


def _of_range(entry: job_definition_pb2.NodeRangeProperty) -> _Named:
    if entry.HasField("ecs_properties"):
        return _first_essential(entry.ecs_properties.task_properties[0])
    return _prefix(entry.container.log_configuration), DEFAULT


def _first_essential(task: ecs_pb2.EcsTaskProperties) -> _Named:
    given = next(c for c in task.containers if c.essential or not c.HasField("essential"))
    return _prefix(given.log_configuration), given.name


def _prefix(logging: container_pb2.LogConfiguration) -> str:
    return log_prefix(logging.log_driver, logging.options)
