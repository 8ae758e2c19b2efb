"""The output of attempts on the agent's disk, until the log service has it.

One file per log, in the CRI form: `2026-11-22T11:47:16.123456789Z stdout F message`, `P` instead of
`F` where a line goes on in the next one. Its name is the log's name, quoted; it ends in `.log`
while the attempt runs and in `.done` once nothing follows, so the spool tells its state by itself.

The same bytes come out when output is read again from the engine, so a file cut short by a crash
grows back to what it was, and positions in it stay true.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

#: The longest text in one line, in bytes; longer lines are split.
TEXT_BYTES = 16 * 1024
STDOUT, STDERR = b"stdout", b"stderr"
_LIVE, _DONE = ".log", ".done"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log."""

    time: bytes
    source: bytes
    partial: bool
    text: bytes


def format_lines(time: bytes, source: bytes, text: bytes, *, partial: bool) -> Iterator[bytes]:
    """The CRI lines of a text, split where it is too long."""
    while len(text) > TEXT_BYTES:
        yield b"%s %s P %s\n" % (time, source, text[:TEXT_BYTES])
        text = text[TEXT_BYTES:]
    yield b"%s %s %s %s\n" % (time, source, b"P" if partial else b"F", text)


def parse_line(line: bytes) -> Line:
    """A CRI line, without its line end."""
    time, source, tag, text = line.split(b" ", 3)
    return Line(time, source, tag == b"P", text)


class SpoolFile:
    """One log being written."""

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._path = path
        self._changed = changed
        self._buffer = bytearray()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._cut_torn_tail()

    def lines(self) -> Iterator[Line]:
        """The lines that are there, read from the disk one by one."""
        with self._path.open("rb") as file:
            for line in file:
                yield parse_line(line[:-1])

    def write(self, time: bytes, source: bytes, text: bytes, *, partial: bool) -> None:
        """Takes output; `flush` puts it on the disk, and whoever takes much calls it often."""
        for line in format_lines(time, source, text, partial=partial):
            self._buffer += line

    def flush(self) -> None:
        """Puts what was taken on the disk and says so.

        Raises:
            OSError: the disk is full, most likely; what is not on it yet is kept for the next time.
        """
        if self._buffer:
            while self._buffer:
                del self._buffer[: os.write(self._file, self._buffer)]
            self._changed()

    def close(self) -> None:
        """Puts what was taken on the disk and lets the file go, even if that fails."""
        if self._file >= 0:
            try:
                self.flush()
            finally:
                os.close(self._file)
                self._file = -1

    def _cut_torn_tail(self) -> None:
        size = os.fstat(self._file).st_size
        position = size
        while position > 0:
            begin = max(0, position - TEXT_BYTES)
            newline = os.pread(self._file, position - begin, begin).rfind(b"\n")
            if newline >= 0:
                position = begin + newline + 1
                break
            position = begin
        if position < size:
            os.ftruncate(self._file, position)


class Spool:
    """All logs of the agent."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._dirty: dict[str, None] = dict.fromkeys(self._names())
        #: Set when some log has something new.
        self.changed = asyncio.Event()
        if self._dirty:
            self.changed.set()

    def open(self, name: str) -> SpoolFile:
        """Opens a log to write to, at its end; one that was finished goes on."""
        if (done := self._path(name, _DONE)).exists():
            done.rename(self._path(name, _LIVE))
        return SpoolFile(self._path(name, _LIVE), lambda: self.touch(name))

    def touch(self, name: str) -> None:
        """Marks a log as having something new."""
        self._dirty[name] = None
        self.changed.set()

    def finish(self, name: str) -> None:
        """Nothing follows; makes an empty log if there is none."""
        live, done = self._path(name, _LIVE), self._path(name, _DONE)
        if live.exists():
            live.rename(done)
        elif not done.exists():
            done.touch(0o600)
        self.touch(name)

    def finish_others(self, names: set[str]) -> None:
        """Closes every log that is not named: its attempt is known no more."""
        for path in list(self._directory.glob(f"*{_LIVE}")):
            if (name := unquote(path.name.removesuffix(_LIVE))) not in names:
                self.finish(name)

    def take_dirty(self) -> list[str]:
        """The logs that had something new since the last call."""
        names = list(self._dirty)
        self._dirty.clear()
        self.changed.clear()
        return names

    def read(self, name: str, offset: int, size: int) -> tuple[bytes, bool]:
        """Whole lines from a position on, and whether nothing follows them for good."""
        done = self._path(name, _DONE)
        finished = done.exists()
        try:
            with (done if finished else self._path(name, _LIVE)).open("rb") as file:
                file.seek(offset)
                data = file.read(size)
                at_end = offset + len(data) >= os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            return b"", False
        data = data[: data.rfind(b"\n") + 1]
        return data, finished and at_end

    def delete(self, name: str) -> None:
        """Lets a log go that is stored elsewhere."""
        self._path(name, _DONE).unlink(missing_ok=True)

    @property
    def empty(self) -> bool:
        """Whether nothing is left to send."""
        return next(self._names(), None) is None

    def _names(self) -> Iterator[str]:
        for path in self._directory.iterdir():
            if path.suffix in (_LIVE, _DONE):
                yield unquote(path.name.removesuffix(path.suffix))

    def _path(self, name: str, suffix: str) -> Path:
        return self._directory / f"{quote(name, safe='')}{suffix}"
