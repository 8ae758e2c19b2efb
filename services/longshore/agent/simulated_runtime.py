"""The simulated runtime: nothing runs, time passes. For measuring and for simulation."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from longshore.agent.attempts.attempt import Attempt, AttemptKey, Exit, now
from longshore.agent.runtime import Found, Joined
from longshore.v1 import resources_pb2

STOPPED = 143
#: Address of what nobody reaches, and nobody tries to (RFC 5737).
NOWHERE = "192.0.2.1"


class SimulatedRuntime:
    """Attempts last as long as their assignment says and end with 0, or with 143 when stopped."""

    kind = resources_pb2.RUNTIME_SIMULATED

    def __init__(self) -> None:
        self._stopped: dict[AttemptKey, asyncio.Event] = {}

    async def answers(self) -> bool:
        """Always."""
        return True

    def joined(self) -> Joined:
        """There are no containers."""
        return Joined()

    async def trial(self) -> None:
        """It would start."""

    async def room(self) -> tuple[str, int] | None:
        """Nothing is written."""
        return None

    async def find(self) -> dict[AttemptKey, Found]:
        """Nothing: what is simulated ends with the agent."""
        return {}

    def adopt(self, attempt: Attempt) -> None:
        """Nothing to take up."""

    def prepared(self, attempt: Attempt) -> bool:  # noqa: ARG002 - they are all alike
        """Always."""
        return True

    async def prepare(self, attempt: Attempt) -> None:
        """Images are not looked at."""

    async def started(self, attempt: Attempt) -> datetime | None:  # noqa: ARG002
        """Nothing is ever found."""
        return None

    async def launch(self, attempt: Attempt) -> datetime:
        """Begins now."""
        if attempt.is_node:
            attempt.address = NOWHERE
        return now()

    async def wait(self, attempt: Attempt) -> Exit:
        """Lasts as long as the assignment says."""
        seconds = attempt.assignment.simulated_duration.ToTimedelta().total_seconds()
        if seconds <= 0:
            return Exit(0, now())
        stopped = self._stopped.setdefault(attempt.key, asyncio.Event())
        try:
            async with asyncio.timeout(seconds):
                await stopped.wait()
        except TimeoutError:
            return Exit(0, now())
        finally:
            del self._stopped[attempt.key]
        return Exit(STOPPED, now())

    async def stop(self, attempt: Attempt) -> None:
        """Ends at once."""
        if (stopped := self._stopped.get(attempt.key)) is not None:
            stopped.set()

    async def collect(self, attempt: Attempt) -> None:
        """Nothing is printed, and no log is made."""

    async def remove(self, attempt: Attempt) -> None:
        """Nothing is left behind."""

    async def discard(self, key: AttemptKey, found: Found) -> None:
        """Nothing is ever found."""

    async def run(self, suspect: Callable[[], object]) -> None:
        """Nothing goes on in the background."""

    async def close(self, *, last: bool) -> None:
        """Nothing is held."""
