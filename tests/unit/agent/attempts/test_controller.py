"""The steps of an attempt where the runtime is away: it waits, and nothing is said of it."""

import asyncio
from datetime import UTC, datetime

import pytest
from support.patience import PATIENCE_SECONDS

from longshore.agent import health as healths
from longshore.agent.attempts.attempt import Attempt, AttemptKey, Phase, RuntimeAway
from longshore.agent.attempts.controller import BROKEN_OFF_LIMIT, Controller
from longshore.agent.health import HealthWatch
from longshore.agent.simulated_runtime import SimulatedRuntime
from longshore.v1 import agent_service_pb2 as pb

STARTED_AT = datetime(2026, 1, 1, tzinfo=UTC)


class Leaving(SimulatedRuntime):
    """Breaks off at a step as long as it is away, and counts what is asked of it."""

    def __init__(self, step: str) -> None:
        super().__init__()
        self.step = step
        self.there = False
        self.back = asyncio.Event()
        self.probed = asyncio.Event()
        self.probes = 0
        self.launches = 0
        self.found_started = False

    def come_back(self) -> None:
        self.there = True
        self.back.set()

    async def answers(self) -> bool:
        self.probes += 1
        self.probed.set()
        return self.there

    def prepared(self, attempt: Attempt) -> bool:
        del attempt
        return False

    async def prepare(self, attempt: Attempt) -> None:
        del attempt
        if self.step == "prepare" and not self.back.is_set():
            raise RuntimeAway("away")

    async def started(self, attempt: Attempt) -> datetime | None:
        del attempt
        return STARTED_AT if self.found_started else None

    async def launch(self, attempt: Attempt) -> datetime:
        self.launches += 1
        if self.step in ("create", "start") and not self.back.is_set():
            if self.step == "start":
                attempt.handle = "container"
            raise RuntimeAway("away")
        return await super().launch(attempt)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(healths, "LOOK_FIRST_SECONDS", 0.001)
    monkeypatch.setattr(healths, "LOOK_LAST_SECONDS", 0.002)


def _attempt(index: int = 0) -> Attempt:
    key = AttemptKey(f"job-{index}", 1)
    return Attempt(key, pb.Assignment(key=key.message()))


async def _run(controller: Controller, attempt: Attempt) -> pb.AttemptChange:
    """Steps until there is something to tell."""
    while (change := await controller.step(attempt)) is None:
        pass
    return change


@pytest.mark.parametrize("step", ["prepare", "create", "start"])
async def test_attempts_wait_together_and_outside_of_the_starts(step: str) -> None:
    runtime = Leaving(step)
    health = HealthWatch(runtime)
    controller = Controller(runtime, health, concurrent_starts=1)
    attempts = [_attempt(index) for index in range(20)]
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        looking = group.create_task(health.run())
        runs = [group.create_task(_run(controller, attempt)) for attempt in attempts]
        await runtime.probed.wait()
        await asyncio.sleep(0.05)
        assert not any(run.done() for run in runs)
        runtime.come_back()
        changes = await asyncio.gather(*runs)
        looking.cancel()
    assert {change.status for change in changes} == {pb.ATTEMPT_STATUS_RUNNING}


async def test_what_started_although_nobody_said_so_is_not_started_again() -> None:
    runtime = Leaving("start")
    health = HealthWatch(runtime)
    attempt = _attempt()
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        looking = group.create_task(health.run())
        run = group.create_task(_run(Controller(runtime, health, 1), attempt))
        await runtime.probed.wait()
        runtime.found_started = True
        runtime.come_back()
        change = await run
        looking.cancel()
    assert change.start_time.ToDatetime(UTC) == STARTED_AT
    assert runtime.launches == 1


@pytest.mark.parametrize("step", ["prepare", "create"])
async def test_a_stop_ends_the_wait_of_what_never_reached_the_runtime(step: str) -> None:
    runtime = Leaving(step)
    health = HealthWatch(runtime)
    attempt = _attempt()
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        looking = group.create_task(health.run())
        run = group.create_task(_run(Controller(runtime, health, 1), attempt))
        await runtime.probed.wait()
        attempt.stop("Terminated")
        change = await run
        looking.cancel()
    assert (change.status, change.status_reason) == (pb.ATTEMPT_STATUS_ENDED, "Terminated")


async def test_what_may_have_started_is_not_given_up_by_a_stop() -> None:
    runtime = Leaving("start")
    health = HealthWatch(runtime)
    attempt = _attempt()
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        looking = group.create_task(health.run())
        run = group.create_task(_run(Controller(runtime, health, 1), attempt))
        await runtime.probed.wait()
        attempt.stop("Terminated")
        runtime.found_started = True
        runtime.come_back()
        assert (await run).status == pb.ATTEMPT_STATUS_RUNNING
        looking.cancel()
    assert attempt.phase is Phase.RUNNING


async def test_a_runtime_that_answers_and_breaks_off_fails_the_attempt_in_the_end() -> None:
    runtime = Leaving("create")
    runtime.there = True
    health = HealthWatch(runtime)
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        looking = group.create_task(health.run())
        change = await _run(Controller(runtime, health, 1), _attempt())
        looking.cancel()
    assert change.reason == "DockerStateError: away"
    assert runtime.launches == BROKEN_OFF_LIMIT + 1


@pytest.mark.parametrize("step", ["prepare", "create"])
async def test_what_never_reached_the_runtime_is_given_back(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healths, "GIVE_BACK_SECONDS", 0.05)
    runtime = Leaving(step)
    health = HealthWatch(runtime)
    controller = Controller(runtime, health, concurrent_starts=1)
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        looking = group.create_task(health.run())
        change = await _run(controller, _attempt())
        late = await _run(controller, _attempt(1))
        looking.cancel()
    assert change.status == late.status == pb.ATTEMPT_STATUS_RETURNED
    assert change.status_reason == "Given back: The Docker engine does not answer."


@pytest.mark.parametrize("kind", ["handle", "reached", "node"])
async def test_what_may_be_there_and_nodes_are_not_given_back(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healths, "GIVE_BACK_SECONDS", 0.01)
    runtime = Leaving("start" if kind == "handle" else "create")
    health = HealthWatch(runtime)
    attempt = _attempt()
    attempt.reached = kind == "reached"
    if kind == "node":
        attempt.assignment.node.num_nodes = 2
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        looking = group.create_task(health.run())
        run = group.create_task(_run(Controller(runtime, health, 1), attempt))
        await runtime.probed.wait()
        await asyncio.sleep(0.1)
        assert not run.done()
        runtime.come_back()
        assert (await run).status == pb.ATTEMPT_STATUS_RUNNING
        looking.cancel()
