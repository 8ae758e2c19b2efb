"""An engine that goes away and comes back: nothing fails by it."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.agent import Stand
from support.engine import PrivateEngine

from longshore.v1 import agent_service_pb2 as pb

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.docker,
    pytest.mark.timeout(180),
]


@pytest_asyncio.fixture(loop_scope="session")
async def own_engine() -> AsyncIterator[PrivateEngine]:
    # A path of a socket has at most 107 characters.
    directory = Path(tempfile.mkdtemp(prefix="longshore-engine-"))
    engine = PrivateEngine(directory)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.close()


@pytest_asyncio.fixture(loop_scope="session")
async def stand(own_engine: PrivateEngine, tmp_path: Path) -> AsyncIterator[Stand]:
    stand = Stand(tmp_path, "docker", DOCKER_HOST=own_engine.address, LONGSHORE_NETWORK="none")
    await stand.open()
    yield stand
    await stand.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_an_array_waits_and_runs_through_a_restart(
    own_engine: PrivateEngine, stand: Stand, number: signal.Signals
) -> None:
    """Those that run go on, those that would start do so later, and none of them ends by it."""
    long = [stand.an_attempt("sleep", "8") for _ in range(2)]
    waiting = [stand.an_attempt("true") for _ in range(20)]
    stopped = stand.an_attempt("true")
    await stand.scheduler.assign(*long)
    await asyncio.gather(*map(stand.scheduler.running, long))
    await own_engine.stop(number)
    await stand.scheduler.assign(*waiting, stopped)
    await stand.scheduler.reached(waiting[-1], pb.ATTEMPT_STATUS_STARTING)
    await stand.scheduler.stop(stopped, "Terminated")
    end = await stand.scheduler.ended(stopped)
    assert (end.status_reason, end.reason) == ("Terminated", "")
    await asyncio.sleep(1)  # time in which the others would fail
    assert all(stand.scheduler.last(a).status == pb.ATTEMPT_STATUS_STARTING for a in waiting)
    await own_engine.start()
    ends = await asyncio.gather(*map(stand.scheduler.ended, [*long, *waiting]))
    assert {(end.exit_code, end.reason) for end in ends} == {(0, "")}
