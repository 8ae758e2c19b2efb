"""Deletes the logs of jobs that have left.

This service knows no jobs, so the age of a log decides, from its last line or its end on. A job
leaves with the week in which it ended: its log is kept a week longer than jobs are, and so is there
for as long as the job is. Of an array, whose children go when it does, the logs of children that
ended long before their last sibling may go earlier. Logs of a group with a retention of its own are
kept for that many days instead.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import structlog

from longshore.logs.archive import MARK
from longshore.logs.store import DELETED, LogStore, group_of

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
        now, before = time.time(), {}
        for group in self._store.catalogue.groups.values():
            if group.retention_days is not None:
                kept = timedelta(days=group.retention_days)
                before[group.name] = now - kept.total_seconds()
        others = now - self._kept.total_seconds()
        count = 0
        for folder in await asyncio.to_thread(lambda: self._store.folders):
            old = await asyncio.to_thread(_old, folder, before, others)
            count += await self._store.expire(old)
        if count:
            log.info("history.forgotten", what="logs", count=count)


def _old(folder: Path, before: Mapping[str, float], others: float) -> list[Path]:
    """Logs of a folder that were last written before a time, which their group may have."""
    with os.scandir(folder) as entries:
        times = {entry.name: entry.stat().st_mtime for entry in entries}
    # Of one whose file has gone the archive's mark has its time.
    last: dict[str, float] = {}
    for name, at in times.items():
        stem, _, suffix = name.rpartition(".")
        if suffix in ("log", "complete", "archived", "deleted"):
            last[stem] = max(at, last.get(stem, at))
    soonest = max([others, *before.values()])
    return [
        folder / f"{stem}.log"
        for stem, at in last.items()
        if at < soonest
        and any(f"{stem}{suffix}" in times for suffix in (".log", MARK, DELETED))
        and at < before.get(group_of(folder / f"{stem}.log"), others)
    ]
