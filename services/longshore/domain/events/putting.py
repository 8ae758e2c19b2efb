"""Events that are put in from outside: each is taken or refused by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from longshore.domain import strict_json
from longshore.domain.checks import Json
from longshore.domain.events import members
from longshore.domain.events.members import invalid
from longshore.domain.events.reference import bus_name

ENTRIES_MAX = 10
#: Bytes of all entries of a request, as AWS counts them.
BYTES_MAX = 1024 * 1024
#: As AWS counts a time.
_TIME_BYTES = 14
#: Objects and lists within one another; what is read from deeper could not be written again.
_DEPTH_MAX = 100
_RESOURCES_MAX = 2048
_LAST_SECOND = 253_402_300_799
_OWN_SOURCE = "aws."


@dataclass(frozen=True, slots=True)
class Entry:
    """An event that is taken in."""

    bus: str
    source: str
    detail_type: str
    resources: Sequence[str]
    detail: Json
    at: datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that is not."""

    code: str
    message: str


def entries_of(given: Sequence[Json], now: datetime) -> list[Entry | Refused]:
    """What becomes of the entries of PutEvents, in their order.

    Raises:
        InvalidRequest: there are too many, they are too large, or one has a malformed member.
    """
    members.count(given, "Entries", 1, ENTRIES_MAX)
    if sum(map(_size, given)) >= BYTES_MAX:
        raise invalid(
            f"Total size of the entries in the request is over the limit of {BYTES_MAX} bytes.",
            "Entries",
        )
    return [_entry(entry, f"Entries[{index}]", now) for index, entry in enumerate(given)]


def _size(entry: Json) -> int:
    texts = [entry.get(name, "") for name in ("Source", "DetailType", "Detail")]
    texts += entry.get("Resources", ())
    return sum(len(text.encode()) for text in texts) + (_TIME_BYTES if "Time" in entry else 0)


def _entry(given: Json, path: str, now: datetime) -> Entry | Refused:
    for index, resource in enumerate(given.get("Resources", ())):
        members.text(resource, f"{path}.Resources[{index}]", _RESOURCES_MAX, least=0)
    bus = bus_name(given.get("EventBusName"), f"{path}.EventBusName")
    for name in ("Source", "DetailType", "Detail"):
        if not given.get(name):
            return Refused(
                "InvalidArgument",
                f"Parameter {name} is not valid. Reason: {name} is a required argument.",
            )
    if given["Source"].startswith(_OWN_SOURCE):
        return Refused(
            "NotAuthorizedForSourceException",
            f"Not authorized for the source: those that begin with {_OWN_SOURCE} are longshore's.",
        )
    detail = _detail(given["Detail"])
    if detail is None:
        return Refused("MalformedDetail", "Detail is malformed.")
    seconds = given.get("Time", now.timestamp())
    if isinstance(seconds, str) or not 0 <= seconds <= _LAST_SECOND:
        return Refused("InvalidArgument", "Parameter Time is not valid.")
    return Entry(
        bus=bus,
        source=given["Source"],
        detail_type=given["DetailType"],
        resources=given.get("Resources", ()),
        detail=detail,
        at=datetime.fromtimestamp(seconds, UTC),
    )


def _detail(text: str) -> Json | None:
    """A detail; None for what is no JSON object, or nests too deep."""
    try:
        found: Any = strict_json.decode(text)
    except (ValueError, RecursionError):
        return None
    return found if type(found) is dict and _is_shallow(found) else None


def _is_shallow(value: Json) -> bool:
    level: list[Any] = [value]
    for _ in range(_DEPTH_MAX):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return True
    return False
