"""Locks between processes: one holder, who may end as he likes."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from support.patience import PATIENCE_SECONDS

from longshore.runtime.lock import Lock

HOLDER = """
import pathlib, sys, time
from longshore.runtime.lock import Lock
print(Lock(pathlib.Path(sys.argv[1])).take(), flush=True)
time.sleep(60)
"""


@pytest.fixture(params=["file", "directory"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path if request.param == "directory" else tmp_path / "lock"


def test_one_lock_for_one_directory(tmp_path: Path) -> None:
    first, second = Lock.of(tmp_path), Lock.of(tmp_path)
    assert first.take()
    assert not second.take()
    first.release()
    assert second.take()
    second.release()


async def test_who_waits_has_it_once_it_is_free(path: Path) -> None:
    first, second = Lock(path), Lock(path)
    assert first.take()
    assert not await second.wait(0.05)
    waiting = asyncio.create_task(second.wait(PATIENCE_SECONDS))
    await asyncio.sleep(0)
    first.release()
    assert await waiting
    assert not first.take()
    second.release()


async def test_who_stops_waiting_holds_nothing(path: Path) -> None:
    first, second, third = Lock(path), Lock(path), Lock(path)
    assert first.take()
    waiting = asyncio.create_task(second.wait(PATIENCE_SECONDS))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    first.release()
    assert third.take()
    third.release()


async def test_a_holder_that_is_killed_frees_it(path: Path) -> None:
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, str(path), stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"True\n"
        lock = Lock(path)
        assert not lock.take()
    finally:
        holder.kill()
    assert await lock.wait(PATIENCE_SECONDS)
    lock.release()
    await holder.wait()


def test_what_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Lock(tmp_path / "none" / "lock").take()
