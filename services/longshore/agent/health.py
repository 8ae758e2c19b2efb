"""Whether this instance can start attempts: who could not wait here together until it can."""

import asyncio

import structlog

from longshore.agent.runtime import Runtime

log = structlog.get_logger()

#: Seconds between two looks at a runtime that is away: at first, and at most.
LOOK_FIRST_SECONDS = 0.5
LOOK_LAST_SECONDS = 5.0


class Health:
    """What keeps attempts from starting, whatever their jobs are."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._suspected = asyncio.Event()
        self._fit = asyncio.Event()
        self._fit.set()

    def suspect(self) -> None:
        """The runtime did not answer: nothing starts until it does."""
        self._fit.clear()
        self._suspected.set()

    async def fit(self) -> None:
        """Waits until attempts can start."""
        await self._fit.wait()

    async def run(self) -> None:
        """Looks after a suspected runtime until it answers, until cancelled."""
        while True:
            await self._suspected.wait()
            await self._until_there()
            self._suspected.clear()
            self._fit.set()

    async def _until_there(self) -> None:
        away, delay = False, LOOK_FIRST_SECONDS
        while not await self._runtime.answers():
            if not away:
                away = True
                log.warning("runtime.away")
            await asyncio.sleep(delay)
            delay = min(2 * delay, LOOK_LAST_SECONDS)
        if away:
            log.info("runtime.back")
        else:
            # It broke off and answers: whoever tries again is not to do so without a pause.
            await asyncio.sleep(LOOK_FIRST_SECONDS)
