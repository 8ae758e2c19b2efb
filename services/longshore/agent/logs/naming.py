"""What logs are called in the spool: their group, where it is not that of jobs, and their name."""

from longshore.domain.log_group import JOBS, log_group
from longshore.v1 import agent_service_pb2 as pb

#: Between the two; in neither there is one.
_BETWEEN = "\0"


def group_of(assignment: pb.Assignment) -> str:
    """The group of an attempt's log."""
    configuration = assignment.container.log_configuration
    return log_group(configuration.log_driver, configuration.options)


def name_of(assignment: pb.Assignment) -> str:
    """What an attempt's log is called in the spool."""
    return joined(group_of(assignment), assignment.log_stream_name)


def joined(group: str, stream: str) -> str:
    """What a log is called in the spool."""
    return stream if group in ("", JOBS) else f"{group}{_BETWEEN}{stream}"


def parted(name: str) -> tuple[str, str]:
    """The group and the name of a log in the spool."""
    group, between, stream = name.partition(_BETWEEN)
    return (group, stream) if between else ("", name)
