"""From stored lines to events.

A stored log is lines in CRI form: `time stream tag text`. An event is what was printed as one line:
lines whose tag begins with `P` go on in the next line of the same stream (`P:n` with a line break
between), up to `EVENT_BYTES` of the log. In the text of tags that end in `:b` a byte that is in no
UTF-8 stands for a line break. An empty line makes none. An event stands where its last line does,
and has the time of its first one, but never less than the event before.

What an event is thus depends on what was stored before it: on the time of the event before, and on
where lines that go on have begun. A `State` holds both, so that reading can begin wherever one was
kept, and comes to the same events.
"""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

#: Bytes read at one time, and the longest line; of a longer one the rest is a line of its own.
BLOCK_BYTES = 256 * 1024
#: Bytes of the log from the first to the last line of one event.
EVENT_BYTES = 1024 * 1024
#: An open line that is none.
NONE = -1
_STDOUT, _STDERR = b"stdout", b"stderr"
_BREAK = b"P:n"
#: How tags end of texts with line breaks, and what stands for one there.
BROKEN, LINE_BREAK = b":b", b"\xff"

#: Gives bytes of a log from a position to another.
Read = Callable[[int, int], bytes]


def plain(tag: bytes, text: bytes) -> bytes:
    """The text of a line, with the line breaks that it has."""
    return text.replace(LINE_BREAK, b"\n") if tag.endswith(BROKEN) else text


class State(NamedTuple):
    """What the events after a position depend on."""

    #: Time of the last event in epoch milliseconds, -1 before the first one.
    latest: int = -1
    #: Where lines of both streams that go on have begun, or NONE.
    stdout: int = NONE
    stderr: int = NONE


class Event(NamedTuple):
    """One event of a log."""

    #: Where its last line begins; events are in this order.
    begin: int
    #: Where the line after it begins.
    end: int
    #: In epoch milliseconds.
    timestamp: int
    text: bytes

    @property
    def message(self) -> str:
        """The text; U+FFFD for bytes that are no UTF-8."""
        return self.text.decode(errors="replace")


class Scan:
    """Reads events block by block, from where a state is known."""

    def __init__(self, read: Read, begin: int, state: State, end: int, *, complete: bool) -> None:
        """Makes a scan.

        Args:
            read: reads the log.
            begin: where a line begins.
            state: what was before that.
            end: how much is stored.
            complete: whether nothing follows; then lines that go on end there, each as if it
                were one byte behind what is stored.
        """
        self._read = read
        #: Where the first line that was not taken begins.
        self.position = begin
        self._end = end
        self._complete = complete
        self._latest = state.latest
        self._open = {_STDOUT: state.stdout, _STDERR: state.stderr}
        self._second, self._second_ms = b"", 0

    @property
    def state(self) -> State:
        """What was before `position`."""
        return State(self._latest, self._open[_STDOUT], self._open[_STDERR])

    def block(self, most: int = BLOCK_BYTES) -> list[Event] | None:
        """The events of the next block, maybe none; None when nothing whole is left."""
        if self.position >= self._end:
            return self._rest()
        data = self._read(self.position, min(self.position + most, self._end))
        whole = data.rfind(b"\n") + 1
        if not whole and most < BLOCK_BYTES and self.position + len(data) < self._end:
            return self.block(BLOCK_BYTES)  # one line alone is longer than was asked for
        if not whole and len(data) >= BLOCK_BYTES:
            whole = len(data)
        return self._take(data[:whole]) if whole else self._rest()

    def _take(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        begin = self.position
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        last = begin + len(data)
        opened = self._open
        for line in lines:
            end = begin + len(line) + 1
            match line.split(b" ", 3):
                case [stamp, source, b"F", text] if (
                    # Most lines: whole, of the same second as the one before.
                    text
                    and opened.get(source) == NONE
                    and stamp[:19] == self._second
                    and self._second_ms >= 0
                    and len(stamp) >= 23
                    and stamp[20:23].isdigit()
                    and end <= last
                ):
                    time = self._second_ms + int(stamp[20:23])
                    self._latest = max(self._latest, time)
                    events.append(Event(begin, end, self._latest, text))
                case _:
                    end = min(end, last)
                    event = self._line(line, begin, end)
                    if event is not None:
                        events.append(event)
            begin = end
        self.position += len(data)
        return events

    def _line(self, line: bytes, begin: int, end: int) -> Event | None:
        parts = line.split(b" ", 3)
        try:
            stamp, source, tag, text = parts
            opened = self._open[source]
            time = self._time(stamp)
        except (ValueError, KeyError, OverflowError):
            # No line of the format: handed out as it is rather than lost.
            return self._event(begin, end, self._latest, line)
        if tag[:1] == b"P" and end - (opened if opened != NONE else begin) <= EVENT_BYTES:
            if opened == NONE:
                self._open[source] = begin
            return None
        if opened != NONE:
            self._open[source] = NONE
            time, text = self._joined(opened, end, source)
        else:
            text = plain(tag, text)
        return self._event(begin, end, time, text)

    def _event(self, begin: int, end: int, time: int, text: bytes) -> Event | None:
        if not text:
            return None
        self._latest = max(self._latest, time, 0)
        return Event(begin, end, self._latest, text)

    def _joined(self, begin: int, end: int, source: bytes) -> tuple[int, bytes]:
        """Time and text of the lines of one stream."""
        time, joined = None, bytearray()
        for line in self._read(begin, end).split(b"\n"):
            parts = line.split(b" ", 3)
            if len(parts) == 4 and parts[1] == source:
                if time is None:
                    time = self._time(parts[0])
                joined += plain(parts[2], parts[3])
                if parts[2] == _BREAK:
                    joined += b"\n"
        return time or 0, bytes(joined)

    def _rest(self) -> list[Event] | None:
        """What is open when nothing follows any more."""
        left = sorted((at, source) for source, at in self._open.items() if at != NONE)
        if not self._complete or not left:
            return None
        events = []
        position = max(self.position, self._end)
        for at, source in left:
            self._open[source] = NONE
            time, text = self._joined(at, self.position, source)
            event = self._event(position, position + 1, time, text)
            if event is not None:
                events.append(event)
            position += 1
        self.position = position
        return events

    def _time(self, stamp: bytes) -> int:
        """Epoch milliseconds of a line's time.

        Raises:
            ValueError: it is none.
            OverflowError: the same.
        """
        second, fraction = stamp[:19], stamp[20:23]
        if second != self._second:
            parsed = datetime.fromisoformat(second.decode() + "+00:00")
            self._second, self._second_ms = second, int(parsed.timestamp()) * 1000
        if len(fraction) < 3 or not fraction.isdigit():
            fraction = fraction.rstrip(b"Z").ljust(3, b"0")
        return self._second_ms + int(fraction)
