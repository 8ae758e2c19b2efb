"""Messages on the agents' streams are bounded by their bytes, in both directions."""

import asyncio
import uuid

import grpc
import pytest
from support.patience import PATIENCE_SECONDS
from support.scheduling import Agent, Ended, Stand, scheduler_stand

from longshore.rpc.batch import BATCH_BYTES
from longshore.scheduler.wire.servicer import REQUEST_BYTES
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import job_definition_pb2

CHILDREN = 600
CONTAINER_BYTES = 40_000


async def a_large_array(stand: Stand) -> str:
    """Children whose container is large: together more than a message may have."""
    job = await stand.submit(size=CHILDREN)
    container = job_definition_pb2.ContainerProperties(image="x", command=["y" * CONTAINER_BYTES])
    await stand.conn.execute(
        "UPDATE job_specs SET container = $2 WHERE job_id = $1",
        uuid.UUID(job),
        container.SerializeToString(),
    )
    return job


async def test_many_children_with_a_large_container_reach_their_agent(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        job = await a_large_array(stand)
        agent = await stand.agent(vcpus=CHILDREN)
        await agent.until(lambda: len(agent.assigned) == CHILDREN)
        assert agent.largest < BATCH_BYTES + 2 * CONTAINER_BYTES
        await agent.close()
        agent.assigned.clear()
        registered = await agent.connect()
        assert len(registered.assignments) == len(agent.assigned) == CHILDREN
        assert registered.ByteSize() > 16 * BATCH_BYTES
        assert all(a.container.command for a in registered.assignments)
        for child in list(agent.assigned):
            await agent.end(child, Ended(), started=True)
        await stand.until(job, "SUCCEEDED")
        assert len(agent.seen) == 2 * CHILDREN


async def test_a_message_that_is_too_large_ends_its_stream_alone(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent, other = await stand.agent(vcpus=1), await stand.agent(vcpus=1)
        report = pb.AgentReport(sequence=1)
        report.changes.add(status_reason="x" * REQUEST_BYTES)
        await agent._call.write(pb.ConnectRequest(report=report))
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await agent._call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "send it in parts" in (await agent._call.details() or "")
        job = await stand.submit()
        await other.until(lambda: job in other.assigned)


async def test_a_registration_that_is_too_large_is_refused(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        name = await stand.environment()
        agent = Agent(stand.port, "i-00000000000000000", name, 1)
        many = [pb.AttemptKey(job_id="x" * 1_000, attempt=1)] * (REQUEST_BYTES // 1_000 + 1)
        with pytest.raises(grpc.aio.AioRpcError, match="send it in parts"):
            await agent.connect(many)
        await agent._channel.close()
