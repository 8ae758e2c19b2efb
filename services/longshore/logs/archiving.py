"""Brings complete logs into the store, and lets copies go that there is no room for.

Nothing waits for it: while the store is away logs are stored and read as without one, and the disk
holds whatever is not uploaded yet. What failed is tried again after growing pauses, and once more
after a restart, since the marks tell what is still to do.
"""

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import NamedTuple

import structlog
from prometheus_client import Counter, Gauge

from longshore.backoff import Backoff
from longshore.domain.errors import LongshoreError
from longshore.logs.archive import MARK, LogArchive, archived_size

log = structlog.get_logger()

#: Uploads at one time, and of logs that are large; each holds the log or a part in memory.
CONCURRENT = 10
CONCURRENT_LARGE = 2
LARGE_BYTES = 1024 * 1024
#: Logs after whose uploads copies go.
AT_ONCE = 100
#: Copies that are kept at most, whatever their size.
COPIES_MOST = 100_000
PAUSE_FIRST_SECONDS = 1.0
PAUSE_LAST_SECONDS = 300.0

WAITING = Gauge("longshore_logs_archive_waiting", "Complete logs that are not in the store yet.")
UPLOADED = Counter("longshore_logs_archived_total", "Logs brought into the store.")
FAILED = Counter("longshore_logs_archive_failed_total", "Uploads that failed, to be tried again.")
COPIES = Gauge("longshore_logs_copies_bytes", "Bytes of logs on the disk that the store has, too.")


class ArchiveStock(NamedTuple):
    """What is on the disk."""

    #: Complete logs that are not in the store.
    waiting: list[Path]
    #: Copies with their sizes, those that were written first before the others.
    copies: list[tuple[Path, int]]


class Archiver:
    """Uploads and lets go, one pass after the other."""

    def __init__(self, archive: LogArchive, directory: Path, cache_bytes: int) -> None:
        """Makes one that knows of nothing yet.

        Args:
            archive: the store.
            directory: where the files are.
            cache_bytes: most bytes of copies on the disk.
        """
        self.archive = archive
        self._directory = directory
        self._cache_bytes = cache_bytes
        self._waiting: OrderedDict[Path, None] = OrderedDict()
        self._copies: OrderedDict[Path, int] = OrderedDict()
        self._copied = 0
        #: Uploads under way: set when they are over.
        self._going: dict[Path, asyncio.Event] = {}
        self._arrived = asyncio.Event()
        #: Whether disk and store were looked through.
        self.is_stocked = False
        self._restored = 0
        #: Whether the store took anything in the last pass.
        self._gets_on = False

    def take(self, path: Path) -> None:
        """Takes a log that is complete now."""
        self._waiting[path] = None
        self._arrived.set()

    async def run(self, stocked: Callable[[int], Awaitable[object]]) -> None:
        """Works until cancelled.

        Args:
            stocked: called beside all else once the store was looked through, with the number of
                logs there that were not known here.
        """
        backoff = Backoff(PAUSE_FIRST_SECONDS, PAUSE_LAST_SECONDS)
        while not self.is_stocked:
            if not await self._take_stock():
                await asyncio.sleep(backoff.delay())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._upload_all())
            await stocked(self._restored)

    async def _upload_all(self) -> None:
        backoff = Backoff(PAUSE_FIRST_SECONDS, PAUSE_LAST_SECONDS)
        while True:
            if await self.tick():
                backoff.reset()
                await self._arrived.wait()
            elif self._gets_on:
                # What comes now does not wait for what fails.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(backoff.delay()):
                        await self._arrived.wait()
            else:
                await asyncio.sleep(backoff.delay())

    async def tick(self) -> bool:
        """One pass; returns whether all is done."""
        self._gets_on = False
        if not self.is_stocked and not await self._take_stock():
            return False
        self._arrived.clear()
        WAITING.set(len(self._waiting))
        room, large = asyncio.Semaphore(CONCURRENT), asyncio.Semaphore(CONCURRENT_LARGE)

        async def upload(path: Path) -> bool:
            async with large if await asyncio.to_thread(_is_large, path) else room:
                return await self._upload(path)

        done = True
        # In parts, so that copies go while many are uploaded.
        for some in _parts(list(self._waiting), AT_ONCE):
            results = await asyncio.gather(*map(upload, some))
            WAITING.set(len(self._waiting))
            await self._let_go()
            if not any(results):
                return False
            self._gets_on = True
            done = done and all(results)
        return done

    async def _take_stock(self) -> bool:
        """Looks through disk and store once."""
        try:
            self._restored = await self.archive.restore()
        except (LongshoreError, OSError) as error:
            log.warning("archive.away", error=str(error))
            return False
        stock = await asyncio.to_thread(take_stock, self._directory)
        for path in stock.waiting:
            self._waiting.setdefault(path)
        for path, size in stock.copies:
            self._add_copy(path, size)
        self.is_stocked = True
        log.info("archive.stocked", restored=self._restored, waiting=len(self._waiting))
        await self._let_go()
        return True

    async def _upload(self, path: Path) -> bool:
        """Brings a log into the store; returns whether nothing is left to do for it."""
        if path not in self._waiting:
            return True  # deleted before it was its turn
        over = self._going[path] = asyncio.Event()
        try:
            if await asyncio.to_thread(_is_due, path):
                self._add_copy(path, await self.archive.upload(path))
                UPLOADED.inc()
        except FileNotFoundError:
            log.info("archive.gone", stream=path.stem)
        except (LongshoreError, OSError) as error:
            FAILED.inc()
            log.warning("archive.not_uploaded", stream=path.stem, error=str(error))
            # Others are not to wait for what may fail for ever.
            self._waiting.move_to_end(path)
            return False
        finally:
            del self._going[path]
            over.set()
        self._waiting.pop(path, None)
        return True

    def _add_copy(self, path: Path, size: int) -> None:
        self._copied += size - self._copies.pop(path, 0)
        self._copies[path] = size
        COPIES.set(self._copied)

    async def _let_go(self) -> None:
        """Deletes the first copies until the rest has room; their logs are read from the store."""
        gone = []
        while self._copies and (
            self._copied > self._cache_bytes or len(self._copies) > COPIES_MOST
        ):
            path, size = self._copies.popitem(last=False)
            self._copied -= size
            gone.append(path)
        if gone:
            await asyncio.to_thread(_delete, gone)
            COPIES.set(self._copied)
            log.info("archive.let_go", count=len(gone))

    async def delete(self, paths: Collection[Path]) -> set[Path]:
        """Deletes logs from the store that are about to go; returns those that may go now.

        Those that the store does not let go stay, for a later pass.
        """
        for path in paths:
            # What is under way would come after the deletion.
            if (over := self._going.get(path)) is not None:
                await over.wait()
            self._waiting.pop(path, None)
        there = await asyncio.to_thread(
            lambda: {path for path in paths if path.with_suffix(MARK).exists()}
        )
        try:
            await self.archive.delete(there)
        except LongshoreError as error:
            log.warning("archive.not_deleted", count=len(there), error=str(error))
            return set(paths) - there
        for path in paths:
            self._copied -= self._copies.pop(path, 0)
        return set(paths)


def take_stock(directory: Path) -> ArchiveStock:
    """Looks through a directory of logs; to be called on a thread."""
    waiting: list[tuple[float, Path]] = []
    copies: list[tuple[float, Path, int]] = []
    for folder in sorted(path for path in directory.iterdir() if path.is_dir()):
        with os.scandir(folder) as entries:
            stats = {entry.name: entry.stat() for entry in entries}
        for name, stat in stats.items():
            stem = name.removesuffix(".log")
            if stem == name or f"{stem}.complete" not in stats:
                continue
            if f"{stem}{MARK}" in stats:
                copies.append((stat.st_mtime, folder / name, stat.st_size))
            else:
                waiting.append((stat.st_mtime, folder / name))
    return ArchiveStock(
        [path for _, path in sorted(waiting)], [(path, size) for _, path, size in sorted(copies)]
    )


def _is_large(path: Path) -> bool:
    return path.exists() and path.stat().st_size > LARGE_BYTES


def _is_due(path: Path) -> bool:
    """Whether a log is complete and not in the store."""
    return path.with_suffix(".complete").exists() and archived_size(path) < 0


def _parts(paths: list[Path], size: int) -> list[list[Path]]:
    return [paths[begin : begin + size] for begin in range(0, len(paths), size)]


def _delete(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
