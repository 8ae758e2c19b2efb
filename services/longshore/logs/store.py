"""Logs as files: `<directory>/<2 digits>/<quoted name>.log`, and `.complete` beside it at the end.

Where complete logs are archived, `.archived` stands beside it once the archive has it, and the
`.log` may have gone.

The digits are of the name's SHA-256, so that no directory grows too large. Quoting leaves letters,
digits and `_.-~`; the rest becomes `%XX`, so a name can neither leave the directory nor be mistaken
for another. Names too long for a file are cut and end in their hash.
"""

import asyncio
import hashlib
import os
from collections import OrderedDict
from collections.abc import Collection
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from longshore.domain.errors import InvalidRequest, OutOfRange
from longshore.logs.archive import MARK, Archive, archived_size
from longshore.logs.archiving import Archiver

#: Longest name of a log, in characters.
NAME_LENGTH = 1024
#: Longest quoted name that becomes a file name as it is; the suffixes fit in what is left of 255.
_QUOTED_LENGTH = 240
#: Logs whose length is remembered; of others it is looked up again.
REMEMBERED = 4096


class Log:
    """One log: how much of it is stored, and whether that is all.

    Every look at the disk is taken on a thread, and changes come one after another.
    """

    def __init__(self, path: Path, archive: Archive | None = None) -> None:
        """Looks at what is stored; to be called on a thread.

        Args:
            path: where it is.
            archive: where it is read once its file has gone.
        """
        self.path = path
        self._archive = archive
        self.complete_path = path.with_name(path.name.removesuffix(".log") + ".complete")
        self.complete = self.complete_path.exists()
        self.size = path.stat().st_size if path.exists() else archived_size(path)
        self.readers = 0
        self._changing = asyncio.Lock()
        self._changed = asyncio.Event()

    @property
    def known(self) -> bool:
        """Whether anything was ever said of it."""
        return self.size >= 0

    @property
    def in_use(self) -> bool:
        """Whether somebody reads or writes it."""
        return self.readers > 0 or self._changing.locked()

    @property
    def stored(self) -> int:
        """Bytes stored."""
        return max(self.size, 0)

    def read(self, begin: int, end: int) -> bytes:
        """Bytes from a position to another, as far as they are there; to be called on a thread.

        Raises:
            NotFound: it has gone from the disk and from the archive.
            Unavailable: the archive, which has it, does not answer.
        """
        try:
            file = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            if self._archive is None or archived_size(self.path) < 0:
                return b""  # deleted meanwhile
            return self._archive.read_on_thread(self.path, begin, end)
        try:
            return os.pread(file, max(0, end - begin), begin)
        finally:
            os.close(file)

    async def changed_from(self, size: int) -> None:
        """Waits until there is more than so much, or nothing more will come."""
        while self.stored <= size and not self.complete:
            await self._changed.wait()

    async def append(self, offset: int, data: bytes, *, complete: bool = False) -> bool:
        """Stores what is new of a chunk; if it is the last one, durably, and marks that.

        Returns whether that completes the log.

        Raises:
            OutOfRange: the chunk begins after the end.
        """
        async with self._changing:
            await self._store(offset, data)
            if complete and not self.complete:
                await asyncio.to_thread(_make_durable, self.path, self.complete_path)
                self.complete = True
                self._wake()
                return True
            return False

    async def _store(self, offset: int, data: bytes) -> None:
        if offset > self.stored:
            raise OutOfRange(
                f"The chunk begins at {offset}, but only {self.stored} bytes are stored.",
                member="offset",
            )
        fresh = data[self.stored - offset :]
        if self.complete or (self.known and not fresh):
            return
        # A call that is broken off meanwhile leaves the bytes, and the next one writes them again.
        await asyncio.to_thread(_write, self.path, fresh, self.stored)
        self.size = self.stored + len(fresh)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class LogStore:
    """All logs of the service."""

    def __init__(self, directory: Path, archiver: Archiver | None = None) -> None:
        """Opens a directory of logs.

        Args:
            directory: where they are; made if need be.
            archiver: takes those that are complete.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._archiver = archiver
        self._logs: OrderedDict[str, Log] = OrderedDict()
        self._looking: dict[str, asyncio.Future[Log]] = {}

    async def log(self, name: str) -> Log:
        """The log of a name, whether or not anything is known of it.

        Raises:
            InvalidRequest: the name is empty or too long.
        """
        log = self._logs.get(name)
        if log is None:
            # Whoever asks meanwhile waits for the same look: there is one object of each log, and
            # calls go on in the order of asking.
            log = self._logs.setdefault(name, await asyncio.shield(self._look(name)))
            self._forget_some()
        self._logs.move_to_end(name)
        return log

    async def append(self, log: Log, offset: int, data: bytes, *, complete: bool = False) -> None:
        """Stores a chunk of a log.

        Raises:
            OutOfRange: the chunk begins after the end.
        """
        if await log.append(offset, data, complete=complete) and self._archiver is not None:
            self._archiver.take(log.path)

    async def delete_files(self, paths: Collection[Path]) -> int:
        """Deletes logs that are forgotten; returns how many.

        Those that the archive does not let go stay, for a later try.
        """
        free = set(paths) if self._archiver is None else await self._archiver.delete(paths)
        await asyncio.to_thread(_delete, free)
        return len(free)

    @property
    def folders(self) -> list[Path]:
        """Where the files are."""
        return sorted(path for path in self._directory.iterdir() if path.is_dir())

    def forget(self, paths: Collection[Path]) -> set[Path]:
        """Forgets logs whose files are about to go; returns those of which nobody reads."""
        free = set(paths)
        for name, log in list(self._logs.items()):
            if log.path in free:
                if log.in_use:
                    free.discard(log.path)
                else:
                    del self._logs[name]
        return free

    def _look(self, name: str) -> asyncio.Future[Log]:
        looking = self._looking.get(name)
        if looking is None:
            path = self._path(name)
            archive = None if self._archiver is None else self._archiver.archive
            looking = asyncio.ensure_future(asyncio.to_thread(Log, path, archive))
            self._looking[name] = looking
            looking.add_done_callback(lambda _: self._looking.pop(name))
        return looking

    def _forget_some(self) -> None:
        # A log that is read or written must stay the one object that all know.
        for name in list(islice(self._logs, max(0, len(self._logs) - REMEMBERED))):
            if not self._logs[name].in_use:
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


def _delete(paths: Collection[Path]) -> None:
    for path in paths:
        # The mark of the end last: without it half a log would look like all that there is so far.
        for suffix in (".log", MARK, ".complete"):
            path.with_suffix(suffix).unlink(missing_ok=True)


def _write(path: Path, data: bytes, offset: int) -> None:
    path.parent.mkdir(exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o640)
    try:
        view = memoryview(data)
        while view:
            written = os.pwrite(file, view, offset)
            view, offset = view[written:], offset + written
    finally:
        os.close(file)


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
