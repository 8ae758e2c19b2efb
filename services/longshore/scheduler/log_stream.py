"""What the log of an attempt is called."""

import contextlib
import functools

from google.protobuf.message import DecodeError

from longshore.domain.job.job import JobKey
from longshore.domain.job.nodes import range_of_each, ranges_of
from longshore.domain.request.container import LOG_PREFIX_MAX, LOG_PREFIX_OPTION
from longshore.state.scheduler.job_transition import JobDetails
from longshore.v1 import container_pb2, job_definition_pb2

#: Containers whose prefix is remembered: they may be large.
KEPT = 16


def log_stream_name(job: JobDetails, key: JobKey, attempt_id: str) -> str:
    """`NAME/default/ATTEMPT` by the definition, or what its log configuration has for NAME."""
    prefix = ""
    # Properties that cannot be read fail the attempt when its agent is to be told of them.
    with contextlib.suppress(DecodeError):
        if job.nodes is not None:
            prefix = _of_nodes(job.nodes)[key.node_index]
        else:
            prefix = _of_container(job.container or b"")
    return f"{prefix or job.definition_name}/default/{attempt_id}"


# Read once for all the children or nodes that are placed one after the other.
@functools.lru_cache(maxsize=KEPT)
def _of_container(container: bytes) -> str:
    read = job_definition_pb2.ContainerProperties.FromString(container)
    return _prefix(read.log_configuration)


@functools.lru_cache(maxsize=KEPT)
def _of_nodes(properties: bytes) -> tuple[str, ...]:
    """By node."""
    nodes = job_definition_pb2.NodeProperties.FromString(properties)
    ranges = ranges_of([entry.target_nodes for entry in nodes.node_range_properties])
    return tuple(
        _prefix(nodes.node_range_properties[position].container.log_configuration)
        for position in range_of_each(ranges, nodes.num_nodes)
    )


def _prefix(logging: container_pb2.LogConfiguration) -> str:
    if logging.log_driver not in ("", "awslogs"):
        return ""
    # Whatever a definition had before it was checked, a name stays one that can be stored.
    return logging.options.get(LOG_PREFIX_OPTION, "")[:LOG_PREFIX_MAX]
