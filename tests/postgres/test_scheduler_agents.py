"""Agents that call themselves the same."""

import grpc
import pytest
from support.scheduling import Agent, Ended, Stand, scheduler_stand

from longshore.scheduler import agents


def a_copy(stand: Stand, agent: Agent) -> Agent:
    """An agent that has another's identity, as on a copy of its machine."""
    copy = Agent(stand.port, agent.instance_id, agent.environment, agent.vcpus)
    copy.process_id = "copy"
    return copy


async def test_of_two_with_one_identity_the_one_that_is_there_stays(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "COPY_SECONDS", 3600.0)
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(vcpus=1)
        await stand.silence(agent, seconds=0)
        agent.process_id = "first"
        await agent.connect()
        job = await stand.submit()
        await agent.until(lambda: job in agent.assigned)

        copy = a_copy(stand, agent)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await copy.connect()

        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "data directory of its own" in (refused.value.details() or "")
        assert copy.assigned == {}
        await copy._channel.close()
        await agent.end(job, Ended(), started=True)
        await stand.until(job, "SUCCEEDED")


async def test_the_same_process_may_come_again_and_another_when_the_first_is_silent(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(vcpus=1)
        await stand.silence(agent, seconds=0)
        agent.process_id = "first"
        await agent.connect()
        again = a_copy(stand, agent)
        again.process_id = "first"
        await again.connect()

        monkeypatch.setattr(agents, "COPY_SECONDS", 0.0)
        restarted = a_copy(stand, agent)
        await restarted.connect()

        job = await stand.submit()
        await restarted.until(lambda: job in restarted.assigned)
        for one in (restarted, again):
            await one.close()
