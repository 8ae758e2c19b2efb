"""Services that speak AWS's JSON protocol: one address, the operation in a header."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from longshore.domain import errors
from longshore.gateway import behind
from longshore.gateway.config import GatewayConfig
from longshore.gateway.operation import Operations
from longshore.gateway.server import serve
from longshore.rpc.interceptor import CallInterceptor
from longshore.v1 import options_pb2

PACKAGE = "longshore.test.json"
PREFIX = "Kettle_20200101"


def declared(name: str, *, routed: bool = False) -> ServiceDescriptor:
    """A service with one operation, `Boil`, whose members are in AWS's forms."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{name}.proto",
        package=f"{PACKAGE}.{name.lower()}",
        syntax="proto3",
        dependency=["longshore/v1/options.proto"],
    )
    for message in ("BoilRequest", "BoilResponse"):
        field = descriptor_pb2.FieldDescriptorProto
        file.message_type.add(name=message).field.extend(
            [
                field(name="water", number=1, type="TYPE_STRING", json_name="Water"),
                field(name="cups", number=2, type="TYPE_INT64", json_name="cups"),
                field(
                    name="teas", number=3, type="TYPE_STRING", label="LABEL_REPEATED", json_name="T"
                ),
            ]
        )
    service = file.service.add(name=name)
    service.options.Extensions[options_pb2.json_service].CopyFrom(
        options_pb2.JsonService(
            target_prefix=PREFIX,
            invalid_request="InvalidParameterException",
            not_found="ResourceNotFoundException",
            limit_exceeded="LimitExceededException",
            precondition_failed="OperationAbortedException",
        )
    )
    scope = f".{file.package}"
    method = service.method.add(
        name="Boil", input_type=f"{scope}.BoilRequest", output_type=f"{scope}.BoilResponse"
    )
    if routed:
        method.options.Extensions[options_pb2.http].post = "/boil"
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(f"{file.package}.{name}")


KETTLE = declared("Kettle")


class Served:
    """The gateway before a kettle that answers what it is told to."""

    def __init__(self, url: str, answers: list[Any]) -> None:
        self._url = url
        self.answers = answers

    async def call(
        self, body: str, target: str = f"{PREFIX}.Boil", path: str = "/"
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body of the answer."""
        headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self._url + path, data=body.encode(), headers=headers) as response,
        ):
            return response.status, dict(response.headers), json.loads(await response.read())


@asynccontextmanager
async def kettle_server(answers: list[Any]) -> AsyncIterator[str]:
    """A server of the one service; an answer is a message or an error."""

    async def boil(request: Any, _context: Any) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer(request)

    method = KETTLE.methods_by_name["Boil"]
    handler = grpc.unary_unary_rpc_method_handler(
        boil,
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )
    server = grpc.aio.server(interceptors=[CallInterceptor()])
    server.add_registered_method_handlers(KETTLE.full_name, {"Boil": handler})
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setitem(behind.SERVICES, "kettle", (KETTLE,))
    answers: list[Any] = []
    async with kettle_server(answers) as address:
        stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        config = GatewayConfig("127.0.0.1:0", dict.fromkeys(behind.SERVICES, address))
        serving = asyncio.create_task(serve(config, stop, ready))
        try:
            yield Served(f"http://127.0.0.1:{await ready}", answers)
        finally:
            stop.set()
            await serving


async def test_an_operation_is_named_by_a_header(served: Served) -> None:
    response = GetMessageClass(KETTLE.methods_by_name["Boil"].output_type)
    served.answers.append(lambda request: response(water=request.water, cups=2**53))

    status, headers, body = await served.call('{"Water": "rain"}')

    assert (status, body) == (200, {"Water": "rain", "cups": 2**53, "T": []})
    assert headers["Content-Type"].startswith("application/x-amz-json-1.1")
    assert len(headers["x-amzn-RequestId"]) == 36


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ('{"Water": 1}', "InvalidParameterException", "Water must be a string."),
        ('{"water": "x"}', "InvalidParameterException", "Did you mean Water?"),
        ('{"Water": ', "SerializationException", "not valid JSON"),
        ("[]", "InvalidParameterException", "must be an object"),
    ],
)
async def test_what_is_wrong_with_a_body_is_said(
    served: Served, body: str, code: str, says: str
) -> None:
    status, _, answer = await served.call(body)
    assert (status, answer["__type"]) == (400, code)
    assert says in answer["message"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.InvalidRequest("x"), 400, "InvalidParameterException"),
        (errors.Unimplemented("x"), 400, "InvalidParameterException"),
        (errors.NotFound("x"), 400, "ResourceNotFoundException"),
        (errors.LimitExceeded("x"), 400, "LimitExceededException"),
        (errors.PreconditionFailed("x"), 400, "OperationAbortedException"),
        (errors.PreconditionFailed("x", code="KettleEmpty"), 400, "KettleEmpty"),
        (errors.Unavailable("x"), 503, "ServiceUnavailableException"),
        (RuntimeError("x"), 500, "InternalFailure"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
async def test_errors_have_the_services_names(
    served: Served, error: Exception, status: int, code: str
) -> None:
    served.answers.append(error)
    found, headers, body = await served.call("{}")
    assert (found, body["__type"], headers["x-amzn-errortype"]) == (status, code, code)


@pytest.mark.parametrize("target", ["Kettle_20200101.Cool", "Boil", "", "x" * 5000, "Kettle.Boil"])
async def test_unknown_targets_are_refused(served: Served, target: str) -> None:
    status, _, body = await served.call("{}", target)
    assert (status, body["__type"]) == (400, "UnknownOperationException")
    assert len(body["message"]) < 300


async def test_members_do_not_come_by_query(served: Served) -> None:
    status, _, body = await served.call("{}", path="/?Water=rain")
    assert (status, body["__type"]) == (400, "InvalidParameterException")


async def test_targets_are_at_the_root_alone(served: Served) -> None:
    status, _, body = await served.call("{}", path="/v1")
    assert (status, body["__type"]) == (404, "UnknownOperationException")


def test_an_rpc_has_a_route_or_a_target() -> None:
    with pytest.raises(TypeError, match="both a route and a target"):
        Operations([declared("Samovar", routed=True)])
