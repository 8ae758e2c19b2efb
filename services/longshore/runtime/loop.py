"""The shared runner of periodic work: interval, jitter, wake-ups, backoff."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable

import structlog

from longshore.backoff import Backoff
from longshore.domain.errors import Unavailable

log = structlog.get_logger()

#: Between tries of what is away: a pass that failed, or what a pass left alone.
BACKOFF_FIRST_SECONDS = 0.2
BACKOFF_LAST_SECONDS = 5.0


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
        backoff = Backoff(BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS)
        gather = self._gather
        self._event.set()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval * random.uniform(0.9, 1.1)):
                    await self._event.wait()
            if await self._stops_within(gather):
                return
            self._event.clear()
            started = time.monotonic()
            delay = 0.0
            try:
                await self._tick()
                backoff.reset()
            except (Unavailable, OSError, TimeoutError) as error:
                delay = backoff.delay()
                log.warning(
                    "loop.unavailable",
                    loop=self._name,
                    error=str(error),
                    failures=backoff.failures,
                )
            except Exception:
                delay = backoff.delay()
                log.exception("loop.failed", loop=self._name, failures=backoff.failures)
            gather = max(self._gather, min(time.monotonic() - started, self._gather_most))
            if backoff.failures:
                await self._stops_within(delay)
                self._event.set()

    async def _stops_within(self, seconds: float) -> bool:
        """Waits for so long; at once whether the runner is to return."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        return self._stopped.is_set()
