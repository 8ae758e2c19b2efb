"""FilterLogEvents: events of many streams that match a pattern, in the order of their times.

Streams are gone through in the order of their creation, so many at a time; the events of these are
merged by time, so a page of one stream or a hundred is in order. What a call reads and how long it
takes is bounded; its token says up to which event everything was looked at, in terms that stay true
while streams grow and new ones come.
"""

import asyncio
import hashlib
import heapq
import time
from dataclasses import dataclass
from typing import NamedTuple

from longshore.domain.errors import InvalidRequest
from longshore.domain.log_pattern import Matcher, parse_pattern
from longshore.domain.page import NUMBER_64, decode_token, encode_token
from longshore.logs.catalogue import Group, Stream
from longshore.logs.cloudwatch.naming import (
    check_range,
    check_stream_name,
    find_group,
    limit_of,
    no_stream,
)
from longshore.logs.cloudwatch.regex import compile_regex
from longshore.logs.paging import EVENT_HEAD, PAGE_BYTES, PAGE_EVENTS, StoredEvent, View
from longshore.logs.store import Log, LogStore
from longshore.v1 import cloudwatch_logs_service_pb2 as pb

#: Streams merged at one time, and streams that a request may name.
STREAMS = 100
#: Seconds that one call looks for events, and bytes that it reads meanwhile.
SEARCH_SECONDS = 0.5
SEARCH_BYTES = 64 * 1024 * 1024
#: Bytes of a stream without an event after which a call may end there: more than marks are apart,
#: so that a stream which a token finds again by its time goes on to its next event.
SILENT_BYTES = 256 * 1024
#: Calls that search at one time; others wait for their turn.
SEARCHES = 2
TIME_MOST = 2**63 - 2
_SCOPE = "filter-log-events"
_HASH_BITS = 53


class _Place(NamedTuple):
    """A place among all events: by time, then by stream, then within it."""

    time: int
    stream: int
    position: int


class _Progress(NamedTuple):
    """Up to where everything was looked at."""

    #: Streams before this one in the order are done.
    after: int
    #: The last one of those that are merged.
    last: int
    #: The last event that was looked at; None: none of these yet.
    place: _Place | None


@dataclass(frozen=True, slots=True)
class _Search:
    """What one call looks for."""

    matches: Matcher
    since: int
    until: int
    limit: int
    newest_first: bool


@dataclass(frozen=True, slots=True)
class _Source:
    """A stream that is looked through."""

    stream: Stream
    view: View


class Searching:
    """The one call that searches."""

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self._turns = asyncio.Semaphore(SEARCHES)

    async def filter(self, request: pb.FilterLogEventsRequest) -> pb.FilterLogEventsResponse:
        """A page of the events that match.

        Raises:
            InvalidRequest: a member is wrong.
            NotFound: there is no such group, or no stream that is named.
        """
        group = find_group(self._store, request.log_group_name, request.log_group_identifier)
        search = _search(request)
        begin = _begin(search.newest_first)
        progress = _decoded(request.next_token) if request.HasField("next_token") else begin
        named = await self._named(group, request)
        if named is None:
            await self._store.stocked()
        async with self._turns:
            if named is None:
                streams = await self._next(group, request.log_stream_name_prefix, search, progress)
            else:
                streams = named
            if not streams:
                return pb.FilterLogEventsResponse()
            if progress.place is None or len(streams) == STREAMS:
                progress = progress._replace(last=streams[-1].id)
            logs = [await self._store.log(stream.name, group.name) for stream in streams]
            for log in logs:
                log.readers += 1
            try:
                return await self._store.on_thread(
                    _page, search, progress, streams, logs, more=named is None
                )
            finally:
                for log in logs:
                    log.readers -= 1

    async def _named(self, group: Group, request: pb.FilterLogEventsRequest) -> list[Stream] | None:
        names = set(request.log_stream_names)
        if request.HasField("log_stream_name_prefix"):
            if names:
                raise InvalidRequest(
                    "At most one of logStreamNames and logStreamNamePrefix may be given.",
                    member="logStreamNamePrefix",
                )
            check_stream_name(request.log_stream_name_prefix, "logStreamNamePrefix")
        if not names:
            return None
        if len(request.log_stream_names) > STREAMS:
            raise InvalidRequest(
                f"logStreamNames has {len(request.log_stream_names)} entries; it may have "
                f"{STREAMS}.",
                member="logStreamNames",
            )
        for name in names:
            check_stream_name(name, "logStreamNames")
        found = await self._store.catalogue.named(group, sorted(names))
        if len(found) < len(names):
            raise no_stream()
        return found

    async def _next(
        self, group: Group, prefix: str, search: _Search, progress: _Progress
    ) -> list[Stream]:
        """The streams to look through, in the order of their creation or its reverse."""
        return await self._store.catalogue.between(
            group,
            prefix=prefix,
            since=search.since,
            until=search.until,
            after=progress.after,
            last=progress.last,
            newest_first=search.newest_first,
            limit=STREAMS,
        )


def _search(request: pb.FilterLogEventsRequest) -> _Search:
    since = request.start_time if request.HasField("start_time") else 0
    until = request.end_time if request.HasField("end_time") else TIME_MOST
    check_range(since, 0, TIME_MOST, "startTime")
    check_range(until, 0, TIME_MOST, "endTime")
    return _Search(
        parse_pattern(request.filter_pattern, compile_regex),
        since,
        until,
        limit_of(request.limit if request.HasField("limit") else None, PAGE_EVENTS),
        request.HasField("start_from_head") and not request.start_from_head,
    )


def _begin(newest_first: bool) -> _Progress:
    return _Progress(TIME_MOST, 0, None) if newest_first else _Progress(0, TIME_MOST, None)


def _decoded(token: str) -> _Progress:
    after, last, known, at, stream, position = decode_token(
        token, _SCOPE, (NUMBER_64, NUMBER_64, range(2), NUMBER_64, NUMBER_64, NUMBER_64)
    )
    place = _Place(int(at), int(stream), int(position)) if known else None
    return _Progress(int(after), int(last), place)


def _encoded(progress: _Progress) -> str:
    place = progress.place or _Place(0, 0, 0)
    known = int(progress.place is not None)
    return encode_token(_SCOPE, [progress.after, progress.last, known, *place])


class _Cursor:
    """The events of one stream that were not looked at yet, in order or in its reverse."""

    def __init__(self, source: _Source, search: _Search, place: _Place | None) -> None:
        self._stream = source.stream
        self._search = search
        self._ahead: list[StoredEvent] = []
        view, since, until = source.view, search.since, search.until
        if search.newest_first:
            position = view.last
            if place is not None:
                # What has the place's time comes before it only in streams after its own.
                until = min(until, place.time - (source.stream.id > place.stream))
                if source.stream.id == place.stream:
                    position = place.position
            self._backward = view.backward(position, until + 1)
            self._forward = None
            self._reached = position
        else:
            position = 0
            if place is not None:
                since = max(since, place.time + (source.stream.id < place.stream))
                if source.stream.id == place.stream:
                    position = place.position + 1
            self._forward = view.forward(position, since)
            # Reading begins at a mark, which may be before what was looked at already.
            self._reached = max(position, self._forward.position)
        self._view = view
        self._since, self._until = since, until
        self._over = False
        #: Bytes that were read.
        self.read = 0

    def next(self) -> tuple[_Place, StoredEvent | None] | None:
        """The next one; a place alone where there is none for long; None if there is none."""
        silent = 0
        while not self._ahead and not self._over:
            before = self._reached
            self._fill()
            silent += abs(self._reached - before)
            if not self._ahead and silent >= SILENT_BYTES:
                self.read += silent
                place = self._place()
                self._over |= place is None
                return None if place is None else (place, None)
        if not self._ahead:
            return None
        stored = self._ahead.pop()
        event = stored.event
        if not self._since <= event.timestamp <= self._until:
            self._over, self._ahead = True, []
            return None
        return _Place(event.timestamp, self._stream.id, event.begin), stored

    def _place(self) -> _Place | None:
        """Where everything before was looked at; None if nothing of these times is behind it."""
        if self._forward is not None:
            time, position = max(self._forward.latest, self._since), self._reached - 1
        else:
            time = min(self._view.latest_before(self._reached), self._until)
            position = self._reached
        if not self._since <= time <= self._until:
            return None
        return _Place(time, self._stream.id, position)

    def _fill(self) -> None:
        if self._forward is not None:
            block = self._forward.block()
            self._ahead = [] if block is None else block[::-1]
            self._reached = max(self._reached, self._forward.position)
        else:
            found = next(self._backward, None)
            block = None
            if found is not None:
                self._reached, block = found
            self._ahead = block or []
        self._over = block is None
        self.read += sum(len(stored.event.text) + EVENT_HEAD for stored in self._ahead)


def _page(
    search: _Search, progress: _Progress, streams: list[Stream], logs: list[Log], *, more: bool
) -> pb.FilterLogEventsResponse:
    """Looks for events; to be called on a thread.

    Args:
        search: what to look for.
        progress: up to where everything was looked at.
        streams: what to merge.
        logs: theirs.
        more: whether there may be streams behind these.
    """
    sources = [_Source(stream, log.view) for stream, log in zip(streams, logs, strict=True)]
    merge = _Merge(search, progress.place, sources)
    answer = pb.FilterLogEventsResponse()
    room = PAGE_BYTES
    count = 0
    # From the first event on: however long it takes to open the streams, a call gets on.
    merge.peek()
    until = time.monotonic() + SEARCH_SECONDS
    while True:
        found = merge.peek()
        if found is None:
            if more and len(streams) == STREAMS:
                far = _begin(search.newest_first).last
                answer.next_token = _encoded(_Progress(progress.last, far, None))
            return answer
        place, stored, name = found
        if stored is None:
            progress = progress._replace(place=place)
            merge.take()
            if merge.read > SEARCH_BYTES or time.monotonic() > until:
                break
            continue
        message = stored.event.message
        if search.matches(message):
            size = len(stored.event.text) + EVENT_HEAD
            if len(answer.events) >= search.limit or (answer.events and size > room):
                break
            room -= size
            answer.events.add(
                log_stream_name=name,
                timestamp=place.time,
                message=message,
                ingestion_time=stored.stored_at,
                event_id=_event_id(place, name),
            )
        progress = progress._replace(place=place)
        merge.take()
        count += 1
        if merge.read > SEARCH_BYTES or (count % 64 == 1 and time.monotonic() > until):
            break
    answer.next_token = _encoded(progress)
    return answer


class _Merge:
    """The events of several streams in one order; a stream is opened when it has its turn."""

    def __init__(self, search: _Search, place: _Place | None, sources: list[_Source]) -> None:
        self._search = search
        self._place = place
        self._sources = {source.stream.id: source for source in sources}
        self._cursors: dict[int, _Cursor] = {}
        self._sign = -1 if search.newest_first else 1
        self._events: dict[int, tuple[_Place, StoredEvent | None]] = {}
        self._heap = [self._key(_Place(self._first(s.stream), s.stream.id, 0)) for s in sources]
        heapq.heapify(self._heap)

    @property
    def read(self) -> int:
        """Bytes that were read."""
        return sum(cursor.read for cursor in self._cursors.values())

    def _first(self, stream: Stream) -> int:
        """A time that no event comes before in the order."""
        if self._search.newest_first:
            # One that was stored since the stream was looked up may be later.
            return TIME_MOST
        return max(stream.first_event, self._search.since, self._place.time if self._place else 0)

    def _key(self, place: _Place) -> tuple[int, int, int, int]:
        sign = self._sign
        return sign * place.time, sign * place.stream, sign * place.position, place.stream

    def peek(self) -> tuple[_Place, StoredEvent | None, str] | None:
        """The next one, as a cursor has it; None when all are through."""
        while self._heap:
            stream = self._heap[0][3]
            source = self._sources[stream]
            found = self._events.get(stream)
            if found is not None:
                return *found, source.stream.name
            if stream not in self._cursors:
                self._cursors[stream] = _Cursor(source, self._search, self._place)
            self._advance(stream)
        return None

    def take(self) -> None:
        """Goes on behind the next one."""
        self._advance(self._heap[0][3])

    def _advance(self, stream: int) -> None:
        """Puts the next event of the first stream in its place."""
        found = self._cursors[stream].next()
        if found is None:
            self._events.pop(stream, None)
            heapq.heappop(self._heap)
        else:
            self._events[stream] = found
            heapq.heapreplace(self._heap, self._key(found[0]))


def _event_id(place: _Place, stream: str) -> str:
    digest = hashlib.sha256(stream.encode()).digest()
    short = int.from_bytes(digest[:8]) >> (64 - _HASH_BITS)
    return f"{place.time:020d}{short:016d}{place.position:020d}"
