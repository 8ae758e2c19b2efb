"""The submission service over gRPC on a real database, called with AWS-shaped JSON."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg
import grpc
from google.protobuf import message_factory
from google.protobuf.json_format import MessageToDict, ParseDict
from support.patience import PATIENCE_SECONDS

from longshore.rpc.channel import open_channel
from longshore.rpc.errors import from_rpc_error
from longshore.state.pool import open_pool
from longshore.submission.__main__ import serving
from longshore.submission.config import SubmissionConfig
from longshore.v1 import (
    job_control_service_pb2,
    job_control_service_pb2_grpc,
    submission_service_pb2,
    submission_service_pb2_grpc,
)

Json = dict[str, Any]
_SERVICE = submission_service_pb2.DESCRIPTOR.services_by_name["SubmissionService"]
_CONTROL = job_control_service_pb2.DESCRIPTOR.services_by_name["JobControlService"]
_INPUTS = {
    m.name: message_factory.GetMessageClass(m.input_type)
    for service in (_SERVICE, _CONTROL)
    for m in service.methods
}


def a_container(*, vcpus: int = 1, memory_mib: int = 64, **members: Any) -> Json:
    """Container properties of a small job."""
    return {
        "image": "busybox",
        "command": ["echo", "hello"],
        "resourceRequirements": [
            {"type": "VCPU", "value": str(vcpus)},
            {"type": "MEMORY", "value": str(memory_mib)},
        ],
        **members,
    }


def several_of(name: str, **members: Any) -> Json:
    """One of several containers."""
    return {"name": name} | a_container(**members)


def some_nodes(*ranges: Json, num_nodes: int = 4, main_node: int = 0) -> Json:
    """Node properties; without ranges all nodes run the same small container."""
    return {
        "numNodes": num_nodes,
        "mainNode": main_node,
        "nodeRangeProperties": list(ranges) or [a_range()],
    }


def a_range(target_nodes: str = ":", container: Json | None = None, **members: Any) -> Json:
    """What runs on some nodes."""
    return {"targetNodes": target_nodes, "container": container or a_container(), **members}


def a_queue(name: str = "q", *environments: str, **members: Any) -> Json:
    """Members of CreateJobQueue."""
    names = environments or ("ce",)
    order = [{"order": n, "computeEnvironment": e} for n, e in enumerate(names, 1)]
    return {
        "jobQueueName": name,
        "priority": 1,
        "computeEnvironmentOrder": order,
        **members,
    }


class Stand:
    """A running service, a client of it, and its database."""

    def __init__(self, target: str, channel: grpc.aio.Channel, conn: asyncpg.Connection) -> None:
        #: `host:port` of the service.
        self.target = target
        self._stub = submission_service_pb2_grpc.SubmissionServiceStub(channel)
        self._control = job_control_service_pb2_grpc.JobControlServiceStub(channel)
        self.conn = conn

    async def __call__(
        self,
        operation: str,
        /,
        metadata: Mapping[str, str | bytes] | None = None,
        **members: Any,
    ) -> Json:
        """Calls an operation; a refusal is raised as the error it was on the other side."""
        request = ParseDict(members, _INPUTS[operation]())
        try:
            own = self._control if operation in _CONTROL.methods_by_name else self._stub
            answer = await getattr(own, operation)(
                request, timeout=PATIENCE_SECONDS, metadata=tuple((metadata or {}).items())
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return MessageToDict(answer)

    async def stop(self, action: str, *, selection: Json, **members: Any) -> list[Json]:
        """Stops jobs by what they have in common; all answers."""
        given = {"action": f"STOP_ACTION_{action}", "reason": "enough", **members}
        request = ParseDict({"selection": selection, **given}, _INPUTS["StopJobs"]())
        try:
            return [
                MessageToDict(answer, always_print_fields_with_no_presence=True)
                async for answer in self._control.StopJobs(request, timeout=PATIENCE_SECONDS)
            ]
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def prepare(self) -> None:
        """Makes a compute environment `ce`, a queue `q` and a definition `d`."""
        await self("CreateComputeEnvironment", computeEnvironmentName="ce", type="UNMANAGED")
        await self("CreateJobQueue", **a_queue())
        await self.register()

    async def register(self, name: str = "d", container: Json | None = None, **members: Any) -> str:
        """Registers a definition and returns its ARN."""
        answer = await self(
            "RegisterJobDefinition",
            jobDefinitionName=name,
            type="container",
            containerProperties=container or a_container(),
            **members,
        )
        return str(answer["jobDefinitionArn"])

    async def register_nodes(self, name: str = "n", *, nodes: Json, **members: Any) -> str:
        """Registers a multi-node definition and returns its ARN."""
        answer = await self(
            "RegisterJobDefinition",
            jobDefinitionName=name,
            type="multinode",
            nodeProperties=nodes,
            **members,
        )
        return str(answer["jobDefinitionArn"])

    async def register_several(self, name: str = "m", **members: Any) -> str:
        """Registers a definition of two containers, `main` and `side`, and returns its ARN."""
        containers = [several_of("main"), several_of("side", essential=False)]
        properties = {"taskProperties": [{"containers": containers}]}
        answer = await self(
            "RegisterJobDefinition",
            **{"jobDefinitionName": name, "type": "container", "ecsProperties": properties}
            | members,
        )
        return str(answer["jobDefinitionArn"])

    async def submit(self, metadata: Mapping[str, str] | None = None, **members: Any) -> str:
        """Submits a job of definition `d` to queue `q` and returns its id."""
        defaults: Json = {"jobName": "j", "jobQueue": "q", "jobDefinition": "d"}
        return str((await self("SubmitJob", metadata, **defaults | members))["jobId"])

    async def describe(self, job_id: str) -> Json:
        """The one job of an id."""
        (job,) = (await self("DescribeJobs", jobs=[job_id]))["jobs"]
        return dict(job)

    async def job_count(self) -> int:
        """How many rows of jobs there are."""
        return int(await self.conn.fetchval("SELECT count(*) FROM jobs"))


@contextlib.asynccontextmanager
async def submission_stand(database_url: str, **settings: str) -> AsyncIterator[Stand]:
    """A running service on a free port, with settings besides."""
    config = SubmissionConfig.from_environment(
        {
            "LONGSHORE_DATABASE_URL": database_url,
            "LONGSHORE_SUBMISSION_ADDRESS": "127.0.0.1:0",
            **settings,
        }
    )
    config = dataclasses.replace(config, doors=None)
    async with contextlib.AsyncExitStack() as stack:
        pool = await open_pool(database_url)
        stack.push_async_callback(pool.close)
        server = await stack.enter_async_context(serving(config, pool))
        target = f"127.0.0.1:{server.port}"
        channel = await stack.enter_async_context(open_channel(target))
        conn = await asyncpg.connect(database_url)
        stack.push_async_callback(conn.close)
        yield Stand(target, channel, conn)
