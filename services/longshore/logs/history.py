"""Deletes the logs of jobs that have left.

This service knows no jobs, so the age of a log decides, from its last line or its end on. A job
leaves with the week in which it ended: its log is kept a week longer than jobs are, and so is there
for as long as the job is. Of an array, whose children go when it does, the logs of children that
ended long before their last sibling may go earlier.
"""

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path

import structlog

from longshore.logs.archive import MARK
from longshore.logs.store import LogStore

log = structlog.get_logger()

#: For how much longer than jobs their logs are kept.
LONGER = timedelta(days=7)


class LogHistory:
    """Keeps logs for a time."""

    def __init__(self, store: LogStore, kept: timedelta) -> None:
        """Makes a keeper.

        Args:
            store: the logs.
            kept: for how long finished jobs are kept.
        """
        self._store = store
        self._kept = kept + LONGER

    async def tick(self) -> None:
        """Deletes what is due, a folder at a time; a log that is read stays until the next pass."""
        before = time.time() - self._kept.total_seconds()
        count = 0
        for folder in await asyncio.to_thread(lambda: self._store.folders):
            old = await asyncio.to_thread(_old, folder, before)
            count += await self._store.delete_files(self._store.forget(old))
        if count:
            log.info("history.forgotten", what="logs", count=count)


def _old(folder: Path, before: float) -> list[Path]:
    """Logs of a folder that were last written before a time."""
    with os.scandir(folder) as entries:
        times = {entry.name: entry.stat().st_mtime for entry in entries}
    # Of one whose file has gone the mark of the archive has its time.
    last: dict[str, float] = {}
    for name, at in times.items():
        stem, _, suffix = name.rpartition(".")
        if suffix in ("log", "archived", "complete"):
            last[stem] = max(at, last.get(stem, at))
    stored = (stem for stem in last if f"{stem}.log" in times or f"{stem}{MARK}" in times)
    return [folder / f"{stem}.log" for stem in stored if last[stem] < before]
