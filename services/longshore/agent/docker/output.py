"""What a container prints: read from the engine, written to the spool.

A container is followed once it has run for a moment; one that ends sooner is read in one go at its
end, which costs the engine less. Reading goes on where the spool ends: the engine is asked for
lines from the spool's last time on, and as many of them are passed over as the spool has from that
time. That is exact because the engine tells the same lines, with the same times, in the same order.
"""

import asyncio
import contextlib
import struct
from collections.abc import Iterator
from datetime import datetime

import structlog

from longshore.agent.docker.engine import (
    Engine,
    EngineAwayError,
    EngineError,
    EngineTimeoutError,
)
from longshore.agent.spool import STDERR, STDOUT, Spool, SpoolFile

log = structlog.get_logger()

#: A container that runs longer than this is followed, in seconds.
FOLLOW_AFTER_SECONDS = 0.4
#: Time for the rest of the output after a container's end, in seconds.
REST_SECONDS = 60.0
RETRY_SECONDS = 1.0
_HEADER = struct.Struct(">BxxxI")
_STDERR = 2


class Output:
    """The output of one container."""

    def __init__(self, engine: Engine, spool: Spool, container_id: str, log_name: str) -> None:
        self._engine = engine
        self._spool = spool
        self._container_id = container_id
        self._log_name = log_name
        self._file: SpoolFile | None = None
        self._ended = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def follow_soon(self, seconds: float = FOLLOW_AFTER_SECONDS) -> None:
        """Begins to follow after a while, unless the end comes first."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    async def finish(self) -> None:
        """Takes the rest of a container that has ended, and closes the log."""
        self._ended = True
        self._cancel_timer()
        try:
            async with asyncio.timeout(REST_SECONDS):
                await (self._task or self._begin())
        except TimeoutError:
            log.warning("output.cut", container_id=self._container_id[:12])
        await self.close()

    async def close(self) -> None:
        """Stops reading; the log can be taken up again."""
        self._cancel_timer()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._let_go()

    def _let_go(self) -> None:
        """Closes the file. What the disk has no room for is read again when it is taken up."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> asyncio.Task[None]:
        self._timer = None
        self._task = asyncio.create_task(self._read_all())
        return self._task

    async def _read_all(self) -> None:
        """Reads to the end of the output, however often the engine breaks off."""
        while True:
            ended = self._ended
            try:
                if self._file is None:
                    self._file = self._spool.open(self._log_name)
                await self._read(self._file, follow=not ended)
            except EngineError as error:
                if ended or error.status == 404:
                    # The container is gone, or its log driver keeps nothing to read.
                    log.info("output.unreadable", error=error.message)
                    return
            except (EngineAwayError, EngineTimeoutError) as error:
                log.info("output.broken", error=str(error))
            except OSError as error:
                # The disk is full, most likely.
                self._let_go()
                log.warning("output.not_taken", log=self._log_name, error=str(error))
                if ended:
                    # The next attempts matter more than the rest of this one's log.
                    return
            else:
                # A stream that was begun before the end has all, since it ends with the container.
                if ended or not await self._still_running():
                    return
            await asyncio.sleep(RETRY_SECONDS)

    async def _still_running(self) -> bool:
        if self._ended:
            return False
        container = self._engine.docker.containers.container(self._container_id)
        with contextlib.suppress(EngineError, EngineAwayError, EngineTimeoutError):
            shown = await self._engine.call(container.show(), REST_SECONDS)
            return bool(shown["State"]["Running"])
        return True

    async def _read(self, file: SpoolFile, *, follow: bool) -> None:
        params = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": "1" if follow else "0"}
        since, skip = resume_point(file)
        if since:
            params["since"] = _epoch(since)
        buffer = bytearray()
        path = f"containers/{self._container_id}/logs"
        async with self._engine.stream(path, params) as body:
            async for chunk in body.iter_any():
                buffer += chunk
                for source, frame in _frames(buffer):
                    if skip:
                        skip -= 1
                    else:
                        _write(file, source, frame)
                file.flush()


def resume_point(file: SpoolFile) -> tuple[bytes, int]:
    """From which time on to ask for lines, and how many of those the spool has already.

    Pieces of a long line all carry the time of its first one, so the point lies at the beginning of
    the oldest line that is not whole yet, else at the last time.
    """
    last = b""
    open_since: dict[bytes, bytes] = {}
    for line in file.lines():
        last = max(last, line.time)
        if line.partial:
            open_since[line.source] = line.time
        else:
            open_since.pop(line.source, None)
    since = min([last, *open_since.values()])
    return since, sum(line.time >= since for line in file.lines()) if since else 0


def _frames(buffer: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """Takes the whole frames out of a buffer."""
    position = 0
    while position + _HEADER.size <= len(buffer):
        source, length = _HEADER.unpack_from(buffer, position)
        begin = position + _HEADER.size
        if begin + length > len(buffer):
            break
        yield STDERR if source == _STDERR else STDOUT, bytes(buffer[begin : begin + length])
        position = begin + length
    del buffer[:position]


def _write(file: SpoolFile, source: bytes, frame: bytes) -> None:
    time, _, text = frame.partition(b" ")
    whole = text.endswith(b"\n")
    file.write(time, source, text[:-1] if whole else text, partial=not whole)


def _epoch(time: bytes) -> str:
    """A time in RFC 3339 as the engine takes `since`: seconds and nanoseconds."""
    head, _, fraction = time.decode().rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(head + "+00:00").timestamp())
    return f"{seconds}.{fraction.ljust(9, '0')}"
