"""Calls that arrive together share a transaction.

What arrives while one batch is being written makes up the next one. A lone call is written at once;
under load the batches grow by themselves, up to a bound, and the cost of a commit is shared among
them.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from longshore.domain.errors import Unavailable

T = TypeVar("T")
R = TypeVar("R")

BATCH_MAX = 500
WAITING_MAX = 10_000


class Batcher(Generic[T, R]):
    """Gathers items and hands them to `write`, one batch at a time.

    `write` answers with a result or an exception for each item, in order, or raises for all of
    them. Run it as a task of its own with `run`; calls made when it is not running wait until it
    is.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        weigh: Callable[[T], int] = lambda _: 1,
    ) -> None:
        """Makes a batcher.

        Args:
            write: writes a batch.
            weigh: for how many items one counts in the bound of a batch.
        """
        self._write = write
        self._weigh = weigh
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._arrived = asyncio.Event()

    async def submit(self, item: T) -> R:
        """Adds an item to the next batch and returns its result.

        Raises:
            Unavailable: too many are waiting already.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise Unavailable("Too many calls are waiting for the database; try again later.")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._arrived.set()
        return await future

    async def run(self) -> None:
        """Writes batches until cancelled; the calls that still wait then are refused."""
        try:
            while True:
                await self._arrived.wait()
                batch = self._take()
                if batch:
                    await self._process(batch)
        finally:
            self._refuse(self._waiting)

    def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        batch: list[tuple[T, asyncio.Future[R]]] = []
        weight = 0
        while self._waiting and weight < BATCH_MAX:
            entry = self._waiting.popleft()
            if not entry[1].done():  # its caller has gone
                batch.append(entry)
                weight += self._weigh(entry[0])
        if not self._waiting:
            self._arrived.clear()
        return batch

    async def _process(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        results: Sequence[R | Exception]
        try:
            results = await self._write([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the callers
            results = [error] * len(batch)
        except asyncio.CancelledError:
            self._refuse(batch)
            raise
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    @staticmethod
    def _refuse(
        entries: "Sequence[tuple[T, asyncio.Future[R]]] | deque[tuple[T, asyncio.Future[R]]]",
    ) -> None:
        for _, future in entries:
            if not future.done():
                future.set_exception(Unavailable("The service is stopping; try again."))
