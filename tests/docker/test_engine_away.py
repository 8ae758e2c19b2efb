"""An engine that goes away and comes back: nothing fails by it."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.agent import Stand, a_part
from support.engine import PrivateEngine, needs_own_engine

from longshore.v1 import agent_service_pb2 as pb

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.docker,
    needs_own_engine,
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
    # Of several containers one runs, and the other is to start when the engine is away.
    waiting.append(
        stand.several(
            a_part("main", "true", ("first", "COMPLETE")),
            a_part("first", "sleep 3", essential=False),
        )
    )
    await stand.scheduler.assign(*long, waiting[-1])
    await stand.scheduler.reached(waiting[-1], pb.ATTEMPT_STATUS_STARTING)
    await asyncio.gather(*map(stand.scheduler.running, long))
    await own_engine.stop(number)
    await stand.scheduler.assign(*waiting[:-1], stopped)
    await stand.scheduler.stop(stopped, "Terminated")
    end = await stand.scheduler.ended(stopped)
    assert (end.status_reason, end.reason) == ("Terminated", "")
    await asyncio.sleep(1)  # time in which the others would fail
    assert not any(map(stand.scheduler.last, waiting[:-1]))
    await own_engine.start()
    ends = await asyncio.gather(*map(stand.scheduler.ended, [*long, *waiting]))
    assert {(end.exit_code, end.reason) for end in ends} == {(0, "")}


async def test_an_agent_that_starts_while_its_engine_is_away_waits_for_it(
    own_engine: PrivateEngine, stand: Stand
) -> None:
    """It registers, says so, and takes up what ran and ended meanwhile; so after a boot."""
    running = stand.an_attempt("sleep", "1000", stop_seconds=1)
    ending = stand.an_attempt("sleep", "1")
    await stand.scheduler.assign(running, ending)
    await asyncio.gather(*map(stand.scheduler.running, (running, ending)))
    assert stand.agent is not None
    await stand.agent.kill()
    await own_engine.stop()
    await stand.start_agent()
    registered = stand.scheduler.registrations[-1]
    assert registered.health.condition == pb.AGENT_CONDITION_ENGINE_AWAY
    assert {key.job_id for key in registered.attempts} == {running.key.job_id, ending.key.job_id}
    heartbeats = stand.scheduler.heartbeats
    await stand.scheduler.stop(running, "Terminated")
    await stand.scheduler.until(lambda: stand.scheduler.heartbeats > heartbeats + 3)
    assert stand.agent.popen.poll() is None
    await own_engine.start()
    end = await stand.scheduler.ended(running)
    assert (end.exit_code, end.status_reason) == (137, "Terminated")
    assert (await stand.scheduler.ended(ending)).exit_code == 0
    assert (await stand.run(stand.an_attempt("true"))).exit_code == 0


async def test_an_agent_without_an_engine_ends_when_it_is_told_to(
    own_engine: PrivateEngine, stand: Stand
) -> None:
    assert stand.agent is not None
    await stand.agent.terminate()
    await own_engine.stop()
    await stand.start_agent()
    assert await stand.agent.terminate() == 0


async def test_what_never_reached_it_is_given_back_and_may_come_again(
    own_engine: PrivateEngine, stand: Stand
) -> None:
    """The scheduler is told that the engine is away, gets back what it placed, and places anew."""
    await own_engine.stop()
    await stand.scheduler.until(
        lambda: stand.scheduler.health.condition == pb.AGENT_CONDITION_ENGINE_AWAY
    )
    attempts = [stand.an_attempt("true") for _ in range(3)]
    attempts.append(stand.several(a_part("a", "sleep 1"), a_part("b", "sleep 1")))
    await stand.scheduler.assign(*attempts)
    for attempt in attempts:
        change = await stand.scheduler.reached(attempt, pb.ATTEMPT_STATUS_RETURNED)
        assert change.status_reason == "Given back: The Docker engine does not answer."
    await own_engine.start()
    await stand.scheduler.until(
        lambda: stand.scheduler.health.condition == pb.AGENT_CONDITION_HEALTHY
    )
    for attempt in attempts:
        stand.scheduler.changes.clear()
        end = await stand.run(attempt)
        assert (end.exit_code, end.reason) == (0, "")


async def test_a_machine_on_which_nothing_starts_is_quarantined_until_something_does(
    own_engine: PrivateEngine, stand: Stand
) -> None:
    """A handful of attempts fail by it, the others of a hundred do not."""
    await own_engine.break_down()
    attempts = [stand.an_attempt("true") for _ in range(100)]
    await stand.scheduler.assign(*attempts)
    await stand.scheduler.until(
        lambda: stand.scheduler.health.condition == pb.AGENT_CONDITION_QUARANTINED
    )
    assert "CannotStartContainerError" in stand.scheduler.health.detail
    ends = await asyncio.gather(
        *(stand.scheduler.reached(a, pb.ATTEMPT_STATUS_ENDED) for a in attempts)
    )
    failed = [end for end in ends if end.status == pb.ATTEMPT_STATUS_ENDED]
    assert 5 <= len(failed) <= 15
    own_engine.mend()
    await stand.scheduler.until(
        lambda: stand.scheduler.health.condition == pb.AGENT_CONDITION_HEALTHY
    )
    assert (await stand.run(stand.an_attempt("true"))).exit_code == 0
