"""What the engine tells of a container's output, on its way to the spool: each line once.

Lines that the spool has already are passed over. The engine is asked for lines from a time on; it
tells the same lines, with the same times, in the same order, and they are compared one by one with
those that the spool has from there. The point to ask from lies at least a tenth of a second before
the last line, since lines of the two outputs are written in another order than they are timed, and
never within a line that goes on: its pieces carry the time of the first one.

Of a log that grows past its bound the beginning and the end are kept, with a mark between them.

The engine keeps output in files of a certain size and drops the oldest. A stream that is followed
passes over a file without a word when it falls behind by more than one, but never over the first.
So it is followed only for as long as one file lasts. What comes after is read when the container
has ended: from files that change no more nothing is lost that they hold, and if they begin after
the point that was asked for, that is seen and marked.
"""

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from longshore.agent.logs.spool import (
    STDERR,
    STDOUT,
    SpoolFile,
    Tail,
    format_lines,
    format_mark,
    left_out,
    tail_bytes,
)

_HEADER = struct.Struct(">BxxxI")
_STDERR = 2
#: Tags of lines that the container printed.
_OUTPUT = (b"P", b"F")
#: Length of a time that is cut to tenths of a second, and to seconds.
_TENTHS, _SECONDS = 21, 19
#: The most that one line takes in a file of the engine's beside its text, in bytes.
_ENTRY_BYTES = 80
#: What JSON writes with up to six bytes instead of one, or instead of three.
_ESCAPED = bytes(range(0x20)) + b'"\\<>&\x7f'
_LONG_ESCAPED = (b"\xef\xbf\xbd", b"\xe2\x80")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of one attempt's output is kept."""

    #: In the spool, in bytes.
    spool_bytes: int
    #: Size of one of the engine's files, in bytes; None if it grows for ever.
    file_bytes: int | None = None
    #: How many of those it keeps.
    files: int = 1


class _Point(NamedTuple):
    """A place in the spool: what stands before it is older than its time, and goes on no more."""

    position: int
    time: bytes
    #: Bytes of the engine's files up to there.
    engine_bytes: int


_BEGINNING = _Point(0, b"", 0)


@dataclass(slots=True)
class Missing:
    """What of an output is known to be missing, or may be."""

    #: The engine had dropped lines before they were read.
    dropped: bool = False
    #: Bytes left out because the log was as long as it may be.
    left_out: int = 0

    def __bool__(self) -> bool:
        return self.dropped or self.left_out > 0


class Intake:
    """Takes lines of one container in. To be made on a thread: it looks at the spool."""

    def __init__(self, file: SpoolFile, bounds: Bounds, missing: Missing) -> None:
        """Takes up a log where it ends.

        Args:
            file: the log.
            bounds: how much of it is kept.
            missing: where it is put down what is found to be missing.
        """
        self._file = file
        self._bounds = bounds
        self._head_bytes = bounds.spool_bytes - tail_bytes(bounds.spool_bytes)
        self._newest = b""
        self._open: set[bytes] = set()
        self._engine_bytes = 0
        self._points: deque[_Point] = deque(maxlen=3)
        self._noted = b""
        self._tail: Tail | None = None
        self._missing = missing
        self._recall()
        self._begin_round()

    def begin(self) -> bytes:
        """Begins to compare with what is there; returns from which time on to ask, if from any."""
        self._tail = None
        return self._begin_round().time

    @property
    def satisfied(self) -> bool:
        """Whether the rest is to be read when the container has ended."""
        return self._tail is not None or (
            self._bounds.file_bytes is not None and self._engine_bytes >= self._bounds.file_bytes
        )

    def take(self, frames: bytearray) -> None:
        """Takes the whole frames out of a buffer; what is to be kept can be flushed then."""
        for source, frame in _frames(frames):
            time, _, text = frame.partition(b" ")
            whole = text.endswith(b"\n")
            for line in format_lines(time, source, text[:-1] if whole else text, partial=not whole):
                if not self._is_there(line):
                    self._add(time, source, line)
        self._note_point()

    def end(self) -> None:
        """There are no more lines: the end of a long log is put behind a mark."""
        tail, self._tail = self._tail or Tail(0), None
        if tail.left_out:
            self._missing.left_out = tail.left_out
            self._mark(left_out(tail.left_out, self._bounds.spool_bytes))
        elif self._may_begin_late(self._engine_bytes + tail.size):
            self._missing.dropped = True
            self._mark(
                b"longshore: output before this may be missing: the engine keeps only so much"
            )
        for line in tail.lines():
            self._file.write_raw(line)

    def _recall(self) -> None:
        """Looks at what the spool has behind the last point that was noted."""
        point = _parse_point(self._file.note())
        if point is None or not self._file.begins_line(point.position, point.time + b" "):
            point = _BEGINNING
        position, self._engine_bytes = point.position, point.engine_bytes
        for raw in self._file.raw_lines(position):
            time, source, tag, text = _parts(raw)
            if tag in _OUTPUT:
                self._see(position, time, source, text, partial=tag == b"P")
            position += len(raw)

    def _begin_round(self) -> _Point:
        # At the very beginning an older line may yet follow, as anywhere.
        begin = self._points[0] if self._points and self._points[0].position else _BEGINNING
        self._known: Iterator[bytes] = self._known_lines(begin)
        self._expected = next(self._known, None)
        self._is_first = True
        return begin

    def _known_lines(self, begin: _Point) -> Iterator[bytes]:
        for raw in self._file.raw_lines(begin.position):
            time, _, tag, _ = _parts(raw)
            if time >= begin.time and tag in _OUTPUT:
                yield raw

    def _is_there(self, line: bytes) -> bool:
        if self._expected is None:
            return False
        if self._is_first:
            self._is_first = False
            if line != self._expected:
                # The engine has dropped its oldest lines, and perhaps some that nobody has read.
                while self._expected is not None and self._expected != line:
                    self._expected = next(self._known, None)
                if self._expected is None:
                    self._missing.dropped = True
                    self._mark(
                        b"longshore: output is missing here: the engine had dropped it already"
                    )
                    return False
        if line != self._expected:
            return False
        self._expected = next(self._known, None)
        return True

    def _add(self, time: bytes, source: bytes, line: bytes) -> None:
        if self._tail is None and self._file.size + len(line) > self._head_bytes:
            self._tail = Tail(tail_bytes(self._bounds.spool_bytes))
        if self._tail is not None:
            self._tail.add(source, line)
            return
        head = len(time) + len(source) + 2
        self._see(
            self._file.size,
            time,
            source,
            line[head + 2 :],
            partial=line[head : head + 1] == b"P",
        )
        self._file.write_raw(line)

    def _see(
        self, position: int, time: bytes, source: bytes, text: bytes, *, partial: bool
    ) -> None:
        if time > self._newest:
            if not self._open and (
                not self._points or self._points[-1].time[:_TENTHS] != time[:_TENTHS]
            ):
                self._points.append(_Point(position, time, self._engine_bytes))
            self._newest = time
        if partial:
            self._open.add(source)
        else:
            self._open.discard(source)
        self._engine_bytes += _entry_bytes(text)

    def _note_point(self) -> None:
        """Notes the point to begin at in a later life, once a second of output."""
        if self._points and (point := self._points[0]).time[:_SECONDS] != self._noted:
            self._noted = point.time[:_SECONDS]
            self._file.put_note(b"%d %s %d\n" % (point.position, point.time, point.engine_bytes))

    def _may_begin_late(self, engine_bytes: int) -> bool:
        """Whether the engine may have dropped lines before anything of this output was read.

        It drops a file only when as many as it keeps are full, one of which it has just begun.
        """
        bounds = self._bounds
        return (
            not self._missing.dropped
            and bounds.file_bytes is not None
            and engine_bytes >= bounds.file_bytes * max(1, bounds.files - 1)
        )

    def _mark(self, text: bytes) -> None:
        self._file.write_raw(format_mark(self._newest or b"1970-01-01T00:00:00.000000000Z", text))


def _entry_bytes(text: bytes) -> int:
    """The most bytes that a line takes in a file of the engine's."""
    escaped = len(text) - len(text.translate(None, _ESCAPED))
    return (
        _ENTRY_BYTES + len(text) + 5 * escaped + 3 * sum(text.count(long) for long in _LONG_ESCAPED)
    )


def _parts(raw: bytes) -> list[bytes]:
    """Time, source, tag and text of a line; empty ones if a broken disk made it something else."""
    parts = raw.split(b" ", 3)
    return parts if len(parts) == 4 else [b""] * 4


def _parse_point(note: bytes) -> _Point | None:
    try:
        position, time, engine_bytes = note.split()
        return _Point(int(position), time, int(engine_bytes)) if note.endswith(b"\n") else None
    except ValueError:
        return None


def _frames(buffer: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """Takes the whole frames out of a buffer."""
    position = 0
    while position + _HEADER.size <= len(buffer):
        source, length = _HEADER.unpack_from(buffer, position)
        begin = position + _HEADER.size
        if begin + length > len(buffer):
            break
        yield STDERR if source == _STDERR else STDOUT, bytes(buffer[begin : begin + length])
        position = begin + length
    del buffer[:position]
