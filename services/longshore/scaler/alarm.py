"""The one time at which something is due before the next interval is over."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

#: A time that is over does not keep the processor busy.
LEAST_SECONDS = 0.05


class Alarm:
    """Calls functions when a time has come; a new time takes the place of the one before."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None

    def rings(self, listener: Callable[[], None]) -> None:
        """Calls this one, too, from now on."""
        self._listeners.append(listener)

    def set(self, times: Iterable[datetime | None]) -> None:
        """Rings at the first of these times, soon if it is over; never if there is none."""
        self.stop()
        first = min((at for at in times if at is not None), default=None)
        if first is not None:
            delay = max((first - datetime.now(UTC)).total_seconds(), LEAST_SECONDS)
            self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        for listener in self._listeners:
            listener()

    def stop(self) -> None:
        """Does not ring any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
