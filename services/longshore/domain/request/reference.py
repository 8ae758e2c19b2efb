"""`Ref::name` in commands: replaced by parameters when a job is submitted."""

import re
from collections.abc import Mapping, Sequence

from longshore.domain.errors import InvalidRequest

#: Longest command once its placeholders are replaced, in bytes, of several containers all of them
#: together: a page of jobs that have it still goes into one message. A value goes in as often as it
#: is named, so that a small request could become any size.
COMMAND_BYTES_MAX = 64 * 1024
_REFERENCE = re.compile(r"Ref::([A-Za-z0-9_-]+)")


def has_references(command: Sequence[str]) -> bool:
    """Whether any element of a command has a placeholder."""
    return any("Ref::" in element for element in command)


def command_bytes(command: Sequence[str]) -> int:
    """How long a command is, in bytes."""
    return sum(len(element.encode()) for element in command)


def substitute(command: Sequence[str], parameters: Mapping[str, str], taken: int = 0) -> list[str]:
    """Replaces every placeholder, also inside longer elements; values are not looked at again.

    Args:
        command: with placeholders.
        parameters: by name.
        taken: bytes that the commands of the job's other containers take.

    Raises:
        InvalidRequest: a placeholder has no parameter, or the command becomes too long.
    """
    sizes = {name: len(value.encode()) for name, value in parameters.items()}
    size = command_bytes(command) + taken
    what = "The commands of all containers have" if taken else "The command has"
    whose = "their" if taken else "its"

    def value(match: re.Match[str]) -> str:
        nonlocal size
        name = match[1]
        if name not in parameters:
            raise InvalidRequest(
                f"Unable to substitute value. No parameter found for reference {name}",
                member="parameters",
            )
        size += sizes[name] - len(match[0])
        if size > COMMAND_BYTES_MAX:
            raise InvalidRequest(
                f"{what} more than {COMMAND_BYTES_MAX} bytes once {whose} placeholders are "
                "replaced; give shorter parameters, or name them less often.",
                member="parameters",
            )
        return parameters[name]

    return [_REFERENCE.sub(value, element) for element in command]
