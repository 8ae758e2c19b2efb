"""The audit log, looked through: recorded calls, and what longshore did by itself."""

import re
import uuid
from datetime import UTC, datetime, timedelta

from longshore.domain.arn import Arns
from longshore.domain.audit.lookup import Lookup
from longshore.domain.audit.record import AuditRecord
from longshore.domain.errors import InvalidRequest
from longshore.domain.page import Page, decode_token, encode_token
from longshore.state.audit import lookup
from longshore.state.audit.lookup import LAST_ID, Position
from longshore.state.pool import Pool

PAGE_MAX = 50
#: Walks of one call: what is searched for longer goes on with the next page.
WALKS = 5
_SCOPE = "trail"
_MICROS = range(2**53)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ID = re.compile(r"[0-9a-f]{32}")


class Trail:
    """Use cases of the audit log's readers."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def look_up(
        self, wanted: Lookup, size: int | None, token: str | None, arns: Arns
    ) -> Page[AuditRecord]:
        """A page of events, the newest first; it may be short and have a token all the same.

        Raises:
            InvalidRequest: the size or the token is none.
        """
        if size is not None and not 1 <= size <= PAGE_MAX:
            raise InvalidRequest(
                f"MaxResults must be from 1 to {PAGE_MAX}.",
                member="MaxResults",
                code="InvalidMaxResultsException",
            )
        first = _position(token) if token else (wanted.end, LAST_ID)
        if wanted.is_void:
            return Page([])
        limit = size or PAGE_MAX
        found: list[AuditRecord] = []
        before, rest = first, None
        async with lookup.planned(self._pool) as conn:
            for _ in range(WALKS):
                calls, rest = await lookup.records(conn, wanted, before, limit + 1 - len(found))
                found += calls
                if rest is None:
                    break
                before = rest
            found += await lookup.acts_before(conn, wanted, first, limit + 1, arns)
        return _page(found, rest, limit)


def _page(found: list[AuditRecord], rest: Position | None, limit: int) -> Page[AuditRecord]:
    """The newest of what was found, no older than where the search of one kind has got to."""
    found = sorted(found, key=_place, reverse=True)
    if rest is not None:
        found = [event for event in found if _place(event) >= rest]
    if len(found) > limit:
        return Page(found[:limit], _token(_place(found[limit - 1])))
    return Page(found, None if rest is None else _token(rest))


def _place(event: AuditRecord) -> Position:
    return event.at, event.event_id


def _token(position: Position) -> str:
    at, event_id = position
    return encode_token(_SCOPE, [(at - _EPOCH) // timedelta(microseconds=1), event_id.hex])


def _position(token: str) -> Position:
    try:
        micros, event_id = decode_token(token, _SCOPE, [_MICROS, _ID])
        return _EPOCH + timedelta(microseconds=int(micros)), uuid.UUID(hex=str(event_id))
    except (InvalidRequest, OverflowError):
        raise InvalidRequest(
            "NextToken is not one that this search gave; begin again without it.",
            member="NextToken",
            code="InvalidNextTokenException",
        ) from None
