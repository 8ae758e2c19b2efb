"""Logs as files: `<directory>/<2 digits>/<quoted name>.log`, and `.complete` beside it at the end.

The digits are of the name's SHA-256, so that no directory grows too large. Quoting leaves letters,
digits and `_.-~`; the rest becomes `%XX`, so a name can neither leave the directory nor be mistaken
for another. Names too long for a file are cut and end in their hash.
"""

import asyncio
import hashlib
import os
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path
from urllib.parse import quote

from longshore.domain.errors import InvalidRequest, OutOfRange

#: Longest name of a log, in characters.
NAME_LENGTH = 1024
#: Longest quoted name that becomes a file name as it is; the suffixes fit in what is left of 255.
_QUOTED_LENGTH = 240
#: Logs whose length is remembered; of others it is looked up again.
REMEMBERED = 4096


class Log:
    """One log: how much of it is stored, and whether that is all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.complete_path = path.with_name(path.name.removesuffix(".log") + ".complete")
        self.complete = self.complete_path.exists()
        self.size = path.stat().st_size if path.exists() else -1
        self.readers = 0
        self._changed = asyncio.Event()

    @property
    def known(self) -> bool:
        """Whether anything was ever said of it."""
        return self.size >= 0

    @property
    def stored(self) -> int:
        """Bytes stored."""
        return max(self.size, 0)

    async def changed_from(self, size: int) -> None:
        """Waits until there is more than so much, or nothing more will come."""
        while self.stored <= size and not self.complete:
            await self._changed.wait()

    def append(self, offset: int, data: bytes) -> None:
        """Stores what is new of a chunk.

        Raises:
            OutOfRange: the chunk begins after the end.
        """
        if offset > self.stored:
            raise OutOfRange(
                f"The chunk begins at {offset}, but only {self.stored} bytes are stored.",
                member="offset",
            )
        fresh = data[self.stored - offset :]
        if self.complete or (self.known and not fresh):
            return
        self.path.parent.mkdir(exist_ok=True)
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o640)
        try:
            _write_at(file, fresh, self.stored)
        finally:
            os.close(file)
        self.size = self.stored + len(fresh)
        self._wake()

    async def finish(self) -> None:
        """Makes the log durable, then marks it complete."""
        if not self.complete:
            await asyncio.to_thread(_make_durable, self.path, self.complete_path)
            self.complete = True
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class LogStore:
    """All logs of the service."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._logs: OrderedDict[str, Log] = OrderedDict()

    def log(self, name: str) -> Log:
        """The log of a name, whether or not anything is known of it.

        Raises:
            InvalidRequest: the name is empty or too long.
        """
        log = self._logs.get(name)
        if log is None:
            log = self._logs[name] = Log(self._path(name))
            self._forget_some()
        self._logs.move_to_end(name)
        return log

    @property
    def folders(self) -> list[Path]:
        """Where the files are."""
        return sorted(path for path in self._directory.iterdir() if path.is_dir())

    def forget(self, paths: Collection[Path]) -> set[Path]:
        """Forgets logs whose files are about to go; returns those of which nobody reads."""
        free = set(paths)
        for name, log in list(self._logs.items()):
            if log.path in free:
                if log.readers:
                    free.discard(log.path)
                else:
                    del self._logs[name]
        return free

    def _forget_some(self) -> None:
        # A log that is being read must stay the one object that an append wakes.
        for name in list(self._logs)[: max(0, len(self._logs) - REMEMBERED)]:
            if self._logs[name].readers == 0:
                del self._logs[name]

    def _path(self, name: str) -> Path:
        if not name or len(name) > NAME_LENGTH:
            raise InvalidRequest(
                f"A log's name has 1 to {NAME_LENGTH} characters.", member="logStreamName"
            )
        digest = hashlib.sha256(name.encode()).hexdigest()
        quoted = quote(name, safe="")
        if len(quoted) > _QUOTED_LENGTH:
            quoted = f"{quoted[: _QUOTED_LENGTH - 65]}~{digest}"
        return self._directory / digest[:2] / f"{quoted}.log"


def _write_at(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


def _make_durable(path: Path, complete_path: Path) -> None:
    for each, flags in ((path, os.O_RDONLY), (complete_path, os.O_WRONLY | os.O_CREAT)):
        file = os.open(each, flags, 0o640)
        try:
            os.fsync(file)
        finally:
            os.close(file)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
