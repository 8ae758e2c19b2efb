"""What a container prints: read from the engine, written to the spool.

A container is followed once it has run for a moment, so that its output can be seen while it runs.
Engines end a followed stream before the output is over, and do not say so: whatever was followed,
the rest is read in one go when the container has ended, from where the spool ends. One that ends
sooner is read in one go alone, which costs the engine less.
"""

import asyncio
import contextlib
from datetime import datetime

import structlog

from longshore.agent.docker.engine import (
    Engine,
    EngineAwayError,
    EngineError,
    EngineTimeoutError,
)
from longshore.agent.docker.intake import Bounds, Intake, Missing
from longshore.agent.logs.spool import Spool, SpoolFile

log = structlog.get_logger()

#: A container that runs longer than this is followed, in seconds.
FOLLOW_AFTER_SECONDS = 0.4
#: How long the engine may be silent, or the disk full, after a container's end, in seconds.
REST_SECONDS = 60.0
RETRY_SECONDS = 1.0
#: What the engine says of a log driver whose output cannot be read.
_NOT_READABLE = "does not support reading"


class Output:
    """The output of one container."""

    def __init__(
        self, engine: Engine, spool: Spool, container_id: str, log_name: str, bounds: Bounds
    ) -> None:
        self._engine = engine
        self._spool = spool
        self._container_id = container_id
        self._log_name = log_name
        self._bounds = bounds
        self._opening: asyncio.Future[tuple[SpoolFile, Intake]] | None = None
        self._missing = Missing()
        #: Bytes of the engine's answers, to see that it gets on.
        self._taken = 0
        self._whole = True
        self._timer: asyncio.TimerHandle | None = None
        self._following: asyncio.Task[None] | None = None
        self._finishing: asyncio.Task[None] | None = None

    @property
    def followed(self) -> bool:
        """Whether the container ran for long enough."""
        return self._following is not None

    @property
    def lost(self) -> str:
        """What is known to be missing in the log, in words; empty if nothing is."""
        if not self._whole:
            return "the rest of the output could not be kept"
        if self._missing.left_out:
            return f"{self._missing.left_out} bytes of the output are left out of the log"
        return "output is missing that the engine had dropped" if self._missing else ""

    def follow_soon(self, seconds: float = FOLLOW_AFTER_SECONDS) -> None:
        """Begins to follow after a while, unless the end comes first."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    async def finish(self) -> None:
        """Takes the rest of a container that has ended, and closes the log."""
        await asyncio.shield(self._finish_task())

    async def finish_within(self, seconds: float) -> None:
        """Begins to finish and gives that some time; it goes on afterwards."""
        await asyncio.wait({self._finish_task()}, timeout=seconds)

    async def close(self) -> None:
        """Stops reading; the log can be taken up again."""
        if self._finishing is not None:
            self._finishing.cancel()
            await asyncio.gather(self._finishing, return_exceptions=True)
        await self._stop_following()
        await self._let_go()

    def _begin(self) -> None:
        self._timer = None
        self._following = asyncio.create_task(self._follow())

    def _finish_task(self) -> asyncio.Task[None]:
        failed = self._finishing and self._finishing.done() and self._finishing.exception()
        if self._finishing is None or failed:
            self._finishing = asyncio.create_task(self._finish())
        return self._finishing

    async def _stop_following(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def _finish(self) -> None:
        await self._stop_following()
        self._whole = await self._take_rest()
        await self._let_go()
        if self.lost:
            log.warning("output.lost", log=self._log_name, why=self.lost)
        self._spool.finish(self._log_name, whole=self._whole)

    async def _follow(self) -> None:
        """Reads while the container runs, however often the engine breaks off."""
        while True:
            try:
                file, intake = await self._opened()
                if intake.satisfied:
                    return
                await self._read(file, intake, follow=True)
            except EngineError as error:
                log.info("output.unreadable", error=error.message)
                if error.status == 404 or _NOT_READABLE in error.message:
                    return
            except (EngineAwayError, EngineTimeoutError) as error:
                log.info("output.broken", error=str(error))
            except OSError as error:
                await self._let_go()
                log.warning("output.not_taken", log=self._log_name, error=str(error))
            else:
                # Ended or not, the rest is read when the end is known.
                if not await self._still_running():
                    return
            await asyncio.sleep(RETRY_SECONDS)

    async def _take_rest(self) -> bool:
        """Reads all that is left; returns whether it could be had."""
        clock = asyncio.get_running_loop().time
        patience_ends = clock() + REST_SECONDS
        while True:
            taken = self._taken
            try:
                file, intake = await self._opened()
                await self._read(file, intake, follow=False)
                intake.end()
                self._flush(file)
            except EngineError as error:
                log.info("output.unreadable", error=error.message)
                if _NOT_READABLE in error.message:
                    # The user's choice: the driver has the output, and we never had any of it.
                    return True
                if error.status == 404:
                    return False
            except (EngineAwayError, EngineTimeoutError) as error:
                log.info("output.broken", error=str(error))
            except OSError as error:
                # The disk is full, most likely.
                await self._let_go()
                log.warning("output.not_taken", log=self._log_name, error=str(error))
            else:
                return True
            if self._taken > taken:
                patience_ends = clock() + REST_SECONDS
            if clock() >= patience_ends:
                # The next attempts matter more than the rest of this one's log.
                return False
            await asyncio.sleep(RETRY_SECONDS)

    async def _still_running(self) -> bool:
        container = self._engine.docker.containers.container(self._container_id)
        with contextlib.suppress(EngineError, EngineAwayError, EngineTimeoutError):
            shown = await self._engine.call(container.show(), REST_SECONDS)
            return bool(shown["State"]["Running"])
        return True

    async def _opened(self) -> tuple[SpoolFile, Intake]:
        """The log, taken up where it ends."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(asyncio.to_thread(self._open))
        return await asyncio.shield(self._opening)

    def _open(self) -> tuple[SpoolFile, Intake]:
        file = self._spool.open(self._log_name)
        try:
            return file, Intake(file, self._bounds, self._missing)
        except BaseException:
            file.close()
            raise

    def _flush(self, file: SpoolFile) -> None:
        if file.flush():
            self._spool.touch(self._log_name)

    async def _let_go(self) -> None:
        """Closes the file. What the disk has no room for is read again when it is taken up."""
        opening, self._opening = self._opening, None
        if opening is not None:
            with contextlib.suppress(OSError):
                file, _ = await opening
                file.close()

    async def _read(self, file: SpoolFile, intake: Intake, *, follow: bool) -> None:
        params = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": "1" if follow else "0"}
        if since := intake.begin():
            params["since"] = _epoch(since)
        clock = asyncio.get_running_loop().time
        buffer = bytearray()
        path = f"containers/{self._container_id}/logs"
        try:
            async with asyncio.timeout(None if follow else REST_SECONDS) as silence:
                async with self._engine.stream(path, params) as body:
                    async for chunk in body.iter_any():
                        buffer += chunk
                        intake.take(buffer)
                        self._flush(file)
                        self._taken += len(chunk)
                        if follow and intake.satisfied:
                            return
                        if not follow:
                            silence.reschedule(clock() + REST_SECONDS)
        except TimeoutError as error:
            raise EngineTimeoutError(REST_SECONDS) from error
        if buffer:
            raise EngineAwayError("The Docker engine broke off within a line")


def _epoch(time: bytes) -> str:
    """A time in RFC 3339 as the engine takes `since`: seconds and nanoseconds."""
    head, _, fraction = time.decode().rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(head + "+00:00").timestamp())
    return f"{seconds}.{fraction.ljust(9, '0')}"
