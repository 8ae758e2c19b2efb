import asyncio
from collections.abc import Sequence

import pytest

from longshore.domain.errors import InvalidRequest, Unavailable
from longshore.submission import batcher
from longshore.submission.batcher import Batcher


class Recorder:
    """Doubles numbers, refuses odd ones, and keeps each batch until its gate is open."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()

    async def __call__(self, batch: Sequence[int]) -> list[int | Exception]:
        """Writes a batch."""
        self.batches.append(list(batch))
        self.entered.set()
        await self.gate.wait()
        return [InvalidRequest(f"{n}") if n % 2 else n * 2 for n in batch]


async def test_what_arrives_during_a_write_is_the_next_batch_and_calls_fail_alone() -> None:
    write = Recorder()
    gatherer = Batcher(write)
    running = asyncio.create_task(gatherer.run())
    first = asyncio.create_task(gatherer.submit(0))
    await write.entered.wait()
    rest = [asyncio.create_task(gatherer.submit(n)) for n in range(1, 6)]
    gone = asyncio.create_task(gatherer.submit(100))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    write.gate.set()
    results = await asyncio.gather(first, *rest, return_exceptions=True)
    assert write.batches == [[0], [1, 2, 3, 4, 5]]
    assert [r for r in results if isinstance(r, int)] == [0, 4, 8]
    assert [str(r) for r in results if isinstance(r, InvalidRequest)] == ["1", "3", "5"]
    running.cancel()


async def test_batches_and_waiting_calls_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "BATCH_MAX", 2)
    monkeypatch.setattr(batcher, "WAITING_MAX", 3)
    write = Recorder()
    write.gate.set()
    gatherer = Batcher(write)
    calls = [asyncio.create_task(gatherer.submit(n)) for n in (0, 2, 4)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="Too many"):
        await gatherer.submit(6)
    running = asyncio.create_task(gatherer.run())
    assert await asyncio.gather(*calls) == [0, 4, 8]
    assert write.batches == [[0, 2], [4]]
    running.cancel()


async def test_a_write_that_fails_fails_its_calls_and_the_next_one_goes_on() -> None:
    fail = True

    async def write(batch: Sequence[int]) -> list[int | Exception]:
        if fail:
            raise Unavailable("away")
        return list(batch)

    gatherer = Batcher(write)
    running = asyncio.create_task(gatherer.run())
    with pytest.raises(Unavailable, match="away"):
        await gatherer.submit(1)
    fail = False
    assert await gatherer.submit(2) == 2
    running.cancel()


async def test_stopping_refuses_what_is_under_way_and_what_waits() -> None:
    write = Recorder()
    gatherer = Batcher(write)
    running = asyncio.create_task(gatherer.run())
    first = asyncio.create_task(gatherer.submit(0))
    await write.entered.wait()
    second = asyncio.create_task(gatherer.submit(2))
    await asyncio.sleep(0)
    running.cancel()
    for call in (first, second):
        with pytest.raises(Unavailable, match="stopping"):
            await call
