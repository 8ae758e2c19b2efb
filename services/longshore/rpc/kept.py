"""What was found out, kept for a short time and within bounds."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

#: How long what was found is believed.
KEPT_SECONDS = 10.0
#: What is kept of what there is, and of what there is not.
KEPT = 10_000
MISSING_KEPT = 1_000


class Kept(Generic[Key, Value]):
    """Finds things by their keys, and asks for each only once in a while.

    What is not there has room of its own: whoever asks for much that is not there pushes nothing
    out that is.
    """

    def __init__(
        self,
        resolve: Callable[[Key], Awaitable[Value | None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keeps what `resolve` finds."""
        self._resolve = resolve
        self._clock = clock
        self._kept: OrderedDict[Key, tuple[Value, float]] = OrderedDict()
        self._missing: OrderedDict[Key, float] = OrderedDict()
        self._asked: dict[Key, asyncio.Task[Value | None]] = {}
        #: Counts what was forgotten: an answer that was on its way then is not kept.
        self._era = 0

    def forget(self) -> None:
        """Forgets everything: something of it has changed."""
        self._era += 1
        self._kept.clear()
        self._missing.clear()
        self._asked.clear()

    async def find(self, key: Key) -> Value | None:
        """What is there under a key; None for nothing. It raises what asking raises."""
        now = self._clock()
        kept = self._kept.get(key)
        if kept is not None and now - kept[1] < KEPT_SECONDS:
            self._kept.move_to_end(key)
            return kept[0]
        missed = self._missing.get(key)
        if missed is not None and now - missed < KEPT_SECONDS:
            return None
        # Calls that come together ask once.
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = asyncio.ensure_future(self._ask(key))
            asked.add_done_callback(_seen)
        return await asyncio.shield(asked)

    async def _ask(self, key: Key) -> Value | None:
        era, now = self._era, self._clock()
        try:
            found = await self._resolve(key)
        finally:
            if era == self._era:
                self._asked.pop(key, None)
        if era == self._era:
            if found is None:
                self._missing[key] = now
                while len(self._missing) > MISSING_KEPT:
                    self._missing.popitem(last=False)
            else:
                self._kept[key] = found, now
                self._kept.move_to_end(key)
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return found


def _seen(task: asyncio.Task[object]) -> None:
    """Looks at how asking ended, even where nobody waits for it any more."""
    if not task.cancelled():
        task.exception()
