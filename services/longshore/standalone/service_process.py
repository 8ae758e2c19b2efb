"""One service as a process: started, watched, started again, stopped.

A process that is there and says nothing, stopped or caught in itself, is as good as dead: it is
ended, and started again like one that died.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import structlog

from longshore.backoff import Backoff
from longshore.domain.errors import Unavailable
from longshore.identity.material import Identity
from longshore.runtime import log_file
from longshore.standalone.health import answers, is_serving
from longshore.standalone.record import ProcessRecord

log = structlog.get_logger()

#: A log that is larger is put aside, in the place of the one before.
LOG_BYTES = 16 * 1024 * 1024
#: Of a log so much is looked at for its last lines.
LAST_BYTES = 64 * 1024
BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_LAST_SECONDS = 30.0
HEALTH_POLL_SECONDS = 0.1
#: Time between two questions whether it is still there, and how many it may leave unanswered: about
#: a minute in all. They are counted, since the time between them may be that of a sleeping laptop.
QUESTION_SECONDS = 5.0
UNANSWERED_MAX = 9
#: After so long a life the next death is a new story, restarted without a long pause.
SETTLED_SECONDS = 60.0


class ServiceProcess:
    """The process of one service."""

    def __init__(
        self,
        name: str,
        environ: Mapping[str, str],
        log_path: Path,
        changed: Callable[[], None],
    ) -> None:
        """Describes a process; nothing is started yet.

        Args:
            name: of the service.
            environ: its whole environment.
            log_path: where its output goes.
            changed: called when the process is another one.
        """
        self.name = name
        self.log_path = log_path
        self.record: ProcessRecord | None = None
        self._environ = dict(environ)
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        #: Whether this process has ever answered.
        self._heard = False
        #: Where in the log the words of this process begin.
        self._words_at = 0

    async def start(self) -> None:
        """Starts the process, in a session of its own: a terminal's interrupt is not for it."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(self._bound_log)
        with self.log_path.open("ab") as output:
            self._words_at = os.fstat(output.fileno()).st_size
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", f"longshore.{self.name}"),
                env=self._environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._heard = False
        restarts = 0 if self.record is None else self.record.restarts + 1
        self.record = ProcessRecord.of(self._process.pid, restarts)
        self._changed()

    async def ended(self) -> int:
        """Waits until the process ends; its exit code, negative for a signal."""
        assert self._process is not None  # noqa: S101 - started before
        return await self._process.wait()

    async def until_serving(self, address: str, identity: Identity | None = None) -> None:
        """Waits until this very process serves at its address; asked as `health.is_serving` does.

        Raises:
            Unavailable: it ended before; the message has its last words.
        """
        ended = asyncio.create_task(self.ended())
        try:
            while not (
                await is_serving(self.name, address, identity)
                # Another stack's service at the same address would answer as well.
                and await asyncio.to_thread(self._listens, int(address.rpartition(":")[2]))
            ):
                await asyncio.wait({ended}, timeout=HEALTH_POLL_SECONDS)
                if ended.done():
                    raise Unavailable(
                        f"The {self.name} service ended with exit code {ended.result()}; "
                        f"its log {self.log_path} ends:\n{self.last_words()}"
                    )
            self._heard = True
        finally:
            ended.cancel()

    def _listens(self, port: int) -> bool:
        """Whether it is this process that is connected to when one connects to a port."""
        assert self._process is not None  # noqa: S101 - started before
        try:
            sockets = psutil.Process(self._process.pid).net_connections("tcp")
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True  # this system does not tell
        return any(s.status == psutil.CONN_LISTEN and s.laddr.port == port for s in sockets)

    async def supervise(self, address: str, identity: Identity | None = None) -> None:
        """Starts the process again whenever it ends or answers no more, until cancelled."""
        clock = asyncio.get_running_loop().time
        backoff = Backoff(BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS)
        while True:
            began = clock()
            code = await self._ended_or_silent(address, identity)
            if clock() - began > SETTLED_SECONDS:
                backoff.reset()
            pause = backoff.delay()
            log.warning("service.died", name=self.name, code=code, restart_seconds=pause)
            await asyncio.sleep(pause)
            try:
                await self.start()
            except OSError as error:
                # The disk is full, say, or there are too many processes: others run on meanwhile.
                log.warning("service.not_restarted", name=self.name, error=str(error))
            else:
                log.info("service.restarted", name=self.name)

    async def _ended_or_silent(self, address: str, identity: Identity | None) -> int:
        """Waits for the end of the process, and ends one that answers no more; its exit code.

        How long one may take until it answers at all is not for this to say.
        """
        assert self._process is not None  # noqa: S101 - started before
        ended = asyncio.create_task(self.ended())
        unanswered = 0
        try:
            while not ended.done():
                await asyncio.wait({ended}, timeout=QUESTION_SECONDS)
                await asyncio.to_thread(self._bound_log)
                if await answers(self.name, address, identity):
                    self._heard, unanswered = True, 0
                elif self._heard:
                    unanswered += 1
                if unanswered > UNANSWERED_MAX and not ended.done():
                    log.warning("service.silent", name=self.name, unanswered=unanswered)
                    with contextlib.suppress(ProcessLookupError):
                        self._process.kill()
                    await ended
            return ended.result()
        finally:
            ended.cancel()

    async def stop(self, grace_seconds: float, number: signal.Signals = signal.SIGTERM) -> None:
        """A signal, and SIGKILL if the process has not ended after the grace period."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            async with asyncio.timeout(grace_seconds):
                await process.wait()
        except TimeoutError:
            log.warning("service.killed", name=self.name, grace_seconds=grace_seconds)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            await process.wait()

    def _bound_log(self) -> None:
        """Puts aside a log that has grown large, under the process that writes on at its end."""
        try:
            log_file.bound(self.log_path, LOG_BYTES)
        except OSError as error:
            log.warning("log.not_put_aside", name=self.name, error=str(error))

    def last_words(self, lines: int = 5) -> str:
        """The end of its log, nothing of an earlier process."""
        try:
            with self.log_path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                begin = self._words_at if self._words_at <= size else 0  # it was put aside
                file.seek(max(begin, size - LAST_BYTES))
                text = file.read(LAST_BYTES).decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])
