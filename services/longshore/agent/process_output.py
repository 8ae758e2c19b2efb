"""What a process prints: read from its files, written to the spool."""

import contextlib
import os
import time
from pathlib import Path

from longshore.agent.spool import STDERR, STDOUT, TEXT_BYTES, Spool, SpoolFile

#: Bytes taken from one file at a time; what is left waits for the next look.
_READ_BYTES = 1024 * 1024


class _Source:
    """One of the two files."""

    def __init__(self, path: Path, name: bytes, position: int) -> None:
        self._path = path
        self._name = name
        self._position = position

    def take(self, file: SpoolFile, *, last: bool) -> bool:
        """Writes the whole lines that are new; with `last` also a line without an end.

        Returns:
            Whether there may be more.
        """
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            data = os.pread(descriptor, _READ_BYTES, self._position)
        finally:
            os.close(descriptor)
        moment = _now()
        more = len(data) == _READ_BYTES
        begin = 0
        while begin < len(data):
            newline = data.find(b"\n", begin, begin + TEXT_BYTES + 1)
            if newline >= 0:
                file.write(moment, self._name, data[begin:newline], partial=False)
                begin = newline + 1
            elif len(data) - begin > TEXT_BYTES:
                file.write(moment, self._name, data[begin : begin + TEXT_BYTES], partial=True)
                begin += TEXT_BYTES
            elif last and not more:
                file.write(moment, self._name, data[begin:], partial=True)
                begin = len(data)
            else:
                break
        self._position += begin
        return more


class ProcessOutput:
    """The output of one process.

    How much of each file the spool has is counted from its lines, so it need not be kept.
    """

    def __init__(self, spool: Spool, log_name: str, directory: Path) -> None:
        self._file: SpoolFile | None = spool.open(log_name)
        positions = {STDOUT: 0, STDERR: 0}
        for line in self._file.lines():
            positions[line.source] += len(line.text) + (not line.partial)
        self._sources = [
            _Source(directory / "out", STDOUT, positions[STDOUT]),
            _Source(directory / "err", STDERR, positions[STDERR]),
        ]

    def take(self) -> None:
        """Takes what is new, once all that was taken before is on the disk."""
        if self._file is not None:
            self._file.flush()
            for source in self._sources:
                source.take(self._file, last=False)
            self._file.flush()

    def close(self) -> None:
        """Takes all that is left.

        Raises:
            OSError: it could not be read, or the disk is full; it is closed all the same.
        """
        try:
            if self._file is not None:
                self._file.flush()
                for source in self._sources:
                    while source.take(self._file, last=True):
                        self._file.flush()
                self._file.flush()
        finally:
            self.suspend()

    def suspend(self) -> None:
        """Stops here; the rest, and what the disk had no room for, can be taken later."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def _now() -> bytes:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % nanoseconds
    )
