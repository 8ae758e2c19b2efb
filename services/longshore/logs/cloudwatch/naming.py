"""What requests name, and how much they ask for; AWS's texts where known."""

from longshore.domain.arn import parse_log_group
from longshore.domain.errors import InvalidRequest, NotFound, PreconditionFailed
from longshore.domain.log_group import GROUP, STREAM
from longshore.logs.catalogue import Group
from longshore.logs.store import Log, LogStore

_ALREADY = "ResourceAlreadyExistsException"


def find_group(store: LogStore, name: str, identifier: str = "") -> Group:
    """The group that a request names by exactly one of its name and an identifier.

    Raises:
        InvalidRequest: it names none, or two.
        NotFound: there is no such group.
    """
    if bool(name) == bool(identifier):
        raise InvalidRequest(
            "Exactly one of logGroupName and logGroupIdentifier must be given.",
            member="logGroupName",
        )
    if name:
        check_group_name(name)
    else:
        name = identified(identifier, "logGroupIdentifier")
    group = store.catalogue.groups.get(name)
    if group is None:
        raise NotFound("The specified log group does not exist.")
    return group


def identified(identifier: str, member: str) -> str:
    """The name in the name or ARN of a group.

    Raises:
        InvalidRequest: it is neither.
    """
    name = parse_log_group(identifier) if identifier.startswith("arn:") else identifier
    if name is None or not GROUP.fullmatch(name):
        raise InvalidRequest(
            f"{member} is neither the name nor the ARN of a log group: {identifier[:256]!r}.",
            member=member,
        )
    return name


def check_group_name(name: str) -> None:
    """A name that a group may have."""
    if not GROUP.fullmatch(name):
        raise InvalidRequest(
            "logGroupName must have 1 to 512 letters, digits and . - _ / #, and not begin with "
            f"aws/: {name[:256]!r}.",
            member="logGroupName",
        )


def check_stream_name(name: str, member: str = "logStreamName") -> None:
    """A name that a stream may have."""
    if not STREAM.fullmatch(name):
        raise InvalidRequest(
            f"{member} must have 1 to 512 characters, none of them : or *: {name[:256]!r}.",
            member=member,
        )


async def find_log(store: LogStore, group: Group, name: str) -> Log:
    """The log of a stream.

    Raises:
        InvalidRequest: no stream may have that name.
        NotFound: there is no such stream.
    """
    check_stream_name(name)
    log = await store.log(name, group.name)
    if not log.known:
        raise no_stream()
    return log


def no_stream() -> NotFound:
    """For a stream that is not there."""
    return NotFound("The specified log stream does not exist.")


def exists_already(what: str) -> PreconditionFailed:
    """For what is to be created and is there."""
    return PreconditionFailed(f"The specified {what} already exists", code=_ALREADY)


def check_range(value: int, least: int, most: int, member: str) -> None:
    """A number within a range."""
    if not least <= value <= most:
        bound = "less than or equal to" if value > most else "greater than or equal to"
        limit = most if value > most else least
        raise InvalidRequest(
            f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy "
            f"constraint: Member must have value {bound} {limit}",
            member=member,
        )


def limit_of(asked: int | None, most: int) -> int:
    """How many a page has at most; as many as there may be if nothing is asked."""
    if asked is None:
        return most
    check_range(asked, 1, most, "limit")
    return asked
