"""StartLiveTail: what is stored from now on, once a second.

A session is told of each log from where on something was stored; every second it reads that, and
hands out what matches. What is more than an update holds is left out, and the update says so. So a
session costs no more however much is printed, and one that is slow holds up nobody.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field

from longshore.domain.arn import Arns
from longshore.domain.errors import (
    InvalidRequest,
    LimitExceeded,
    NotFound,
    PreconditionFailed,
)
from longshore.domain.log_pattern import Matcher, parse_pattern
from longshore.logs.cloudwatch.naming import check_stream_name, identified
from longshore.logs.cloudwatch.regex import compile_regex
from longshore.logs.paging import StoredEvent
from longshore.logs.store import Log, LogStore
from longshore.v1 import cloudwatch_logs_service_pb2 as pb

#: Events of one update.
UPDATE_EVENTS = 500
#: Bytes of their texts, of which the first event may have more: an update is written anew as JSON,
#: and waits in memory for a caller that is slow.
UPDATE_TEXT_BYTES = 1024 * 1024
UPDATE_SECONDS = 1.0
#: Bytes looked through for one update.
UPDATE_BYTES = 16 * 1024 * 1024
#: Logs of one update.
UPDATE_LOGS = 1000
SESSION_SECONDS = 3 * 3600.0
SESSIONS = 100
GROUPS, STREAMS = 10, 10


@dataclass(slots=True)
class _Session:
    """What one caller wants, and what was stored since its last update."""

    groups: frozenset[str]
    names: frozenset[str]
    prefixes: tuple[str, ...]
    matches: Matcher
    #: From where on something was stored.
    changed: dict[Log, int] = field(default_factory=dict)
    #: Whether there was no room for a log.
    overflowed: bool = False

    def note(self, log: Log, position: int) -> None:
        """Something was stored of a log, from a position on."""
        if (
            log.group in self.groups
            and (not self.names or log.name in self.names)
            and (not self.prefixes or log.name.startswith(self.prefixes))
        ):
            if log in self.changed or len(self.changed) < UPDATE_LOGS:
                self.changed.setdefault(log, position)
            else:
                self.overflowed = True


class LiveTails:
    """All sessions."""

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self._sessions = 0
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ends all sessions: their callers begin others."""
        self._stopping.set()

    async def tail(
        self, request: pb.StartLiveTailRequest, request_id: str, arns: Arns
    ) -> AsyncGenerator[pb.StartLiveTailResponse, None]:
        """The messages of a session.

        Raises:
            InvalidRequest: a member is wrong.
            NotFound: there is no such group.
            LimitExceeded: there are as many sessions as there may be.
            PreconditionFailed: the session has lasted for as long as one may.
        """
        session = self._session(request)
        if self._sessions >= SESSIONS:
            raise LimitExceeded(f"There are {SESSIONS} live tails already.")
        self._sessions += 1
        self._store.watch(session.note)
        try:
            async with asyncio.timeout(SESSION_SECONDS):
                async for message in self._messages(session, request, request_id, arns):
                    yield message
        except TimeoutError:
            raise PreconditionFailed(
                "The session has timed out; begin another.", code="SessionTimeoutException"
            ) from None
        finally:
            self._store.unwatch(session.note)
            self._sessions -= 1

    async def _messages(
        self, session: _Session, request: pb.StartLiveTailRequest, request_id: str, arns: Arns
    ) -> AsyncIterator[pb.StartLiveTailResponse]:
        yield pb.StartLiveTailResponse(
            session_start=pb.LiveTailSessionStart(
                request_id=request_id,
                session_id=str(uuid.uuid4()),
                log_group_identifiers=request.log_group_identifiers,
                log_stream_names=request.log_stream_names,
                log_stream_name_prefixes=request.log_stream_name_prefixes,
                log_event_filter_pattern=request.log_event_filter_pattern,
            )
        )
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UPDATE_SECONDS):
                    await self._stopping.wait()
                return
            changed, session.changed = session.changed, {}
            sampled, session.overflowed = session.overflowed, False
            update = pb.LiveTailSessionUpdate()
            if changed:
                sampled |= await self._store.on_thread(_fill, update, session, changed, arns)
            update.session_metadata.sampled = sampled
            yield pb.StartLiveTailResponse(session_update=update)

    def _session(self, request: pb.StartLiveTailRequest) -> _Session:
        groups = _groups(request.log_group_identifiers)
        names, prefixes = request.log_stream_names, request.log_stream_name_prefixes
        for given, member in ((names, "logStreamNames"), (prefixes, "logStreamNamePrefixes")):
            if len(given) > STREAMS or (given and len(groups) > 1) or (names and prefixes):
                raise InvalidRequest(
                    f"At most {STREAMS} logStreamNames or {STREAMS} logStreamNamePrefixes may be "
                    "given, of one log group.",
                    member=member,
                )
            for name in given:
                check_stream_name(name, member)
        matches = parse_pattern(
            request.log_event_filter_pattern, compile_regex, member="logEventFilterPattern"
        )
        if not groups <= self._store.catalogue.groups.keys():
            raise NotFound("The specified log group does not exist.")
        return _Session(groups, frozenset(names), tuple(prefixes), matches)


def _groups(identifiers: Sequence[str]) -> frozenset[str]:
    if not 1 <= len(identifiers) <= GROUPS:
        raise InvalidRequest(
            f"logGroupIdentifiers has {len(identifiers)} entries; it must have 1 to {GROUPS}.",
            member="logGroupIdentifiers",
        )
    for identifier in identifiers:
        if identifier.endswith(":*"):
            raise InvalidRequest(
                "logGroupIdentifiers must have ARNs without :* at their ends.",
                member="logGroupIdentifiers",
            )
    return frozenset(identified(each, "logGroupIdentifiers") for each in identifiers)


def _fill(
    update: pb.LiveTailSessionUpdate, session: _Session, changed: dict[Log, int], arns: Arns
) -> bool:
    """Puts what was stored into an update; returns whether there was more. On a thread."""
    found: list[tuple[Log, StoredEvent]] = []
    left = UPDATE_BYTES
    for log, begin in changed.items():
        blocks = log.view.forward(begin)
        before = blocks.position
        while left > 0 and len(found) <= UPDATE_EVENTS and (block := blocks.block()) is not None:
            left -= blocks.position - before
            before = blocks.position
            found += [(log, stored) for stored in block if session.matches(stored.event.message)]
    found.sort(key=lambda each: each[1].event.timestamp)
    room = UPDATE_TEXT_BYTES
    for log, stored in found[:UPDATE_EVENTS]:
        room -= len(stored.event.text)
        if room < 0 and update.session_results:
            break
        update.session_results.add(
            log_stream_name=log.name,
            log_group_identifier=arns.log_group(log.group),
            message=stored.event.message,
            timestamp=stored.event.timestamp,
            ingestion_time=stored.stored_at,
        )
    return left <= 0 or len(found) > len(update.session_results)
