"""Where in a log reading can begin, and when what is there was stored: a small file beside the log.

A mark is a position at which a line begins, what the events after it depend on, and when the lines
from there on were stored. There is one for every so many bytes, and one where something was stored
a while after the mark before. Positions and times ascend, so both are found by halving.

Marks are made of the log: a file that is missing, torn or of another log is made anew.
"""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from longshore.logs.scan import Read, Scan, State

#: Bytes between marks.
EVERY_BYTES = 64 * 1024
#: How much later something must be stored than the mark before says, to have one of its own.
EVERY_MILLISECONDS = 100
_RECORD = struct.Struct(">qqqqq")
_SUFFIX = ".marks"


class Mark(NamedTuple):
    """A place where reading can begin."""

    position: int
    #: When the lines from here on were stored, in epoch milliseconds.
    stored_at: int
    state: State


class Marks:
    """The marks of one log. Everything here looks at the disk and belongs on a thread.

    One writer; whoever reads sees the marks that were there when it began, or more.
    """

    def __init__(self, log: Path) -> None:
        self._path = log.with_suffix(_SUFFIX)
        self._count = 0
        self._last: Mark | None = None
        #: Time of the first event, once somebody has asked.
        self._began: int | None = None
        #: How far the log was looked at, and what was before that.
        self._seen, self._state = 0, State()

    def open(self, read: Read, size: int, changed_at: int) -> None:
        """Takes up where it was left, with what was stored since then.

        Args:
            read: reads the log.
            size: bytes of it.
            changed_at: when it was stored last, in epoch milliseconds.
        """
        self.take_up(size)
        self.take(read, size, changed_at)

    def take_up(self, size: int) -> None:
        """Takes up what there is, of a log of so many bytes that does not change any more."""
        try:
            self._count = self._path.stat().st_size // _RECORD.size
        except FileNotFoundError:
            self._count = 0
        self._last = self.at(self._count - 1) if self._count else None
        if self._last is not None and self._last.position > size:
            self._count, self._last = 0, None
        self._resume()

    def take(self, read: Read, size: int, now: int) -> None:
        """Looks at what was stored.

        Args:
            read: reads the log.
            size: bytes of it.
            now: in epoch milliseconds.

        Raises:
            OSError: marks cannot be written; they will be the next time.
        """
        scan = Scan(read, self._seen, self._state, size, complete=False)
        fresh: list[Mark] = []
        while True:
            position, state = scan.position, scan.state
            if scan.block(EVERY_BYTES) is None:
                break
            last = fresh[-1] if fresh else self._last
            if (
                last is None
                or position - last.position >= EVERY_BYTES
                or now - last.stored_at >= EVERY_MILLISECONDS
            ):
                fresh.append(Mark(position, max(now, last.stored_at if last else 0), state))
        try:
            self._write(fresh)
        except OSError:
            self._resume()
            raise
        self._seen, self._state = scan.position, scan.state

    def times(self, read: Read, size: int, *, complete: bool) -> tuple[int, int] | None:
        """Times of a log's first and last event; None if it has none.

        Args:
            read: reads the log.
            size: bytes of it, which were looked at.
            complete: whether nothing follows.
        """
        latest = self._state.latest
        if complete:
            rest = Scan(read, self._seen, self._state, size, complete=True)
            while rest.block() is not None:
                latest = rest.state.latest
        if latest < 0:
            return None
        if self._began is None:
            # A log may begin with gigabytes of empty lines.
            mark = self.at(max(0, self._first(lambda mark: mark.state.latest >= 0) - 1))
            start = Scan(read, mark.position, mark.state, size, complete=complete)
            while (events := start.block(EVERY_BYTES)) == []:
                pass
            self._began = events[0].timestamp if events else latest
        return self._began, latest

    @property
    def seen(self) -> int:
        """How far the log was looked at: where the first line begins that is not whole."""
        return self._seen

    @property
    def stored_at(self) -> int | None:
        """About when something was stored last, in epoch milliseconds; None while nothing is."""
        return None if self._last is None else self._last.stored_at

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count

    def at(self, index: int) -> Mark:
        """One of them, from 0; of none, the beginning of the log."""
        return next(iter(self.some(index, 1)), Mark(0, 0, State()))

    def some(self, index: int, most: int) -> list[Mark]:
        """Up to so many from one on."""
        if index >= self._count:
            return []
        try:
            file = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return []  # deleted meanwhile
        try:
            data = os.pread(file, most * _RECORD.size, index * _RECORD.size)
        finally:
            os.close(file)
        data = data[: len(data) // _RECORD.size * _RECORD.size]
        return [
            Mark(position, stored_at, State(*state))
            for position, stored_at, *state in _RECORD.iter_unpack(data)
        ]

    def before(self, position: int) -> int:
        """Index of the last mark at or before a position; 0 if there is none."""
        return max(0, self._first(lambda mark: mark.position > position) - 1)

    def before_time(self, timestamp: int) -> int:
        """Index of the last mark before which all events are older; 0 if there is none."""
        return max(0, self._first(lambda mark: mark.state.latest >= timestamp) - 1)

    def after_time(self, timestamp: int) -> int | None:
        """Position of the first mark from which on no event is older; None if there is none."""
        found = self._first(lambda mark: mark.state.latest >= timestamp)
        return self.at(found).position if found < self._count else None

    def _first(self, holds: Callable[[Mark], bool]) -> int:
        low, high = 0, self._count
        if not high:
            return 0
        try:
            file = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return 0
        try:
            while low < high:
                middle = (low + high) // 2
                record = os.pread(file, _RECORD.size, middle * _RECORD.size)
                if len(record) < _RECORD.size:
                    high = middle  # the log was deleted meanwhile
                    continue
                position, stored_at, *state = _RECORD.unpack(record)
                if holds(Mark(position, stored_at, State(*state))):
                    high = middle
                else:
                    low = middle + 1
        finally:
            os.close(file)
        return low

    def _resume(self) -> None:
        if self._last is None:
            self._seen, self._state = 0, State()
        else:
            self._seen, self._state = self._last.position, self._last.state

    def _write(self, marks: list[Mark]) -> None:
        if not marks:
            return
        data = b"".join(_RECORD.pack(m.position, m.stored_at, *m.state) for m in marks)
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o640)
        try:
            if not self._count:
                os.ftruncate(file, 0)
            written = os.pwrite(file, data, self._count * _RECORD.size)
        finally:
            os.close(file)
        if written < len(data):
            raise OSError("the disk is full")
        self._count += len(marks)
        self._last = marks[-1]
