"""Pages of one log's events, forwards and backwards, from any position and within a time.

All of it looks at the disk and belongs on a thread.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from longshore.logs.marks import Marks
from longshore.logs.scan import Event, Read, Scan

#: Bytes of the events of one page, of which each takes those of its text and `EVENT_HEAD`.
PAGE_BYTES = 1024 * 1024
EVENT_HEAD = 26
#: Events of one page.
PAGE_EVENTS = 10_000
#: Bytes without an event after which a page goes on, however empty.
SILENT_BYTES = 1024 * 1024
#: Seconds for looking for the first event of a page.
SEARCH_SECONDS = 2.0
#: Bytes of the first step backwards, and of the largest one.
_STEP_BYTES = 64 * 1024
_STEP_MOST = 1024 * 1024
#: Marks read at one time.
_MARKS = 1024


class StoredEvent(NamedTuple):
    """An event, and about when it was stored, in epoch milliseconds."""

    event: Event
    stored_at: int


@dataclass(frozen=True, slots=True)
class View:
    """A log as it was when reading began."""

    read: Read
    marks: Marks
    #: Bytes stored.
    end: int
    #: Whether nothing follows.
    complete: bool

    @property
    def last(self) -> int:
        """A position behind all events."""
        return self.end + 2

    def latest_before(self, position: int) -> int:
        """No event before a position is later; -1 if there is none. `position` has a mark."""
        return self.marks.at(self.marks.before(position)).state.latest

    def forward(self, position: int, since: int | None = None) -> "Forward":
        """Blocks of events from a position on, and not before a time."""
        index = self.marks.before(min(position, self.end))
        if since is not None:
            index = max(index, self.marks.before_time(since))
        return Forward(self, index, position, since)

    def backward(
        self, position: int, until: int | None = None
    ) -> Iterator[tuple[int, list[StoredEvent]]]:
        """Blocks of the events before a position, and before a time; the last block first.

        Each with where it begins. Within a block they ascend. Blocks may be empty.
        """
        if until is not None:
            found = self.marks.after_time(until)
            position = position if found is None else min(position, found)
        step = _STEP_BYTES
        while position > 0:
            index = self.marks.before(max(0, min(position, self.end) - step))
            begin = self.marks.at(index).position
            yield begin, self._between(index, position, until)
            position = begin
            step = min(step * 2, _STEP_MOST)

    def _between(self, index: int, end: int, until: int | None) -> list[StoredEvent]:
        found: list[StoredEvent] = []
        blocks = Forward(self, index, 0, None)
        while blocks.position < end and (block := blocks.block()) is not None:
            for stored in block:
                event = stored.event
                if event.begin >= end or (until is not None and event.timestamp >= until):
                    return found
                found.append(stored)
        return found


class Forward:
    """Events from a position on, block by block."""

    def __init__(self, view: View, index: int, position: int, since: int | None) -> None:
        self._view = view
        self._from = position
        self._since = since
        self._stored = _StoredTimes(view.marks, index)
        mark = view.marks.at(index)
        self._scan = Scan(view.read, mark.position, mark.state, view.end, complete=view.complete)

    @property
    def position(self) -> int:
        """Where the first line that was not looked at begins."""
        return self._scan.position

    @property
    def latest(self) -> int:
        """No event from `position` on is earlier; -1 before the first one."""
        return self._scan.state.latest

    def block(self) -> list[StoredEvent] | None:
        """The next events, maybe none; None at the end."""
        events = self._scan.block(_STEP_BYTES)
        if events is None:
            return None
        if events and events[0].begin < self._from:
            events = [event for event in events if event.begin >= self._from]
        since = self._since
        if since is not None and events and events[0].timestamp < since:
            events = [event for event in events if event.timestamp >= since]
        of = self._stored.of
        return [StoredEvent(event, of(event.begin)) for event in events]


class _StoredTimes:
    """When lines were stored, asked for in ascending order."""

    def __init__(self, marks: Marks, index: int) -> None:
        self._marks = marks
        self._next = index
        self._batch: list[tuple[int, int]] = []
        self._at = 0
        self._time = 0
        self._until = 0

    def of(self, position: int) -> int:
        while position >= self._until:
            if self._at >= len(self._batch):
                marks = (
                    self._marks.some(self._next, _MARKS) if self._next < self._marks.count else []
                )
                self._next += len(marks)
                self._batch, self._at = [(m.position, m.stored_at) for m in marks], 0
                if not marks:
                    self._until = 2**63
                    break
            begin, time = self._batch[self._at]
            if begin > position:
                self._until = begin
                break
            self._time = time
            self._at += 1
            if self._at < len(self._batch):
                self._until = self._batch[self._at][0]
        return self._time


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in ascending order, and where those before and after them are."""

    events: list[StoredEvent]
    #: Events before the page are before this position.
    backward: int
    #: Events after the page are at this position or after it.
    forward: int


class _Room:
    """How much still fits into a page."""

    def __init__(self, limit: int) -> None:
        self._events = limit
        self._bytes = PAGE_BYTES
        self._empty = True

    def first(self, events: Sequence[StoredEvent]) -> int:
        """How many of the first ones fit; the very first one always does."""
        fit = 0
        for stored in events[: self._events]:
            size = len(stored.event.text) + EVENT_HEAD
            if size > self._bytes and not self._empty:
                break
            self._bytes -= size
            self._empty = False
            fit += 1
        self._events -= fit
        return fit


def page_forward(
    view: View, position: int, limit: int, since: int | None, until: int | None
) -> EventPage:
    """The first events at or after a position.

    Args:
        view: the log.
        position: where to begin.
        limit: most events.
        since: only events of this time or later, in epoch milliseconds.
        until: only events before this time.
    """
    blocks = view.forward(position, since)
    found: list[StoredEvent] = []
    room = _Room(limit)
    give_up = time.monotonic() + SEARCH_SECONDS
    reached = position
    while (block := blocks.block()) is not None:
        taken = [stored for stored in block if until is None or stored.event.timestamp < until]
        fits = room.first(taken)
        found += taken[:fits]
        if fits < len(block):
            break
        if not found and blocks.position - position >= SILENT_BYTES:
            # Whoever comes back need not look through it again.
            reached = blocks.position
            if time.monotonic() > give_up:
                break
    if not found:
        return EventPage([], backward=position, forward=max(position, reached))
    return EventPage(found, backward=found[0].event.begin, forward=found[-1].event.end)


def page_backward(
    view: View, position: int | None, limit: int, since: int | None, until: int | None
) -> EventPage:
    """The last events before a position, or before the end if it is None; else as forward."""
    found: list[StoredEvent] = []
    room = _Room(limit)
    give_up = time.monotonic() + SEARCH_SECONDS
    for reached, block in view.backward(view.last if position is None else position, until):
        taken = [stored for stored in block if since is None or stored.event.timestamp >= since]
        fits = room.first(taken[::-1])
        found += taken[::-1][:fits]
        if fits < len(block):
            break
        if not found and time.monotonic() > give_up:
            return EventPage(
                [], backward=reached, forward=reached if position is None else position
            )
    if not found:
        # There may be what is not a whole line yet, so nothing is behind for certain.
        return EventPage([], backward=position or 0, forward=position or 0)
    found.reverse()
    return EventPage(found, backward=found[0].event.begin, forward=found[-1].event.end)
