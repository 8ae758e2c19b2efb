"""`logs --array`: what the children of an array printed, each in a file of its own.

A file has its name once it is complete, and `.part` after it until then: whoever runs the command
again gets what is missing, and nothing twice.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from longshore.v1 import job_pb2
from longshore_cli import console, streams
from longshore_client import Client, InvalidRequest, LongshoreError, NotFound, Timeout, Unavailable
from longshore_client.jobs import DESCRIBE_MAXIMUM

#: Logs that are read at one time.
PARALLEL = 16
#: Between two remarks on how far it is.
REMARK_SECONDS = 2.0


@dataclass
class SavedLogs:
    """What became of the logs of an array's children."""

    #: Children that were looked at; of all, or of those with the statuses asked for.
    children: int = 0
    #: Logs that were complete before.
    present: int = 0
    #: Logs that are complete now.
    saved: int = 0
    #: Ids of children whose logs are not: they are not over, or the rest has not arrived.
    incomplete: list[str] = field(default_factory=list)


async def save(client: Client, job_id: str, folder: Path, statuses: Sequence[str]) -> SavedLogs:
    """Saves the logs of an array's children.

    Args:
        client: of the services.
        job_id: the array job.
        folder: made if it is not there.
        statuses: only children with one of them; empty: all.

    Raises:
        NotFound: no such job.
        InvalidRequest: it is no array job.
    """
    parent = await client.describe_job(job_id)
    size = parent.array_properties.size
    if not size or parent.array_properties.HasField("index"):
        raise InvalidRequest(f"{job_id} has no children: leave --array out.")
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    run = _Run(client, folder, len(str(size - 1)))
    batch: list[str] = []
    async for child in _children(client, job_id, size, statuses):
        run.told.children += 1
        run.remark()
        if run.path(child).exists():
            run.told.present += 1
        else:
            batch.append(child)
        if len(batch) == DESCRIBE_MAXIMUM:
            await run.save(batch)
            batch = []
    await run.save(batch)
    return run.told


async def _children(
    client: Client, job_id: str, size: int, statuses: Sequence[str]
) -> AsyncIterator[str]:
    """Ids of children, each once, although they may change their status meanwhile."""
    if not statuses:
        for index in range(size):
            yield f"{job_id}:{index}"
        return
    seen = set()
    for status in statuses:
        async for child in client.list_jobs(array_job=job_id, status=status):
            if child.job_id not in seen:
                seen.add(child.job_id)
                yield child.job_id


class _Run:
    """One pass over the children."""

    def __init__(self, client: Client, folder: Path, digits: int) -> None:
        self._client = client
        self._folder = folder
        self._digits = digits
        self._room = asyncio.Semaphore(PARALLEL)
        self._remarked_at = time.monotonic()
        self.told = SavedLogs()

    def path(self, child: str) -> Path:
        """The file of a child: its array's id and its index, all of one length."""
        array, _, index = child.partition(":")
        return self._folder / f"{array}-{index.zfill(self._digits)}.log"

    async def save(self, children: Sequence[str]) -> None:
        """Saves the logs of some children, so many at a time."""
        jobs = await self._client.describe_jobs(children)
        gone = set(children) - {job.job_id for job in jobs}
        if gone:
            raise NotFound(f"There is no job {min(gone)} any more.")
        tasks = [asyncio.create_task(self._save_one(job)) for job in jobs]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _save_one(self, job: job_pb2.JobDetail) -> None:
        async with self._room:
            path = self.path(job.job_id)
            part = path.with_suffix(".log.part")
            file = await asyncio.to_thread(part.open, "wb")

            async def write(piece: bytes) -> None:
                with streams.naming(part):
                    await asyncio.to_thread(file.write, piece)

            try:
                whole = await self._client.copy_logs(job, write)
            except (Unavailable, Timeout):
                raise
            except LongshoreError as error:
                console.fail(f"{job.job_id}: {error.message}")
                whole = False
            finally:
                with streams.naming(part):
                    await asyncio.to_thread(file.close)
            if whole:
                await asyncio.to_thread(part.rename, path)
                self.told.saved += 1
            else:
                self.told.incomplete.append(job.job_id)
        self.remark()

    def remark(self) -> None:
        """Says how far it is, from time to time."""
        now = time.monotonic()
        if now - self._remarked_at >= REMARK_SECONDS:
            self._remarked_at = now
            told = self.told
            console.say(
                f"{told.children} children looked at, {told.present + told.saved} logs complete"
            )


def sentences(told: SavedLogs, folder: Path) -> list[str]:
    """What is said at the end."""
    done = f"{told.saved} logs saved to {folder}, {told.present} of {told.children} were there."
    if not told.incomplete:
        return [done]
    some = ", ".join(told.incomplete[:3])
    rest = (
        f"{len(told.incomplete)} are not complete and have .part after their names, as that of "
        f"{some}: the job is not over, or the rest has not arrived. Run this again for them."
    )
    return [done, rest]
