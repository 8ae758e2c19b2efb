"""The shared runner of periodic work: interval, jitter, wake-ups, backoff."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable

import structlog

from longshore.domain.errors import Unavailable

log = structlog.get_logger()

BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_LAST_SECONDS = 5.0


def backoff(failures: int) -> float:
    """Most seconds to wait after so many failures in a row."""
    return min(BACKOFF_LAST_SECONDS, BACKOFF_FIRST_SECONDS * 2.0 ** min(failures, 10))


class Loop:
    """Calls `tick` whenever woken, and at the latest every interval.

    Wake-ups that come during a tick fold into one further tick. A tick that raises is logged and
    tried again with growing, jittered delays; `Unavailable` is expected weather and logged without
    a traceback.
    """

    def __init__(
        self,
        name: str,
        tick: Callable[[], Awaitable[object]],
        interval: float,
        *,
        gather: float = 0.0,
        gather_most: float = 0.0,
    ) -> None:
        """Makes a loop that has not begun.

        Args:
            name: for logs.
            tick: one pass.
            interval: seconds from the end of a pass to the next one when nothing wakes it.
            gather: seconds to wait after a wake-up so that more changes fold into the pass.
            gather_most: gather for as long as the pass before took, up to so many seconds: under
                load passes become fewer and larger instead of taking all of the processor.
        """
        self._name = name
        self._tick = tick
        self._interval = interval
        self._gather = gather
        self._gather_most = gather_most
        self._event = asyncio.Event()
        self._stopped = asyncio.Event()

    def wake(self) -> None:
        """Asks for a pass soon."""
        self._event.set()

    def stop(self) -> None:
        """Asks the runner to return after the pass under way."""
        self._stopped.set()
        self._event.set()

    async def run(self) -> None:
        """Runs passes until stopped or cancelled."""
        failures = 0
        gather = self._gather
        self._event.set()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval * random.uniform(0.9, 1.1)):
                    await self._event.wait()
            if self._stopped.is_set():
                return
            if gather:
                await asyncio.sleep(gather)
            self._event.clear()
            started = time.monotonic()
            try:
                await self._tick()
                failures = 0
            except (Unavailable, OSError, TimeoutError) as error:
                failures += 1
                log.warning(
                    "loop.unavailable", loop=self._name, error=str(error), failures=failures
                )
            except Exception:
                failures += 1
                log.exception("loop.failed", loop=self._name, failures=failures)
            gather = max(self._gather, min(time.monotonic() - started, self._gather_most))
            if failures:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(backoff(failures) * random.uniform(0.5, 1.0)):
                        await self._stopped.wait()
                self._event.set()
