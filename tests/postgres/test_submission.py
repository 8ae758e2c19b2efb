"""The submission service over gRPC on a real PostgreSQL: the first things a user does."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import grpc
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from longshore.rpc.channel import open_channel
from longshore.rpc.errors import from_rpc_error
from longshore.state.pool import open_pool
from longshore.submission.__main__ import serving
from longshore.submission.config import SubmissionConfig
from longshore.v1 import submission_service_pb2, submission_service_pb2_grpc
from google.protobuf import message_factory, symbol_database

CONTAINER = {
    "image": "busybox",
    "command": ["echo", "hello"],
    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}],
}
QUEUE = {"jobQueueName": "q", "priority": 1, "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "ce"}]}


class Client:
    """Calls operations by name with AWS-shaped JSON."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = submission_service_pb2_grpc.SubmissionServiceStub(channel)
        service = submission_service_pb2.DESCRIPTOR.services_by_name["SubmissionService"]
        self._inputs = {m.name: message_factory.GetMessageClass(m.input_type) for m in service.methods}

    async def __call__(self, operation: str, metadata: dict[str, str] | None = None, **members: object) -> dict:
        request = ParseDict(members, self._inputs[operation]())
        try:
            answer = await getattr(self._stub, operation)(
                request, timeout=10, metadata=tuple((metadata or {}).items())
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return MessageToDict(answer)


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    config = SubmissionConfig.from_environment(
        {"LONGSHORE_DATABASE_URL": database_url, "LONGSHORE_SUBMISSION_ADDRESS": "127.0.0.1:0"}
    )
    pool = await open_pool(database_url)
    try:
        async with serving(config, pool) as server, open_channel(f"127.0.0.1:{server.port}") as channel:
            yield Client(channel)
    finally:
        await pool.close()


async def test_first(client: Client) -> None:
    print(await client("CreateComputeEnvironment", computeEnvironmentName="ce", type="UNMANAGED"))
    print(await client("CreateJobQueue", **QUEUE))
    print(await client("RegisterJobDefinition", jobDefinitionName="hello", type="container", containerProperties=CONTAINER))
    job = await client("SubmitJob", jobName="a", jobQueue="q", jobDefinition="hello")
    print(job)
    arr = await client("SubmitJob", jobName="b", jobQueue="q", jobDefinition="hello:1", arrayProperties={"size": 5}, dependsOn=[{"jobId": job["jobId"]}],
       containerOverrides={"environment": [{"name": "A", "value": "b"}], "resourceRequirements": [{"type": "VCPU", "value": "2"}]})
    print(await client("DescribeJobs", jobs=[job["jobId"], arr["jobId"]]))
    print(await client("ListJobs", jobQueue="q", jobStatus="SUBMITTED"))
    print(await client("CancelJob", jobId=job["jobId"], reason="x"))
    print(await client("TerminateJobs", jobs=[arr["jobId"], str(uuid.uuid4()), "bad"], reason="x"))
    print(await client("DescribeComputeEnvironments"))
    print(await client("DescribeJobQueues"))
    print(await client("DescribeJobDefinitions"))
    print(await client("DescribeJobs", jobs=[job["jobId"], arr["jobId"]]))
