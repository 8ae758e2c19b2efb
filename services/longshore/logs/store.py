"""Logs as files: `<directory>/<2 digits>/<quoted name>.log`, with others of its name beside it.

`.complete` is there once the end is stored, `.marks` says where reading can begin (`marks`), and
`.name` has what a file name had no room for. `.deleted` stands for a log that was deleted before
its attempt had ended: what its agent still sends of it is not kept. The digits are of the name's
SHA-256, so that no directory grows too large. Quoting leaves letters, digits and `_.-~`; the rest
becomes `%XX`, so a name can neither leave the directory nor be mistaken for another. Logs of
another group than that of jobs have it in front of their name, with a colon between, which no
quoted name has. Names too long for a file are cut and end in their hash.

Which logs there are is on record in `catalogue.db`.
"""

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import quote, unquote

import structlog

from longshore.domain.errors import (
    InvalidRequest,
    LongshoreError,
    OutOfRange,
    PermissionDenied,
    Unavailable,
)
from longshore.domain.log_group import AGENTS, GROUP, JOBS, is_attempts
from longshore.logs.archive import MARK, THREADS, LogArchive, archived_size
from longshore.logs.archiving import Archiver
from longshore.logs.catalogue import Group, LogCatalogue
from longshore.logs.marks import Marks
from longshore.logs.paging import View

log = structlog.get_logger()

P = ParamSpec("P")
R = TypeVar("R")

#: Longest name of a log, in characters.
NAME_LENGTH = 1024
#: Longest quoted name that becomes a file name as it is; the suffixes fit in what is left of 255.
_QUOTED_LENGTH = 240
#: Threads for those who look through logs.
READERS = 4
#: Logs whose length is remembered; of others it is looked up again.
REMEMBERED = 4096
_LOG, _COMPLETE, _NAME, _MARKS = ".log", ".complete", ".name", ".marks"
DELETED = ".deleted"

#: For how long a listing waits until it is known which logs there are.
STOCK_SECONDS = 5.0

#: Told of a log where the first line begins that was not whole before something was stored.
Watcher = Callable[["Log", int], None]


class Log:
    """One log: how much of it is stored, and whether that is all.

    Every look at the disk is taken on a thread, and changes come one after another.
    """

    def __init__(
        self, path: Path, group: str, name: str, whole_name: str, archive: LogArchive | None = None
    ) -> None:
        """Looks at what is stored; to be called on a thread.

        Args:
            path: where it is.
            group: its group.
            name: its name.
            whole_name: what the file's name is of.
            archive: where it is read once its file has gone.
        """
        self.path = path
        self._archive = archive
        self._whole_name = whole_name
        self.group = group
        self.name = name
        self.complete_path = path.with_suffix(_COMPLETE)
        self.complete = self.complete_path.exists()
        self.marks = Marks(path)
        self.readers = 0
        #: The instance that writes it; None if that was not asked for yet.
        self.writer: str | None = None
        #: Of the first and the last event; None while there is none.
        self.times: tuple[int, int] | None = None
        self._changing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._deleted_path = path.with_suffix(DELETED)
        #: Whether it was deleted for good.
        self.gone = self._deleted_path.exists()
        if self.gone:
            self.size, self.complete = -1, False
            return
        try:
            stat = path.stat()
        except FileNotFoundError:
            # Whoever only asks for it does not wait for the archive.
            self.size = archived_size(path)
            self.marks.take_up(self.stored)
        else:
            self.size = stat.st_size
            try:
                self.marks.open(self.read, self.size, stat.st_mtime_ns // 1_000_000)
            except OSError as error:
                log.warning("marks.not_written", error=str(error), stream=name)
            self.times = self.marks.times(self.read, self.size, complete=self.complete)

    def find_times(self) -> None:
        """Finds the times of what the archive alone has; to be called on a thread.

        Raises:
            Unavailable: the archive does not answer.
        """
        if self.times is None:
            self.times = self.marks.times(self.read, self.stored, complete=self.complete)

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

    @property
    def view(self) -> View:
        """What is stored now, for reading events of."""
        # Complete first, so that nothing which came before completeness is passed over.
        complete = self.complete
        return View(self.read, self.marks, self.stored, complete)

    def read(self, begin: int, end: int) -> bytes:
        """Bytes from a position to another, as far as they are there; to be called on a thread.

        Raises:
            NotFound: it has gone from the disk and from the archive.
            Unavailable: the archive, which has it, does not answer.
        """
        try:
            file = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            if archived_size(self.path) < 0:
                return b""  # deleted meanwhile
            if self._archive is None:
                raise Unavailable(
                    "This log is in the store of complete logs alone, which LONGSHORE_LOGS_S3 does "
                    "not name any more."
                ) from None
            return self._archive.read_on_thread(self.path, begin, end)
        try:
            return os.pread(file, max(0, end - begin), begin)
        finally:
            os.close(file)

    async def changed_from(self, size: int) -> None:
        """Waits until there is more than so much, or nothing more will come."""
        while self.stored <= size and not self.complete and not self.gone:
            await self._changed.wait()

    async def append(
        self,
        offset: int | None,
        data: bytes,
        enter: Callable[[], Awaitable[object]],
        *,
        complete: bool = False,
    ) -> int:
        """Stores what is new of a chunk; if it is the last one, durably, and marks that.

        Of a log that is gone nothing is stored.

        Args:
            offset: where it begins; None: at the end, and durably.
            data: the chunk.
            enter: puts the log on record, before the first chunk is stored.
            complete: whether it is the last one.

        Returns:
            Where the first line begins that was not whole before.

        Raises:
            OutOfRange: the chunk begins after the end.
        """
        async with self._changing:
            if self.gone:
                # It is kept in mind for as long as something comes.
                await asyncio.to_thread(self._deleted_path.touch)
                return 0
            if not self.known:
                await enter()
            begin = self.marks.seen
            durable = offset is None
            start = self.stored if offset is None else offset
            await self._store(start, data, durable=durable)
            if complete and not self.complete:
                await asyncio.to_thread(self._finish)
                self.complete = True
                self._wake()
            return begin

    def _finish(self) -> None:
        _make_durable(self.path, self.complete_path)
        self.times = self.marks.times(self.read, self.stored, complete=True)

    async def _store(self, offset: int, data: bytes, *, durable: bool) -> None:
        if offset > self.stored:
            raise OutOfRange(
                f"The chunk begins at {offset}, but only {self.stored} bytes are stored.",
                member="offset",
            )
        fresh = data[self.stored - offset :]
        if self.complete or (self.known and not fresh):
            return
        # A call that is broken off meanwhile leaves the bytes, and the next one writes them again.
        await asyncio.to_thread(self._write, fresh, self.stored, durable=durable)
        self.size = self.stored + len(fresh)
        self._wake()

    def _write(self, data: bytes, offset: int, *, durable: bool) -> None:
        _write(self.path, data, offset, durable=durable)
        if not offset and len(self._whole_name) > _QUOTED_LENGTH:
            self.path.with_suffix(_NAME).write_text(self._whole_name)
        size = offset + len(data)
        try:
            self.marks.take(self.read, size, time.time_ns() // 1_000_000)
        except OSError as error:
            # They are made the next time: the log itself is stored.
            log.warning("marks.not_written", error=str(error), stream=self.name)
        self.times = self.marks.times(self.read, size, complete=False)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def delete(self, archiver: Archiver | None, *, for_good: bool) -> None:
        """Deletes what is stored.

        Args:
            archiver: has it, maybe.
            for_good: whether its attempt goes on and nothing more is to be kept of it; else whoever
                follows it waits on for what is stored anew.

        Raises:
            Unavailable: the archive, which has it, does not let it go.
        """
        async with self._changing:
            if archiver is not None and not await archiver.delete([self.path]):
                raise Unavailable("The store of complete logs does not let go of it; try again.")
            if for_good and self.known and not self.complete:
                await asyncio.to_thread(self._deleted_path.touch)
                self.gone = True
            await asyncio.to_thread(delete_files, [self.path])
            self.size, self.complete, self.writer = -1, False, None
            self.marks, self.times = Marks(self.path), None
            self._wake()


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
        self.catalogue = LogCatalogue(directory / "catalogue.db")
        self._logs: OrderedDict[tuple[str, str], Log] = OrderedDict()
        self._looking: dict[tuple[str, str], asyncio.Future[Log]] = {}
        self._watchers: set[Watcher] = set()
        self._stocked = asyncio.Event()
        if self.catalogue.is_whole or not self.folders:
            self._stocked.set()
        #: Of their own, so that nobody who reads holds up those who write.
        self._reading = ThreadPoolExecutor(READERS if archiver is None else THREADS, "read")

    async def close(self) -> None:
        """Ends in order."""
        self._reading.shutdown(wait=False, cancel_futures=True)
        await self.catalogue.close()

    async def on_thread(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs what looks through logs."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reading, partial(call, *args, **kwargs))

    async def log(self, name: str, group: str = JOBS) -> Log:
        """The log of a name, whether or not anything is known of it.

        Raises:
            InvalidRequest: the name is empty or too long, or the group's is none.
        """
        key = group, name
        log = self._logs.get(key)
        if log is None:
            # Whoever asks meanwhile waits for the same look: there is one object of each log, and
            # calls go on in the order of asking.
            log = self._logs.setdefault(key, await asyncio.shield(self._look(key)))
            self._forget_some()
        self._logs.move_to_end(key)
        return log

    async def append(
        self, log: Log, offset: int | None, data: bytes, *, complete: bool = False
    ) -> None:
        """Stores a chunk of a log, which is on record before that, in a group that is then there.

        Args:
            log: the log.
            offset: where the chunk begins; None: at the end, and durably, for a log that callers
                write.
            data: the chunk.
            complete: whether nothing follows.

        Raises:
            OutOfRange: the chunk begins after the end.
            Unavailable: the disk is full, or fails otherwise.
        """
        try:
            await self._append(log, offset, data, complete=complete)
        except (OSError, sqlite3.Error) as error:
            raise Unavailable(f"{log.name} cannot be stored: {error}.") from error

    async def _append(self, log: Log, offset: int | None, data: bytes, *, complete: bool) -> None:
        async def enter() -> None:
            group = await self._group(log.group)
            await self.catalogue.add(
                group, log.name, is_put=offset is None, writer=log.writer or None
            )

        before = log.stored, log.complete
        begin = await log.append(offset, data, enter, complete=complete)
        if not log.gone and (log.stored, log.complete) != before:
            # Anew: it may have been deleted meanwhile.
            group = await self._group(log.group)
            self.catalogue.note(group, log.name, log.times, log.stored, complete=log.complete)
            for watcher in list(self._watchers):
                watcher(log, begin)
        if log.complete and not before[1] and self._archiver is not None:
            self._archiver.take(log.path)

    async def claim(self, log: Log, instance_id: str) -> None:
        """Makes sure that a log is that of an instance: one that nobody wrote yet becomes its.

        Names of attempts' logs cannot be guessed, and an attempt is on one instance.

        Raises:
            PermissionDenied: another instance writes it, or callers do.
        """
        if log.group == AGENTS:
            is_its = log.name.startswith(f"{instance_id}/")
        else:
            group = self.catalogue.groups.get(log.group)
            if log.writer is None and log.known and group is not None:
                found = await self.catalogue.writer(group, log.name)
                log.writer = log.writer if found is None else found
            if log.writer is None:
                log.writer = instance_id
            is_its = log.writer == instance_id
        if not is_its:
            raise PermissionDenied(f"Log {log.name} is not of instance {instance_id}.")

    async def create(self, log: Log) -> bool:
        """Creates a log that callers write; returns whether there was none."""
        is_new = not log.known
        await self.append(log, None, b"")
        return is_new

    async def delete(self, group: Group, names: Collection[str]) -> None:
        """Deletes logs of a group."""
        for name in names:
            log = await self.log(name, group.name)
            await log.delete(self._archiver, for_good=is_attempts(name))
        await self.catalogue.remove(group, names)

    async def _group(self, name: str) -> Group:
        # Without a wait where it is there, so that calls go on in the order of asking.
        if name not in self.catalogue.groups:
            await self.catalogue.create_group(name, {})
        return self.catalogue.groups[name]

    def watch(self, watcher: Watcher) -> None:
        """Tells somebody of everything that is stored from now on."""
        self._watchers.add(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Tells somebody no more."""
        self._watchers.discard(watcher)

    async def stocked(self) -> None:
        """Waits until it is known which logs there are, but not for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOCK_SECONDS):
                await self._stocked.wait()

    async def take_stock(self) -> None:
        """Puts on record what is not, after an end that was not in order."""
        try:
            await self._take_all_stock()
        finally:
            self._stocked.set()

    async def _take_all_stock(self) -> None:
        count = missed = 0
        # What was written last is on record, but maybe not with its last events.
        for group, name in await self.catalogue.incomplete():
            missed += await self._try_stock(group, name) < 0
        for folder in await asyncio.to_thread(lambda: self.folders):
            for group, name in await asyncio.to_thread(_names, folder):
                found = await self._try_stock(group, name)
                count += found > 0
                missed += found < 0
        # What an archive that is away did not let be read is looked at after the next start.
        is_known = self._archiver is None or self._archiver.is_stocked
        self.catalogue.is_whole = is_known and not missed
        if count:
            log.info("catalogue.found", count=count)

    async def _try_stock(self, group: str, name: str) -> int:
        """1 if a log is put on record that was not, -1 if it is to be looked at again."""
        try:
            return int(await self._take_stock(group, name))
        except Unavailable as error:
            log.warning("catalogue.not_read", stream=name, error=str(error))
            return -1
        except (LongshoreError, OSError, sqlite3.Error) as error:
            # It is none of ours, or cannot be read: all others are put on record.
            log.warning("catalogue.not_found", stream=name, error=str(error))
            return 0

    async def archive_stocked(self, found: int) -> None:
        """Puts on record what the archive has, if there is any that was not known."""
        self.catalogue.is_whole = self.catalogue.is_whole and not found
        if not self.catalogue.is_whole:
            await self.take_stock()

    async def _take_stock(self, group_name: str, name: str) -> bool:
        self._place(group_name, name)
        group = await self._group(group_name)
        known = await self.catalogue.stream(group, name)
        if known is not None and known.complete:
            return False
        found = await self.log(name, group_name)
        if not found.known:
            return False
        await asyncio.to_thread(found.find_times)
        is_put = group_name != AGENTS and not is_attempts(name)
        await self.catalogue.add(group, name, is_put=is_put)
        self.catalogue.note(
            group,
            name,
            found.times,
            found.stored,
            complete=found.complete,
            stored_at=found.marks.stored_at,
        )
        return known is None

    @property
    def folders(self) -> list[Path]:
        """Where the files are."""
        return sorted(path for path in self._directory.iterdir() if path.is_dir())

    async def expire(self, paths: Collection[Path]) -> int:
        """Deletes logs whose time is over; returns how many.

        Those that somebody reads, or that the archive does not let go, stay for a later pass.
        """
        free = set(paths) - {log.path for log in self._logs.values() if log.in_use}
        if self._archiver is not None:
            free = await self._archiver.delete(free)
        gone = await self.forget(free)
        await asyncio.to_thread(delete_files, gone, (*_ALL, DELETED))
        return len(gone)

    async def forget(self, paths: Collection[Path]) -> set[Path]:
        """Forgets logs whose files are about to go; returns those of which nobody reads."""
        free = set(paths)
        for key, log in list(self._logs.items()):
            if log.path in free:
                if log.in_use:
                    free.discard(log.path)
                else:
                    del self._logs[key]
        gone: dict[str, list[str]] = {}
        for path in free:
            named = name_of(path)
            if named is not None:
                gone.setdefault(named[0], []).append(named[1])
        for group, names in gone.items():
            if group in self.catalogue.groups:
                await self.catalogue.remove(self.catalogue.groups[group], names)
        return free

    def _look(self, key: tuple[str, str]) -> asyncio.Future[Log]:
        looking = self._looking.get(key)
        if looking is None:
            archive = None if self._archiver is None else self._archiver.archive
            looking = asyncio.ensure_future(asyncio.to_thread(Log, *self._place(*key), archive))
            self._looking[key] = looking
            looking.add_done_callback(lambda _: self._looking.pop(key))
        return looking

    def _forget_some(self) -> None:
        # A log that is read or written must stay the one object that all know.
        for key in list(islice(self._logs, max(0, len(self._logs) - REMEMBERED))):
            if not self._logs[key].in_use:
                del self._logs[key]

    def _place(self, group: str, name: str) -> tuple[Path, str, str, str]:
        """Where a log is, its group, its name, and both as a file has them if there is room."""
        if not name or len(name) > NAME_LENGTH:
            raise InvalidRequest(
                f"A log's name has 1 to {NAME_LENGTH} characters.", member="logStreamName"
            )
        if not GROUP.fullmatch(group):
            raise InvalidRequest(
                "A log group's name has 1 to 512 letters, digits and . - _ / #, and does not begin "
                "with aws/.",
                member="logGroupName",
            )
        whole = name
        quoted = quote(name, safe="")
        if group != JOBS:
            whole = quoted = f"{quote(group, safe='')}:{quoted}"
        digest = hashlib.sha256(whole.encode()).hexdigest()
        stem = quoted
        if len(quoted) > _QUOTED_LENGTH:
            stem = f"{quoted[: _QUOTED_LENGTH - 65]}~{digest}"
        return self._directory / digest[:2] / f"{stem}{_LOG}", group, name, quoted


def group_of(path: Path) -> str:
    """The group of the log that a file is of."""
    named = name_of(path)
    return JOBS if named is None else named[0]


def name_of(path: Path) -> tuple[str, str] | None:
    """Group and name of the log that a file is of; None if its name is cut and nothing has it."""
    stem = path.name.removesuffix(_LOG)
    if len(stem) == _QUOTED_LENGTH and stem[-65] == "~":
        try:
            stem = path.with_suffix(_NAME).read_text()
        except FileNotFoundError:
            return None
    group, colon, name = stem.rpartition(":")
    return (unquote(group) if colon else JOBS), unquote(name)


#: What a log has. The mark of its end comes last: without it half a log would look like all of it
#: that there is so far.
_ALL = (_LOG, _MARKS, _NAME, MARK, _COMPLETE)


def delete_files(paths: Collection[Path], suffixes: Sequence[str] = _ALL) -> None:
    """Deletes logs; to be called on a thread."""
    for path in paths:
        for suffix in suffixes:
            path.with_suffix(suffix).unlink(missing_ok=True)


def _names(folder: Path) -> list[tuple[str, str]]:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    # Of some the archive alone has what is stored.
    stems = {os.path.splitext(name)[0] for name in names if name.endswith((_LOG, MARK))}  # noqa: PTH122 - a name, no path
    logs = (folder / f"{stem}{_LOG}" for stem in sorted(stems))
    return [named for named in map(name_of, logs) if named is not None]


def _write(path: Path, data: bytes, offset: int, *, durable: bool) -> None:
    path.parent.mkdir(exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o640)
    try:
        view, at = memoryview(data), offset
        try:
            while view:
                written = os.pwrite(file, view, at)
                view, at = view[written:], at + written
        except OSError:
            # Of what did not fit nothing stays that another start would take for stored.
            os.ftruncate(file, offset)
            raise
        if durable:
            os.fsync(file)
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
