"""What an agent says of its instance, and when it changes its mind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.patience import PATIENCE_SECONDS

from longshore.agent import health as healths
from longshore.agent.attempts.attempt import RuntimeAway, StepFailed
from longshore.agent.health import FAILURES_LIMIT, HealthWatch, disbelief
from longshore.agent.simulated_runtime import SimulatedRuntime
from longshore.v1 import agent_service_pb2 as pb

MACHINE = StepFailed("CannotStartContainerError", "input/output error", may_be_machine=True)
JOB = StepFailed("CannotStartContainerError", "executable file not found in $PATH")


class Machine(SimulatedRuntime):
    """A machine to be broken."""

    def __init__(self) -> None:
        super().__init__()
        self.is_there = True
        self.free_mib = 1000
        self.trials = 0
        self.trial_fails: Exception | None = None

    async def answers(self) -> bool:
        return self.is_there

    async def room(self) -> tuple[str, int] | None:
        return "/data", self.free_mib

    async def trial(self) -> None:
        self.trials += 1
        if self.trial_fails is not None:
            raise self.trial_fails


class Said:
    """What an agent says, as it changes."""

    def __init__(self, health: HealthWatch) -> None:
        self.health = health
        self.conditions: list[int] = []
        self.changed = asyncio.Event()
        health.on_change = self._note

    def _note(self) -> None:
        self.conditions.append(self.health.message().condition)
        self.changed.set()

    async def until(self, condition: int) -> str:
        """Waits until it says so; returns the detail."""
        while self.health.message().condition != condition:
            self.changed.clear()
            await self.changed.wait()
        return self.health.message().detail


@asynccontextmanager
async def looking(machine: Machine, disk_free_mib: int = 0) -> AsyncIterator[Said]:
    health = HealthWatch(machine, disk_free_mib)
    said = Said(health)
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        task = group.create_task(health.run())
        yield said
        task.cancel()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_FIRST_SECONDS", "LOOK_LAST_SECONDS", "DISK_SECONDS", "TRIAL_FIRST_SECONDS"):
        monkeypatch.setattr(healths, name, 0.01)
    monkeypatch.setattr(healths, "TRIAL_LAST_SECONDS", 0.02)


async def test_a_runtime_that_is_away_is_told_until_it_answers() -> None:
    machine = Machine()
    machine.is_there = False
    async with looking(machine) as said:
        said.health.suspect()
        assert not said.health.is_fit
        assert await said.until(pb.AGENT_CONDITION_ENGINE_AWAY)
        machine.is_there = True
        await said.until(pb.AGENT_CONDITION_HEALTHY)
        await said.health.fit()
    assert said.conditions == [pb.AGENT_CONDITION_ENGINE_AWAY, pb.AGENT_CONDITION_HEALTHY]


async def test_a_call_that_broke_off_is_nothing_to_tell() -> None:
    async with looking(Machine()) as said:
        said.health.suspect()
        await said.health.fit()
    assert said.conditions == []


async def test_a_full_disk_is_well_again_only_with_some_room_to_spare() -> None:
    machine = Machine()
    machine.free_mib = 99
    async with looking(machine, 100) as said:
        assert "/data has 99 MiB free" in await said.until(pb.AGENT_CONDITION_DISK_FULL)
        machine.free_mib = 110
        while "110" not in said.health.message().detail:
            said.changed.clear()
            await said.changed.wait()
        assert not said.health.is_fit
        machine.free_mib = 120
        await said.health.fit()
        assert said.health.message().condition == pb.AGENT_CONDITION_HEALTHY


async def test_a_machine_on_which_nothing_starts_is_tried_again_in_steps() -> None:
    machine = Machine()
    machine.trial_fails = MACHINE
    async with looking(machine) as said:
        for _ in range(FAILURES_LIMIT - 1):
            said.health.failed("job", MACHINE)
        assert said.health.is_fit
        said.health.failed("job", MACHINE)
        assert not said.health.is_fit
        detail = await said.until(pb.AGENT_CONDITION_QUARANTINED)
        assert "input/output error" in detail
        while machine.trials < 4:
            await asyncio.sleep(0.01)
        machine.trial_fails = None
        await said.health.fit()
        await said.until(pb.AGENT_CONDITION_HEALTHY)


@pytest.mark.parametrize("between", ["start", "job", "trial"])
async def test_what_lies_in_the_jobs_quarantines_nobody(between: str) -> None:
    """Others start, the failures are the jobs' own, or a container of our own starts well."""
    machine = Machine()
    async with looking(machine) as said:
        for number in range(4 * FAILURES_LIMIT):
            said.health.failed("job", JOB if between == "job" else MACHINE)
            if between == "start" and number % 3 == 0:
                said.health.started()
            await said.health.fit()
    assert said.conditions == []
    assert bool(machine.trials) is (between == "trial")


def test_a_trial_is_believed_unless_many_jobs_say_otherwise() -> None:
    pauses = [disbelief(FAILURES_LIMIT - 1, 0.0), disbelief(FAILURES_LIMIT, 0.0)]
    while pauses[-1] < healths.PAUSE_LAST_SECONDS:
        pauses.append(disbelief(FAILURES_LIMIT, pauses[-1]))
    assert pauses == [0, 10, 20, 40, 60]
    assert disbelief(10 * FAILURES_LIMIT, 60.0) == 60


async def test_a_machine_on_which_a_trial_starts_and_nothing_else_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Job after job fails: after each pause a single failure says so again, until one starts."""
    monkeypatch.setattr(healths, "PAUSE_FIRST_SECONDS", 0.01)
    machine = Machine()
    async with looking(machine) as said:
        for number in range(FAILURES_LIMIT):
            assert said.health.is_fit
            said.health.failed(f"job-{number}", MACHINE)
        assert not said.health.is_fit
        detail = await said.until(pb.AGENT_CONDITION_QUARANTINED)
        assert detail == (
            "5 jobs in a row did not start, although a trial does; others are tried in 0 s."
        )
        for number in range(3):
            await said.health.fit()
            said.health.failed(f"other-{number}", MACHINE)
            assert not said.health.is_fit
            await said.until(pb.AGENT_CONDITION_QUARANTINED)
        await said.health.fit()
        said.health.started()
        for number in range(FAILURES_LIMIT - 1):
            said.health.failed(f"job-{number}", MACHINE)
        assert said.health.is_fit
    assert said.conditions == 4 * [pb.AGENT_CONDITION_QUARANTINED, pb.AGENT_CONDITION_HEALTHY]


async def test_a_trial_waits_for_a_runtime_that_is_away() -> None:
    machine = Machine()
    machine.trial_fails = RuntimeAway("away")
    machine.is_there = False
    async with looking(machine) as said:
        for _ in range(FAILURES_LIMIT):
            said.health.failed("job", MACHINE)
        await said.until(pb.AGENT_CONDITION_ENGINE_AWAY)
        assert machine.trials == 1
        machine.trial_fails = None
        machine.is_there = True
        await said.health.fit()
    assert machine.trials == 2
    assert said.conditions == [pb.AGENT_CONDITION_ENGINE_AWAY, pb.AGENT_CONDITION_HEALTHY]


async def test_of_several_ailments_the_first_is_told_and_all_are_waited_for() -> None:
    machine = Machine()
    machine.free_mib, machine.is_there = 1, False
    async with looking(machine, 100) as said:
        await said.until(pb.AGENT_CONDITION_DISK_FULL)
        said.health.suspect()
        await said.until(pb.AGENT_CONDITION_ENGINE_AWAY)
        machine.is_there = True
        await said.until(pb.AGENT_CONDITION_DISK_FULL)
        assert not said.health.is_fit
        machine.free_mib = 1000
        await said.health.fit()
