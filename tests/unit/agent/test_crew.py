"""The set of attempts: one attempt's trouble stays its own."""

import asyncio
from datetime import datetime

from longshore.agent.attempt import Attempt, AttemptKey, Exit
from longshore.agent.crew import Crew
from longshore.agent.journal import Journal
from longshore.agent.simulated_runtime import SimulatedRuntime
from longshore.v1 import agent_service_pb2 as pb


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
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        crew = Crew(runtime, journal, 4, group)
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
