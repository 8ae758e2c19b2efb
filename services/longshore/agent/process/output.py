"""What a process prints: read from its files, written to the spool. All of it belongs on a thread.

Of a log that grows past its bound the beginning is kept, and the end with a mark before it, which
is read when the process has ended; what lies between is never looked at.

So the files need no more room than the log: what the spool has, and what it will never have, is
given back to the disk as the files grow, by holes in them.
"""

import contextlib
import os
import sys
import threading
import time
from pathlib import Path

from longshore.agent.logs.spool import (
    STDERR,
    STDOUT,
    TEXT_BYTES,
    Spool,
    SpoolFile,
    Tail,
    format_lines,
    format_mark,
    format_time,
    left_out,
    tail_bytes,
)
from longshore.agent.process.hole import punch

#: Bytes taken from one file at a time; what is left waits for the next look.
_READ_BYTES = 1024 * 1024
#: Bytes of the spool after which the positions are noted again.
_NOTE_BYTES = 1024 * 1024
#: Bytes of a file that are given back at a time.
_FREE_BYTES = 1024 * 1024


class _Source:
    """One of the two files."""

    def __init__(self, path: Path, name: bytes, position: int) -> None:
        self._path = path
        self.name = name
        self.position = position
        #: Where what is on the disk of the spool ends, and what may still come there.
        self._kept = (position, sys.maxsize)
        self._freed = [0, 0]
        self._has_holes = True

    def keep(self, room: int) -> None:
        """Notes that all taken so far is on the disk, and that there is so much room in the log."""
        # Its last line may reach past the bound.
        self._kept = (self.position, self.position + room + 2 * TEXT_BYTES)

    def free(self, tail: int) -> None:
        """Gives back to the disk what the log has, and what lies between its beginning and end.

        Args:
            tail: bytes of the end that are kept.

        Raises:
            OSError: the disk does not take part.
        """
        taken, may_come = self._kept
        for number, (first, end) in enumerate(((0, taken), (may_come, self._size() - tail))):
            begin = max(first, self._freed[number])
            if self._has_holes and end - begin >= _FREE_BYTES:
                self._has_holes = punch(self._path, begin, end)
                self._freed[number] = end

    def take(self, file: SpoolFile, bound: int, *, last: bool) -> bool:
        """Writes the whole lines that are new; with `last` also a line without an end.

        Args:
            file: the log, which is not to grow past the bound.
            bound: in bytes.
            last: whether the file is over.

        Returns:
            Whether there may be more.
        """
        data = self._read(_READ_BYTES)
        moment = format_time(time.time_ns())
        more = len(data) == _READ_BYTES
        begin = 0
        while begin < len(data) and file.size < bound:
            text, partial, end = _line(data, begin, last=last and not more)
            if end == begin:
                break
            file.write(moment, self.name, text, partial=partial)
            begin = end
        self.position += begin
        return more

    def take_end(self, tail: Tail, size: int) -> None:
        """Adds the last lines; those that are further from the end than a size need not be read."""
        begin = max(self.position, self._size() - size)
        skipped = begin - self.position
        self.position = begin
        moment = format_time(time.time_ns())
        data = self._read(size)
        self.position += len(data)
        if skipped:
            torn = data.find(b"\n") + 1
            tail.left_out += skipped + torn
            data = data[torn:]
        begin = 0
        while begin < len(data):
            text, partial, begin = _line(data, begin, last=True)
            for line in format_lines(moment, self.name, text, partial=partial):
                tail.add(self.name, line)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _read(self, size: int) -> bytes:
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(descriptor, size, self.position)
        finally:
            os.close(descriptor)


class ProcessOutput:
    """The output of one process.

    How much of each file the spool has is counted from its lines, from where it was noted last.
    """

    def __init__(self, spool: Spool, log_name: str, directory: Path, kept: int) -> None:
        """Does nothing yet: the log is opened when something is taken.

        Args:
            spool: where the log is.
            log_name: its name.
            directory: where the process's files are.
            kept: how long the log may be, in bytes.
        """
        self._spool = spool
        self.log_name = log_name
        self._directory = directory
        self._kept = kept
        self._head = kept - tail_bytes(kept)
        self._lock = threading.Lock()
        self._file: SpoolFile | None = None
        self._sources: list[_Source] = []
        self._noted = 0
        self._over = False
        #: Whether all of it was taken.
        self.closed = False
        #: Bytes that are left out of the log.
        self.left_out = 0

    @property
    def full(self) -> bool:
        """Whether the log is as long as its beginning may be."""
        file = self._file
        return file is not None and file.size >= self._head

    def take(self) -> bool:
        """Takes what is new, once all that was taken before is on the disk.

        Returns:
            Whether there was anything.
        """
        with self._lock:
            if self._over:
                return False
            file = self._opened()
            try:
                flushed = file.flush()
                for source in self._sources:
                    source.take(file, self._head, last=False)
                flushed = file.flush() or flushed
                for source in self._sources:
                    source.keep(max(0, self._head - file.size))
                self._note(file)
            finally:
                # On a full disk above all.
                for source in self._sources:
                    source.free(self._kept - self._head)
            return flushed

    def close(self) -> None:
        """Takes all that is left.

        Raises:
            OSError: it could not be read, or the disk is full; it can be tried again.
        """
        with self._lock:
            self._over = True
            try:
                file = self._opened()
                file.flush()
                for source in self._sources:
                    while source.take(file, self._head, last=True) and file.size < self._head:
                        file.flush()
                if file.size >= self._head:
                    self._take_ends(file)
                file.flush()
                self.closed = True
            finally:
                self._let_go()

    def suspend(self) -> None:
        """Stops here; the rest, and what the disk had no room for, can be taken later."""
        with self._lock:
            self._over = True
            self._let_go()

    def _take_ends(self, file: SpoolFile) -> None:
        size = self._kept - self._head
        tail = Tail(size)
        for source in self._sources:
            source.take_end(tail, size)
        self.left_out = tail.left_out
        if self.left_out:
            text = left_out(self.left_out, self._kept)
            file.write_raw(format_mark(format_time(time.time_ns()), text))
        for line in tail.lines():
            file.write_raw(line)

    def _let_go(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _opened(self) -> SpoolFile:
        if self._file is None:
            file = self._spool.open(self.log_name)
            begin, *counted = _parse_note(file)
            positions = dict(zip((STDOUT, STDERR), counted, strict=True))
            for line in file.lines(begin):
                if not line.mark:
                    positions[line.source] += len(line.text) + (not line.partial)
            self._sources = [
                _Source(self._directory / "out", STDOUT, positions[STDOUT]),
                _Source(self._directory / "err", STDERR, positions[STDERR]),
            ]
            self._noted = begin
            self._file = file
        return self._file

    def _note(self, file: SpoolFile) -> None:
        if file.size - self._noted >= _NOTE_BYTES:
            self._noted = file.size
            out, err = (source.position for source in self._sources)
            file.put_note(b"%d %d %d\n" % (file.size, out, err))


def _line(data: bytes, begin: int, *, last: bool) -> tuple[bytes, bool, int]:
    """The line at a position, whether it goes on, and where it ends: there if it is not whole."""
    newline = data.find(b"\n", begin, begin + TEXT_BYTES + 1)
    if newline >= 0:
        return data[begin:newline], False, newline + 1
    end = min(len(data), begin + TEXT_BYTES)
    if end == len(data) and not last:
        end = begin
    return data[begin:end], True, end


def _parse_note(file: SpoolFile) -> tuple[int, int, int]:
    """A position in the log, and how much of each file is before it."""
    note = file.note()
    try:
        begin, out, err = (int(number) for number in note.split())
    except ValueError:
        return 0, 0, 0
    whole = note.endswith(b"\n") and file.begins_line(begin)
    return (begin, out, err) if whole else (0, 0, 0)
