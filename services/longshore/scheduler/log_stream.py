"""What the log of an attempt is called."""

from longshore.domain.job.job import JobKey
from longshore.domain.job.nodes import range_of_each, ranges_of
from longshore.domain.request.container import LOG_PREFIX_MAX, LOG_PREFIX_OPTION
from longshore.state.scheduler.job_transition import JobDetails
from longshore.v1 import container_pb2, job_definition_pb2


def log_stream_name(job: JobDetails, key: JobKey, attempt_id: str) -> str:
    """`NAME/default/ATTEMPT` by the definition, or what its log configuration has for NAME."""
    logging = _log_configuration(job, key)
    prefix = ""
    if logging.log_driver in ("", "awslogs"):
        # Whatever a definition had before it was checked, a name stays one that can be stored.
        prefix = logging.options.get(LOG_PREFIX_OPTION, "")[:LOG_PREFIX_MAX]
    return f"{prefix or job.definition_name}/default/{attempt_id}"


def _log_configuration(job: JobDetails, key: JobKey) -> container_pb2.LogConfiguration:
    if job.nodes is not None:
        nodes = job_definition_pb2.NodeProperties.FromString(job.nodes)
        ranges = ranges_of([entry.target_nodes for entry in nodes.node_range_properties])
        position = range_of_each(ranges, nodes.num_nodes)[key.node_index]
        return nodes.node_range_properties[position].container.log_configuration
    container = job_definition_pb2.ContainerProperties.FromString(job.container or b"")
    return container.log_configuration
