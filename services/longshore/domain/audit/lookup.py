"""What is looked for in the audit log."""

import math
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from longshore.domain.audit import acts
from longshore.domain.audit.record import resource_name
from longshore.domain.errors import InvalidRequest

#: What an event is looked up by, and what that is here.
_MEMBERS = {
    "EventId": "event_id",
    "EventName": "name",
    "ReadOnly": "is_read",
    "ResourceType": "resource_type",
    "ResourceName": "resource",
    "EventSource": "source",
    "AccessKeyId": "access_key_id",
    "Username": "user_name",
}
KEYS = tuple(_MEMBERS)
_VALUE_CHARACTERS = 2000
_ALSO_MOST = 8
_ATTRIBUTES = "InvalidLookupAttributesException"
#: Times that a column takes.
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Lookup:
    """What an event must be; None: anything."""

    start: datetime = _FIRST
    end: datetime = _LAST
    name: str | None = None
    access_key_id: str | None = None
    user_name: str | None = None
    event_id: uuid.UUID | None = None
    is_read: bool | None = None
    source: str | None = None
    resource_type: str | None = None
    resource: str | None = None
    #: Two of its conditions contradict each other, or nothing can meet one.
    is_void: bool = False
    #: Without what longshore does by itself.
    calls_only: bool = False

    @property
    def acts(self) -> frozenset[str]:
        """Names of the product's own acts that may be meant."""
        is_call = (
            self.calls_only
            or self.access_key_id is not None
            or self.user_name is not None
            or self.resource_type is not None
            or self.resource is not None
            or self.is_read is True
            or self.source not in {None, acts.SOURCE}
        )
        if is_call:
            return frozenset()
        return acts.NAMES if self.name is None else acts.NAMES & {self.name}


def lookup_of(
    attributes: Sequence[tuple[str, str]],
    also: Sequence[tuple[str, str]],
    *,
    start: float | None,
    end: float | None,
    calls_only: bool,
) -> Lookup:
    """Reads what is asked for.

    Raises:
        InvalidRequest: CloudTrail would not take it.
    """
    if len(attributes) > 1:
        raise InvalidRequest(
            "LookupAttributes can have one entry only.", member="LookupAttributes", code=_ATTRIBUTES
        )
    if len(also) > _ALSO_MOST:
        raise InvalidRequest(f"also has more than {_ALSO_MOST} entries.", member="also")
    found = Lookup(start=_time(start, _FIRST), end=_time(end, _LAST), calls_only=calls_only)
    if found.start > found.end:
        raise InvalidRequest(
            "StartTime is after EndTime.", member="StartTime", code="InvalidTimeRangeException"
        )
    return _narrowed(found, (*attributes, *also))


def _narrowed(found: Lookup, attributes: Iterable[tuple[str, str]]) -> Lookup:
    met: dict[str, str] = {}
    for key, value in attributes:
        if key not in KEYS or not 0 < len(value) <= _VALUE_CHARACTERS:
            raise InvalidRequest(
                f"AttributeKey must be one of {', '.join(KEYS)}, and AttributeValue have 1 to "
                f"{_VALUE_CHARACTERS} characters.",
                member="LookupAttributes",
                code=_ATTRIBUTES,
            )
        if met.setdefault(key, value) != value:
            found = replace(found, is_void=True)
        found = _with(found, key, value)
    return found


def _with(found: Lookup, key: str, value: str) -> Lookup:
    read = _read(key, value)
    return replace(found, is_void=True) if read is None else replace(found, **{_MEMBERS[key]: read})


def _read(key: str, value: str) -> Any:
    """The value to compare with; None if nothing can have it."""
    match key:
        case "EventId":
            try:
                return uuid.UUID(value)
            except ValueError:
                return None
        case "ReadOnly":
            return {"true": True, "false": False}.get(value)
        case "ResourceName":
            return resource_name(value)
    return value


def _time(seconds: float | None, default: datetime) -> datetime:
    if seconds is None:
        return default
    if not math.isfinite(seconds) or not 0 <= seconds <= _LAST.timestamp():
        raise InvalidRequest(
            "A time must be from 1970 to 9999.",
            member="StartTime",
            code="InvalidTimeRangeException",
        )
    return datetime.fromtimestamp(seconds, UTC)
