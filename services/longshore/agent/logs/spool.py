"""The output of attempts on the agent's disk, until the log service has it.

One file per log, in the CRI form: `2026-11-22T11:47:16.123456789Z stdout F message`, `P` instead of
`F` where a line goes on in the next one, `F:mark` where the agent itself says that output is
missing there. Its name is the log's name, quoted; it ends in `.log` while the attempt runs, in
`.done` once nothing follows, and in `.cut` if something should have followed that could not be
kept: that needs no room on the disk, and such a log is read as if it ended in a mark. So the spool
tells its state by itself. A name that is too long for a file is cut there, ends in its hash, and
stands whole in a file beside it (`.name`).

Beside a log lies a note (`.at`) of whoever writes it, from which on to look when it is taken up
again: without one, or with one that is not true, that is its beginning. The same bytes come out
when output is read again from the engine, so a file cut short by a crash grows back to what it was,
and positions in it stay true.

Opening and reading may wait for the disk and belong on a thread, as all that looks at a whole log.
"""

import asyncio
import contextlib
import hashlib
import heapq
import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

#: The longest text in one line, in bytes; longer lines are split.
TEXT_BYTES = 16 * 1024
#: Of what is kept of a log so much is its end, in bytes, or a quarter where that is less.
TAIL_BYTES = 1024 * 1024
STDOUT, STDERR = b"stdout", b"stderr"
#: What stands after the last line of a log whose end could not be kept.
CUT = b"longshore: the rest of the output could not be kept"
_MARK = b"F:mark"
_LIVE, _DONE, _CUT, _NOTE, _NAME = ".log", ".done", ".cut", ".at", ".name"
#: Longest quoted name of a log that is a file's as it is; the suffixes fit in what is left of 255.
_STEM_LENGTH = 240
#: Between a name that is cut and its hash; in quoted names there is none.
_HASH = "@"
_NOTE_BYTES = 256


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log."""

    time: bytes
    source: bytes
    partial: bool
    text: bytes
    #: Whether the agent says here that output is missing.
    mark: bool = False


def format_lines(time: bytes, source: bytes, text: bytes, *, partial: bool) -> Iterator[bytes]:
    """The CRI lines of a text, split where it is too long."""
    while len(text) > TEXT_BYTES:
        yield b"%s %s P %s\n" % (time, source, text[:TEXT_BYTES])
        text = text[TEXT_BYTES:]
    yield b"%s %s %s %s\n" % (time, source, b"P" if partial else b"F", text)


def format_mark(time: bytes, text: bytes) -> bytes:
    """The CRI line by which the agent says that output is missing."""
    return b"%s %s %s %s\n" % (time, STDERR, _MARK, text)


def parse_line(line: bytes) -> LogLine:
    """A CRI line, without its line end."""
    time, source, tag, text = line.split(b" ", 3)
    return LogLine(time, source, tag == b"P", text, tag == _MARK)


def format_time(nanoseconds: int) -> bytes:
    """A time since the epoch as it stands in a line."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % rest


def tail_bytes(kept: int) -> int:
    """How much of what is kept of a log is its end."""
    return min(TAIL_BYTES, kept // 4)


def left_out(size: int, kept: int) -> bytes:
    """The text of the mark between the beginning and the end of a long log."""
    return b"longshore: %d bytes are left out here: of a log at most %d are kept" % (size, kept)


class Tail:
    """The last lines of both outputs, up to a bound in bytes, of which each may have half.

    So what is said of an error is not driven out by what else is printed at the same time.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound // 2
        self._lines: dict[bytes, deque[tuple[int, bytes]]] = {STDOUT: deque(), STDERR: deque()}
        self._sizes = {STDOUT: 0, STDERR: 0}
        self._count = 0
        #: Bytes of the lines that there was no room for.
        self.left_out = 0

    @property
    def size(self) -> int:
        """Bytes of what is here."""
        return sum(self._sizes.values())

    def add(self, source: bytes, line: bytes) -> None:
        """Takes a line, and leaves out the first ones where there is no room."""
        self._count += 1
        lines = self._lines[source]
        lines.append((self._count, line))
        self._sizes[source] += len(line)
        while self._sizes[source] > self._bound:
            gone = len(lines.popleft()[1])
            self._sizes[source] -= gone
            self.left_out += gone

    def lines(self) -> list[bytes]:
        """The lines that are here, in the order of their coming."""
        return [line for _, line in heapq.merge(*self._lines.values())]


class SpoolFile:
    """One log being written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._note_path = path.with_name(path.name.removesuffix(_LIVE) + _NOTE)
        self._buffer = bytearray()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = self._cut_torn_tail()

    @property
    def size(self) -> int:
        """Bytes of the log, those included that are not on the disk yet."""
        return self._size + len(self._buffer)

    def raw_lines(self, begin: int = 0) -> Iterator[bytes]:
        """The lines that are on the disk now, as they are, from a position on, read in blocks."""
        end = self._size
        with self._path.open("rb") as file:
            file.seek(begin)
            for line in file:
                begin += len(line)
                if begin > end:
                    return
                yield line

    def lines(self, begin: int = 0) -> Iterator[LogLine]:
        """The lines that are on the disk now, from a position on."""
        return (parse_line(line[:-1]) for line in self.raw_lines(begin))

    def note(self) -> bytes:
        """What was noted last; empty if nothing was."""
        try:
            with self._note_path.open("rb") as file:
                return file.read(_NOTE_BYTES)
        except FileNotFoundError:
            return b""

    def put_note(self, note: bytes) -> None:
        """Notes from where on to look at the log the next time.

        A full disk leaves the log without a note, which only costs that it is looked at whole.
        """
        with contextlib.suppress(OSError):
            self._note_path.write_bytes(note)

    def begins_line(self, position: int, start: bytes = b"") -> bool:
        """Whether a line begins at a position, with these bytes."""
        if not 0 <= position <= self._size:
            return False
        before = os.pread(self._file, 1, position - 1) if position else b"\n"
        return before == b"\n" and os.pread(self._file, len(start), position) == start

    def write(self, time: bytes, source: bytes, text: bytes, *, partial: bool) -> None:
        """Takes output; `flush` puts it on the disk, and whoever takes much calls it often."""
        for line in format_lines(time, source, text, partial=partial):
            self._buffer += line

    def write_raw(self, line: bytes) -> None:
        """Takes a line that is formatted already."""
        self._buffer += line

    def flush(self) -> bool:
        """Puts what was taken on the disk; returns whether there was anything.

        Raises:
            OSError: the disk is full, most likely; what is not on it yet is kept for the next time.
        """
        flushed = bool(self._buffer)
        while self._buffer:
            written = os.write(self._file, self._buffer)
            self._size += written
            del self._buffer[:written]
        return flushed

    def close(self) -> None:
        """Puts what was taken on the disk and lets the file go, even if that fails."""
        if self._file >= 0:
            try:
                self.flush()
            finally:
                os.close(self._file)
                self._file = -1

    def _cut_torn_tail(self) -> int:
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
        return position


class Spool:
    """All logs of the agent.

    Its own state belongs to the loop's thread; `open`, `read` and what they return may be used on
    others, for one log by one at a time.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._names = set(self._names_on_disk())
        self._dirty: dict[str, None] = dict.fromkeys(self._names)
        #: Set when some log has something new.
        self.changed = asyncio.Event()
        if self._dirty:
            self.changed.set()

    def open(self, name: str) -> SpoolFile:
        """Opens a log to write to, at its end; one that was finished goes on."""
        self._keep_name(name)
        for suffix in (_DONE, _CUT):
            with contextlib.suppress(FileNotFoundError):
                self._path(name, suffix).rename(self._path(name, _LIVE))
        return SpoolFile(self._path(name, _LIVE))

    def finished(self, name: str) -> bool:
        """Whether a log that is here has its end."""
        return self._path(name, _DONE).exists() or self._path(name, _CUT).exists()

    def touch(self, name: str) -> None:
        """Marks a log as having something new."""
        self._names.add(name)
        self._dirty[name] = None
        self.changed.set()

    def finish(self, name: str, *, whole: bool = True) -> None:
        """Nothing follows; makes an empty log if there is none.

        Args:
            name: the log's.
            whole: whether nothing is missing at its end.
        """
        live, end = self._path(name, _LIVE), self._path(name, _DONE if whole else _CUT)
        if live.exists():
            if not whole:
                SpoolFile(live).close()  # a torn line would stand before the mark
            live.rename(end)
        elif not self.finished(name):
            self._keep_name(name)
            end.touch(0o600)
        self._path(name, _NOTE).unlink(missing_ok=True)
        self.touch(name)

    async def finish_others(self, names: set[str]) -> None:
        """Closes every log that is not named: its attempt is known no more, nor is its end."""
        left = await asyncio.to_thread(lambda: list(self._directory.glob(f"*{_LIVE}")))
        for path in left:
            name = self._name(path)
            if name is not None and name not in names:
                self.finish(name, whole=False)

    def take_dirty(self) -> list[str]:
        """The logs that had something new since the last call."""
        names = list(self._dirty)
        self._dirty.clear()
        self.changed.clear()
        return names

    def read(self, name: str, offset: int, size: int) -> tuple[bytes, bool]:
        """Whole lines from a position on, and whether nothing follows them for good."""
        for suffix in (_DONE, _CUT, _LIVE):
            try:
                file = os.open(self._path(name, suffix), os.O_RDONLY)
            except FileNotFoundError:
                continue
            try:
                stat = os.fstat(file)
                data = os.pread(file, size, offset)
            finally:
                os.close(file)
            end = stat.st_size
            if suffix == _CUT and offset + len(data) >= end:
                # The file does not change any more, so neither does its time.
                mark = format_mark(format_time(stat.st_mtime_ns), CUT)
                data += mark[offset + len(data) - end :]
                end += len(mark)
            at_end = offset + len(data) >= end
            return data[: data.rfind(b"\n") + 1], suffix != _LIVE and at_end
        return b"", False

    def delete(self, name: str) -> None:
        """Lets a log go that is stored elsewhere."""
        for suffix in (_DONE, _CUT):
            self._path(name, suffix).unlink(missing_ok=True)
        if not self._path(name, _LIVE).exists():
            self._path(name, _NAME).unlink(missing_ok=True)
            self._names.discard(name)

    @property
    def empty(self) -> bool:
        """Whether nothing is left to send."""
        return not self._names

    def _names_on_disk(self) -> Iterator[str]:
        for path in self._directory.iterdir():
            if path.suffix in (_LIVE, _DONE, _CUT):
                name = self._name(path)
                if name is not None:
                    yield name

    def _path(self, name: str, suffix: str) -> Path:
        return self._directory / f"{_stem(name)}{suffix}"

    def _keep_name(self, name: str) -> None:
        """Writes down a name that its file cannot tell."""
        path = self._path(name, _NAME)
        if _HASH in path.name and not path.exists():
            scratch = path.with_suffix(".new")
            scratch.write_text(name)
            scratch.replace(path)

    def _name(self, path: Path) -> str | None:
        """The name of the log that a file is of; None if nothing tells."""
        stem = path.name.removesuffix(path.suffix)
        if _HASH not in stem:
            return unquote(stem)
        try:
            return path.with_suffix(_NAME).read_text()
        except FileNotFoundError:
            return None


def _stem(name: str) -> str:
    quoted = quote(name, safe="")
    if len(quoted) <= _STEM_LENGTH:
        return quoted
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{quoted[: _STEM_LENGTH - len(digest) - 1]}{_HASH}{digest}"
