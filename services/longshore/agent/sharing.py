"""Work that several want at the same time, and that is done once for all of them."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Shared(Generic[K, V]):
    """Works by key. One belongs to all who wait for it: one that is stopped does not end it."""

    def __init__(self) -> None:
        self._going: dict[K, asyncio.Task[V]] = {}

    async def do(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """What the work that goes on under a key yields, or else this one, begun now."""
        task = self._going.get(key)
        if task is None:
            task = asyncio.create_task(work())
            self._going[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)

    def _done(self, key: K, task: asyncio.Task[V]) -> None:
        del self._going[key]
        if not task.cancelled():
            task.exception()  # Those who wait are told; when nobody waits any more it is no matter.

    async def close(self) -> None:
        """Gives up what is going on."""
        tasks = list(self._going.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
