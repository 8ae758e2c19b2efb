"""What every server has: health, reflection, a clean stop."""

import asyncio

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from support.patience import PATIENCE_SECONDS

from longshore.domain.errors import Unavailable
from longshore.rpc import server as server_module
from longshore.rpc.channel import open_channel
from longshore.rpc.server import GrpcServer

SERVICE = "longshore.v1.SchedulerService"
_METHOD = f"/{SERVICE}/Wait"


class Slow:
    """A call that ends when its test says so."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def wait(self, request: StringValue, _context: object) -> StringValue:
        self.begun.set()
        await self.may_end.wait()
        return request


def register(servicer: Slow, server: grpc.aio.Server) -> None:
    handler = grpc.unary_unary_rpc_method_handler(
        servicer.wait, StringValue.FromString, StringValue.SerializeToString
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"Wait": handler}),)
    )


def a_server(servicer: Slow) -> GrpcServer:
    server = GrpcServer("127.0.0.1:0")
    server.add(register, servicer, SERVICE)
    return server


async def test_health_says_whether_the_service_does_its_work() -> None:
    async with a_server(Slow()) as server, open_channel(f"127.0.0.1:{server.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)

        async def status(service: str) -> int:
            answer = await health.Check(
                health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE_SECONDS
            )
            return int(answer.status)

        for serving in (False, True, False):
            if serving or await status("") == health_pb2.HealthCheckResponse.SERVING:
                await server.set_serving(serving)
            expected = (
                health_pb2.HealthCheckResponse.SERVING
                if serving
                else health_pb2.HealthCheckResponse.NOT_SERVING
            )
            assert [await status(""), await status(SERVICE)] == [expected, expected]


async def test_reflection_lists_the_services() -> None:
    async with a_server(Slow()) as server, open_channel(f"127.0.0.1:{server.port}") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(timeout=PATIENCE_SECONDS)
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        answer = await call.read()
        await call.done_writing()
        names = {service.name for service in answer.list_services_response.service}
        assert {SERVICE, "grpc.health.v1.Health"} <= names


async def test_a_call_under_way_ends_before_the_server_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the server as soon as it has."""
    monkeypatch.setattr(server_module, "DRAIN_SECONDS", 3600.0)
    servicer = Slow()
    server = a_server(servicer)
    await server.__aenter__()
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        method = channel.unary_unary(_METHOD, StringValue.SerializeToString, StringValue.FromString)
        call = asyncio.ensure_future(method(StringValue(value="x"), timeout=PATIENCE_SECONDS))
        await asyncio.wait_for(servicer.begun.wait(), PATIENCE_SECONDS)
        stopping = asyncio.create_task(server.__aexit__(None, None, None))
        await asyncio.sleep(0)
        servicer.may_end.set()
        assert (await call).value == "x"
        await asyncio.wait_for(stopping, PATIENCE_SECONDS)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await method(StringValue(), timeout=PATIENCE_SECONDS)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with a_server(Slow()) as server:
        with pytest.raises(Unavailable):
            await GrpcServer(f"127.0.0.1:{server.port}").__aenter__()
