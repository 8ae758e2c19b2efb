"""Which bus or rule a request names: by name or by ARN."""

import re

from longshore.domain.events.members import ARN_MAX, BUS_NAME, BUS_NAME_MAX, constraint, text
from longshore.domain.events.rule import DEFAULT_BUS

_EVENTS = re.compile(r"arn:aws[a-z-]*:events:[a-z0-9-]{1,64}:([0-9]{12})?:([a-z-]+)/(.+)")


def parse_arn(arn: str) -> tuple[str, str] | None:
    """The kind and the rest of an ARN of EventBridge's; None of anything else."""
    match = _EVENTS.fullmatch(arn)
    return (match[2], match[3]) if match is not None else None


def is_of(arn: str, account: str) -> bool:
    """Whether an ARN of EventBridge's is of an account; one that names none is of any."""
    match = _EVENTS.fullmatch(arn)
    return match is not None and match[1] in (None, account)


def bus_name(given: str | None, member: str = "EventBusName") -> str:
    """The bus of a name or ARN; the default one if there is none.

    Raises:
        InvalidRequest: it is neither.
    """
    if given is None:
        return DEFAULT_BUS
    text(given, member, ARN_MAX)
    parsed = parse_arn(given)
    name = parsed[1] if parsed is not None and parsed[0] == "event-bus" else given
    if BUS_NAME.fullmatch(name) is None or len(name) > BUS_NAME_MAX:
        raise constraint(
            given,
            member,
            "satisfy regular expression pattern: (arn:aws[\\w-]*:events:[a-z]+-[a-z]+-[\\w-]+:"
            "[0-9]{12}:event-bus\\/)?[/\\.\\-_A-Za-z0-9]+",
        )
    return name


def rule_name(arn: str) -> tuple[str, str] | None:
    """Bus and name of the rule of an ARN; None of anything else."""
    parsed = parse_arn(arn)
    if parsed is None or parsed[0] != "rule":
        return None
    bus, slash, name = parsed[1].rpartition("/")
    return (bus if slash else DEFAULT_BUS, name)
