"""What happened, as it is read from the tables, and where that stands in the order of all of it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from longshore.domain.checks import Json
from longshore.domain.errors import InvalidRequest
from longshore.domain.job.job import JobKey, JobStatus

_POSITION = re.compile(r"(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,9})")
_BIGINT, _INTEGER = 2**63, 2**31


class Position(NamedTuple):
    """Up to where something was read: rows before one, and of that its parts before one.

    Rows are in order of the transactions that wrote them, and then of their numbers.
    """

    xid: int
    number: int
    part: int

    @classmethod
    def before(cls, xid: int) -> "Position":
        """Before all that a transaction wrote."""
        return cls(xid, 0, 0)

    @classmethod
    def parse(cls, text: str, member: str) -> "Position":
        """Reads what `str` writes.

        Raises:
            InvalidRequest: it is no position.
        """
        match = _POSITION.fullmatch(text)
        found = cls(*map(int, match.groups())) if match else cls(_BIGINT, 0, 0)
        if max(found.xid, found.number) >= _BIGINT or found.part >= _INTEGER:
            raise InvalidRequest(
                f"{member} is no position of an event: {text[:64]!r}. Give one as it came with an "
                "event, or none to begin now.",
                member=member,
            )
        return found

    def __str__(self) -> str:
        return f"{self.xid}-{self.number}-{self.part}"


@dataclass(frozen=True, slots=True)
class JobMoved:
    """A job reached a status, or children did: those from `first` up to `end`, exclusive.

    Parts of the row are counted from its own first child on.
    """

    xid: int
    number: int
    at: datetime
    key: JobKey
    attempt: int
    status: JobStatus
    status_reason: str | None
    #: Parts that are left out at the beginning.
    first: int
    end: int

    def each(self) -> Iterator["JobMoved"]:
        """The jobs by themselves."""
        start = self.key.array_index
        if self.first == 0 and self.end == start + 1:
            yield self
            return
        for part in range(self.first, self.end - start):
            key = JobKey(self.key.job_id, start + part)
            yield replace(self, key=key, first=part, end=start + part + 1)

    @property
    def after(self) -> Position:
        """The position behind the first part."""
        return Position(self.xid, self.number, self.first + 1)

    @property
    def behind(self) -> Position:
        """The position behind all of it."""
        return Position(self.xid, self.number, self.end - self.key.array_index)


class Kind(StrEnum):
    """What happened to others than jobs."""

    QUEUE_BLOCKED = "QUEUE_BLOCKED"
    INSTANCE_STATE = "INSTANCE_STATE"
    SPOT_INTERRUPTION = "SPOT_INTERRUPTION"
    AGENT_JOINED = "AGENT_JOINED"
    AGENT_LEFT = "AGENT_LEFT"
    #: A call as the audit log has it, which is CloudTrail's form.
    API_CALL = "API_CALL"
    #: An event that was put in from outside.
    PUT = "PUT"


@dataclass(frozen=True, slots=True)
class Told:
    """What happened to others than jobs."""

    xid: int
    number: int
    at: datetime
    kind: Kind
    body: Json

    @property
    def after(self) -> Position:
        """The position behind it."""
        return Position(self.xid, self.number, 1)

    @property
    def behind(self) -> Position:
        """The position behind it."""
        return self.after


Happened = JobMoved | Told
