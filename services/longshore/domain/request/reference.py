"""`Ref::name` in commands: replaced by parameters when a job is submitted."""

import re
from collections.abc import Mapping, Sequence

from longshore.domain.errors import InvalidRequest

_REFERENCE = re.compile(r"Ref::([A-Za-z0-9_-]+)")


def has_references(command: Sequence[str]) -> bool:
    """Whether any element of a command has a placeholder."""
    return any("Ref::" in element for element in command)


def substitute(command: Sequence[str], parameters: Mapping[str, str]) -> list[str]:
    """Replaces every placeholder, also inside longer elements; values are not looked at again.

    Raises:
        InvalidRequest: a placeholder has no parameter.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in parameters:
            raise InvalidRequest(
                f"Unable to substitute value. No parameter found for reference {name}",
                member="parameters",
            )
        return parameters[name]

    return [_REFERENCE.sub(value, element) for element in command]
