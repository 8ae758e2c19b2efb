"""The set of attempts: one attempt's trouble stays its own."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.patience import PATIENCE_SECONDS

from longshore.agent import health as healths
from longshore.agent.attempts.attempt import Attempt, AttemptKey, Exit
from longshore.agent.attempts.crew import Crew
from longshore.agent.health import HealthWatch
from longshore.agent.reporting import journal as journal_module
from longshore.agent.reporting.journal import Journal
from longshore.agent.runtime import Found
from longshore.agent.simulated_runtime import SimulatedRuntime
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import container_pb2, ecs_pb2, resources_pb2


class MistakenRuntime(SimulatedRuntime):
    """Makes mistakes: with `launch` at its start, with `wait` once while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0

    async def launch(self, attempt: Attempt) -> datetime:
        if attempt.key.job_id == "launch":
            raise RuntimeError("a mistake of ours")
        return await super().launch(attempt)

    async def wait(self, attempt: Attempt) -> Exit:
        if attempt.key.job_id == "wait":
            self.waits += 1
            if self.waits == 1:
                raise RuntimeError("another one")
        return await super().wait(attempt)


async def test_a_mistake_in_one_attempt_ends_neither_the_others_nor_the_agent() -> None:
    journal = Journal(None)
    runtime = MistakenRuntime()
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        crew = Crew(runtime, HealthWatch(runtime), journal, 4, group)
        sending = group.create_task(crew.outbox.run())
        crew.assign(
            pb.Assignment(key=pb.AttemptKey(job_id=name, attempt=1))
            for name in ("launch", "wait", "fine")
        )
        await crew.wait_until_over()
        ends: dict[str, pb.AttemptChange] = {}
        while len(ends) < 3:
            await crew.outbox.ready.wait()
            for report in crew.outbox.unsent(0):
                for change in report.changes:
                    if change.status == pb.ATTEMPT_STATUS_ENDED:
                        ends[AttemptKey.of(change.key).job_id] = change
            await asyncio.sleep(0)
        sending.cancel()
    assert {name: change.exit_code for name, change in ends.items()} == {
        "launch": 0,
        "wait": 0,
        "fine": 0,
    }
    assert not ends["launch"].HasField("exit_code")
    assert ends["launch"].reason.startswith("CannotStartContainerError: ")
    assert ends["launch"].status_reason == "Task failed to start"
    assert ends["wait"].HasField("exit_code")


class PullingRuntime(SimulatedRuntime):
    """Takes its time before anything runs."""

    kind = resources_pb2.RUNTIME_DOCKER

    def __init__(self) -> None:
        super().__init__()
        self.pulling, self.pulled = asyncio.Event(), asyncio.Event()

    def prepared(self, _: Attempt) -> bool:
        return False

    async def prepare(self, _: Attempt) -> None:
        self.pulling.set()
        await self.pulled.wait()


async def test_nothing_is_reported_of_an_attempt_before_it_runs() -> None:
    """That it was taken on is what the scheduler assumes of it."""
    runtime = PullingRuntime()
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        crew = Crew(runtime, HealthWatch(runtime), Journal(None), 4, group)
        sending = group.create_task(crew.outbox.run())
        crew.assign([pb.Assignment(key=pb.AttemptKey(job_id="job", attempt=1))])
        await runtime.pulling.wait()
        assert crew.outbox.empty
        runtime.pulled.set()
        await crew.wait_until_over()
        await crew.outbox.ready.wait()
        told = [change.status for report in crew.outbox.unsent(0) for change in report.changes]
        sending.cancel()
    assert pb.ATTEMPT_STATUS_STARTING not in told


async def test_an_end_that_is_not_on_record_is_said_once_more() -> None:
    """It was acknowledged and could not be stored: the record still has the attempt as live."""
    runtime, journal = SimulatedRuntime(), Journal(None)
    assignment = pb.Assignment(key=pb.AttemptKey(job_id="job", attempt=1))
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        crew = Crew(runtime, HealthWatch(runtime), journal, 4, group)
        sending = group.create_task(crew.outbox.run())

        async def ends() -> list[pb.AttemptChange]:
            while True:
                unsent = list(crew.outbox.unsent(0))
                changes = [change for report in unsent for change in report.changes]
                ended = [c for c in changes if c.status == pb.ATTEMPT_STATUS_ENDED]
                if ended:
                    await crew.wait_until_over()
                    crew.outbox.acknowledge(journal.sequence)
                    return ended
                crew.outbox.ready.clear()
                await crew.outbox.ready.wait()

        crew.assign([assignment])
        (first,) = await ends()
        assert crew.known_keys() == []

        crew.assign([assignment])
        assert crew.known_keys() == []
        crew.assign([assignment], on_record=True)
        (again,) = await ends()

        assert again == first
        assert crew.known_keys() == []
        sending.cancel()


@pytest.mark.parametrize("is_compacted", [False, True])
async def test_an_end_that_is_not_on_record_is_said_by_the_next_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_compacted: bool
) -> None:
    """It was acknowledged, could not be stored, and the agent started anew: nothing runs twice."""
    if is_compacted:
        monkeypatch.setattr(journal_module, "COMPACT_BYTES", 0)
    assignment = pb.Assignment(key=pb.AttemptKey(job_id="job", attempt=1))

    async def life(*, on_record: bool) -> tuple[list[pb.AttemptChange], bool]:
        runtime, journal = StartingRuntime(), Journal(tmp_path / "journal")
        async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
            crew = Crew(runtime, HealthWatch(runtime), journal, 4, group)
            await crew.recover()
            sending = group.create_task(crew.outbox.run())
            if on_record:
                crew.apply_set([assignment], [])
            else:
                crew.assign([assignment])
            told: list[pb.AttemptChange] = []
            while not any(change.status == pb.ATTEMPT_STATUS_ENDED for change in told):
                await crew.outbox.ready.wait()
                crew.outbox.ready.clear()
                told = [c for report in crew.outbox.unsent(0) for c in report.changes]
            await crew.wait_until_over()
            crew.outbox.acknowledge(journal.sequence)
            assert crew.known_keys() == []
            await journal.flush()
            sending.cancel()
        journal.close()
        return told, runtime.is_started

    first, ran = await life(on_record=False)
    again, ran_again = await life(on_record=True)
    assert ran
    assert not ran_again
    assert again[-1] == first[-1]
    # Also where the agent goes before it has said it.
    journal = Journal(tmp_path / "journal")
    journal.assigned(assignment)
    await journal.flush()
    journal.close()
    once_more, ran_again = await life(on_record=True)
    assert not ran_again
    assert once_more[-1] == first[-1]


async def test_what_was_given_back_may_come_again(tmp_path: Path) -> None:
    """After the agent started anew, too."""
    key = AttemptKey("job", 1)
    assignment = pb.Assignment(key=key.message())
    journal = Journal(tmp_path / "journal")
    journal.assigned(assignment)
    change = pb.AttemptChange(key=key.message(), status=pb.ATTEMPT_STATUS_RETURNED)
    journal.report(pb.AgentReport(sequence=journal.sequence + 1, changes=[change]))
    journal.acknowledged(journal.sequence)
    journal.forgotten(key)
    await journal.flush()
    journal.close()
    again = Journal(tmp_path / "journal")
    assert not again.past
    again.close()


def test_the_journal_remembers_so_many_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "REMEMBERED", 3)
    journal = Journal(tmp_path / "journal")
    for number in range(5):
        key = AttemptKey("job", number)
        journal.assigned(pb.Assignment(key=key.message()))
        change = pb.AttemptChange(key=key.message(), status=pb.ATTEMPT_STATUS_ENDED)
        journal.report(pb.AgentReport(sequence=journal.sequence + 1, changes=[change]))
        journal.acknowledged(journal.sequence)
        journal.forgotten(key)
    journal.close()
    again = Journal(tmp_path / "journal")
    assert [key.attempt for key in again.past] == [2, 3, 4]
    again.close()


class StartingRuntime(SimulatedRuntime):
    """Knows whether anything started."""

    is_started = False

    async def launch(self, attempt: Attempt) -> datetime:
        self.is_started = True
        return await super().launch(attempt)


class LongRunningRuntime(SimulatedRuntime):
    """Has something running already when it begins."""

    def __init__(self, key: AttemptKey, found: Found) -> None:
        super().__init__()
        self.found = {key: found}

    async def find(self) -> dict[AttemptKey, Found]:
        return self.found


@pytest.mark.parametrize("told_before", [False, True])
async def test_a_node_s_address_is_told_by_the_next_agent(told_before: bool) -> None:
    """The last one died between the start and its report; or it reported, and the end is new."""
    started_at = datetime(2026, 1, 1, tzinfo=UTC)
    key = AttemptKey("job#1", 1)
    journal = Journal(None)
    journal.assigned(pb.Assignment(key=key.message(), node=pb.NodeAssignment(index=1, num_nodes=2)))
    if told_before:
        attempt = Attempt(key, journal.entries[key].assignment, address="10.0.0.1")
        change = attempt.started(started_at)
        journal.report(pb.AgentReport(sequence=journal.sequence + 1, changes=[change]))
    found = Found("handle", started_at, "" if told_before else "10.0.0.1")
    told: list[pb.AttemptChange] = []
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        runtime = LongRunningRuntime(key, found)
        crew = Crew(runtime, HealthWatch(runtime), journal, 4, group)
        sending = group.create_task(crew.outbox.run())
        await crew.recover()
        await crew.wait_until_over()
        while not told or told[-1].status != pb.ATTEMPT_STATUS_ENDED:
            await asyncio.sleep(0)
            told = [change for report in crew.outbox.unsent(0) for change in report.changes]
        sending.cancel()
    assert told[-1].address == "10.0.0.1"


class AwayRuntime(SimulatedRuntime):
    """Does not answer."""

    async def answers(self) -> bool:
        return False


async def test_what_was_given_back_stays_so_over_a_restart_and_may_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healths, "GIVE_BACK_SECONDS", 0.0)
    assignment = pb.Assignment(key=pb.AttemptKey(job_id="job", attempt=1))
    journal = Journal(tmp_path / "journal")
    away = AwayRuntime()
    health = HealthWatch(away)
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        crew = Crew(away, health, journal, 4, group)
        tasks = [group.create_task(crew.outbox.run()), group.create_task(health.run())]
        health.suspect()
        crew.assign([assignment])
        await crew.outbox.ready.wait()
        for task in tasks:
            task.cancel()
    [report] = crew.outbox.unsent(0)
    assert [change.status for change in report.changes] == [pb.ATTEMPT_STATUS_RETURNED]
    journal.close()

    journal = Journal(tmp_path / "journal")
    runtime = SimulatedRuntime()
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        crew = Crew(runtime, HealthWatch(runtime), journal, 4, group)
        await crew.recover()
        # The scheduler has not read it yet: the attempt is still in its set.
        crew.apply_set([assignment], [])
        assert [report.sequence for report in crew.outbox.unsent(0)] == [report.sequence]
        crew.outbox.acknowledge(report.sequence)
        await crew.wait_until_over()
        assert crew.empty
        sending = group.create_task(crew.outbox.run())
        crew.assign([assignment])
        await crew.outbox.ready.wait()
        await crew.wait_until_over()
        sending.cancel()
    told = [change.status for report in crew.outbox.unsent(0) for change in report.changes]
    assert told == [pb.ATTEMPT_STATUS_ENDED]
    journal.close()


def several(job_id: str) -> pb.Assignment:
    """An assignment of two containers, of which the second waits for the first."""
    needs = [
        container_pb2.ResourceRequirement(type="VCPU", value="1"),
        container_pb2.ResourceRequirement(type="MEMORY", value="4"),
    ]
    after = ecs_pb2.TaskContainerDependency(container_name="first", condition="SUCCESS")
    containers = [
        ecs_pb2.TaskContainerProperties(name="first", essential=False, resource_requirements=needs),
        ecs_pb2.TaskContainerProperties(
            name="second", depends_on=[after], resource_requirements=needs
        ),
    ]
    return pb.Assignment(
        key=pb.AttemptKey(job_id=job_id, attempt=1),
        attempt_id="a",
        task=ecs_pb2.EcsTaskProperties(containers=containers),
        container_log_stream_names=["d/first/a", "d/second/a"],
    )


async def test_a_mistake_in_one_container_is_its_attempts_alone() -> None:
    runtime = MistakenRuntime()
    ends: dict[str, pb.AttemptChange] = {}
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        crew = Crew(runtime, HealthWatch(runtime), Journal(None), 4, group)
        sending = group.create_task(crew.outbox.run())
        crew.assign([several("launch"), several("wait"), several("fine")])
        assert crew.log_names() == {"d/first/a", "d/second/a"}
        while len(ends) < 3:
            await crew.outbox.ready.wait()
            for report in crew.outbox.unsent(0):
                for change in report.changes:
                    if change.status == pb.ATTEMPT_STATUS_ENDED:
                        ends[change.key.job_id] = change
            await asyncio.sleep(0)
        await crew.wait_until_over()
        sending.cancel()
    assert [ends[name].HasField("exit_code") for name in ("launch", "wait", "fine")] == [
        False,
        True,
        True,
    ]
    assert ends["launch"].reason == "TaskDependencyError: container first did not run"
    assert [one.exit_code for one in ends["fine"].containers] == [0, 0]


async def test_what_is_known_of_containers_is_known_after_a_restart(tmp_path: Path) -> None:
    """Also once the journal was written anew."""
    journal = Journal(tmp_path / "journal")
    assignment = several("job")
    journal.assigned(assignment)
    progress = pb.AttemptChange(key=assignment.key, status=pb.ATTEMPT_STATUS_STARTING)
    first = progress.containers.add(name="first", exit_code=0)
    first.start_time.GetCurrentTime()
    first.stop_time.GetCurrentTime()
    journal.progress(progress)
    journal._size = 10 * journal_module.COMPACT_BYTES
    await journal.flush()
    journal.close()
    runtime = SimulatedRuntime()
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        crew = Crew(runtime, HealthWatch(runtime), Journal(tmp_path / "journal"), 4, group)
        sending = group.create_task(crew.outbox.run())
        await crew.recover()
        crew.apply_set([assignment], [])
        await crew.wait_until_over()
        await crew.outbox.ready.wait()
        [*_, last] = [c for report in crew.outbox.unsent(0) for c in report.changes]
        sending.cancel()
    assert last.containers[0] == first
    assert last.exit_code == 0
