"""The runner of periodic work."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs
from support.patience import PATIENCE_SECONDS

from longshore.domain.errors import Unavailable
from longshore.runtime import loop as loop_module
from longshore.runtime.loop import Loop

HOUR = 3600.0


class Passes:
    """Counts passes and says when one began; each may be made to wait or to fail."""

    def __init__(self) -> None:
        self.count = 0
        self.began = asyncio.Condition()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.fail: Callable[[int], Exception | None] = lambda _: None

    async def __call__(self) -> None:
        self.count += 1
        async with self.began:
            self.began.notify_all()
        await self.may_end.wait()
        if (error := self.fail(self.count)) is not None:
            raise error

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self.began:
            await self.began.wait_for(lambda: self.count >= count)


@contextlib.asynccontextmanager
async def running(loop: Loop) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(loop.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def idle() -> None:
    """Lets everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_first_pass_comes_at_once_and_then_none_unasked() -> None:
    passes = Passes()
    async with running(Loop("test", passes, HOUR)):
        await passes.until(1)
        await idle()
        assert passes.count == 1


async def test_an_interval_brings_a_pass() -> None:
    passes = Passes()
    async with running(Loop("test", passes, 0.001)):
        await passes.until(4)


async def test_wakes_during_a_pass_fold_into_one_more() -> None:
    passes = Passes()
    loop = Loop("test", passes, HOUR)
    passes.may_end.clear()
    async with running(loop):
        await passes.until(1)
        for _ in range(10):
            loop.wake()
        passes.may_end.set()
        await passes.until(2)
        await idle()
        assert passes.count == 2


async def test_wakes_that_gather_fold_into_one() -> None:
    passes = Passes()
    loop = Loop("test", passes, HOUR, gather=0.005)
    async with running(loop):
        await passes.until(1)
        loop.wake()
        await idle()
        loop.wake()
        await passes.until(2)
        await idle()
        assert passes.count == 2


async def test_a_pass_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "BACKOFF_FIRST_SECONDS", 0.0)
    passes = Passes()
    passes.fail = lambda n: ValueError("broken") if n < 5 else None
    with capture_logs() as logs:
        async with running(Loop("test", passes, HOUR)):
            await passes.until(5)
            await idle()
    assert [(line["event"], line["log_level"], line["failures"]) for line in logs] == [
        ("loop.failed", "error", n) for n in range(1, 5)
    ]
    assert passes.count == 5


async def test_what_is_away_is_a_warning_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_module, "BACKOFF_FIRST_SECONDS", 0.0)
    passes = Passes()
    passes.fail = lambda n: Unavailable("away") if n == 1 else None
    with capture_logs() as logs:
        async with running(Loop("test", passes, HOUR)):
            await passes.until(2)
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("loop.unavailable", "warning")
    assert "exc_info" not in line


async def test_a_stop_lets_the_pass_under_way_end() -> None:
    passes = Passes()
    passes.may_end.clear()
    loop = Loop("test", passes, HOUR)
    async with running(loop) as task:
        await passes.until(1)
        loop.stop()
        await idle()
        assert not task.done()
        passes.may_end.set()
        await asyncio.wait_for(task, PATIENCE_SECONDS)
        assert passes.count == 1


async def test_a_stop_does_not_wait_for_a_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "BACKOFF_FIRST_SECONDS", HOUR)
    monkeypatch.setattr(loop_module, "BACKOFF_LAST_SECONDS", HOUR)
    passes = Passes()
    passes.fail = lambda _: ValueError("broken")
    loop = Loop("test", passes, HOUR)
    with capture_logs():
        async with running(loop) as task:
            await passes.until(1)
            await idle()
            loop.stop()
            await asyncio.wait_for(task, PATIENCE_SECONDS)


async def test_a_long_pass_is_followed_by_a_longer_gathering() -> None:
    begun: list[float] = []
    ended: list[float] = []

    async def tick() -> None:
        begun.append(time.monotonic())
        if len(begun) == 1:
            await asyncio.sleep(0.05)
        ended.append(time.monotonic())
        loop.stop() if len(begun) == 2 else loop.wake()

    loop = Loop("test", tick, 10.0, gather=0.001, gather_most=0.03)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await loop.run()
    assert begun[1] - ended[0] >= 0.03


async def test_a_stop_while_changes_gather_ends_it_at_once() -> None:
    """Neither the gathering nor a whole interval is waited for."""
    passes = Passes()
    loop = Loop("test", passes, HOUR, gather=HOUR)
    async with running(loop) as task:
        await idle()
        loop.stop()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await task
    assert passes.count == 0
