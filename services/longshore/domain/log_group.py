"""Names of log groups and streams, and which group a container's log is in."""

import re
from collections.abc import Mapping

#: Where the logs of jobs are, if nothing else is said. Always there.
JOBS = "/aws/batch/job"
#: Where longshore's own agents and container engines log. Always there.
AGENTS = "/longshore/agent"
#: The option of a log configuration that names the group.
GROUP_OPTION = "awslogs-group"
#: Drivers whose output longshore keeps as AWS keeps that of `awslogs`.
KEPT_DRIVERS = ("", "awslogs")
NAME_LENGTH = 512
GROUP = re.compile(rf"(?!aws/)[.\-_/#A-Za-z0-9]{{1,{NAME_LENGTH}}}")
STREAM = re.compile(rf"[^:*\x00]{{1,{NAME_LENGTH}}}")
#: Whole days of retention that CloudWatch knows.
RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096),
    *(1827, 2192, 2557, 2922, 3288, 3653),
)
#: How the names of the logs of attempts end.
_ATTEMPT = re.compile(r".*/[0-9a-f]{32}", re.DOTALL)


def log_group(driver: str, options: Mapping[str, str]) -> str:
    """The group of a container's log.

    Whatever a definition had before it was checked, the name is one that can be stored.
    """
    group = options.get(GROUP_OPTION, "") if driver in KEPT_DRIVERS else ""
    return group if GROUP.fullmatch(group) else JOBS


def is_attempts(stream: str) -> bool:
    """Whether a stream's name is as those of attempts' logs are."""
    return _ATTEMPT.fullmatch(stream) is not None
