"""The real gateway in front of a real gRPC server whose answers the test chooses."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import boto3
import grpc
import pytest
from botocore.config import Config
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from support.contract import SERVICE
from support.patience import PATIENCE_SECONDS

from longshore.gateway.behind import SERVICES
from longshore.gateway.config import GatewayConfig
from longshore.gateway.server import serve
from longshore.rpc.server import GrpcServer
from longshore.v1 import audit_service_pb2, submission_service_pb2_grpc

AUDIT = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]


@dataclass
class Received:
    """One call as the submission service saw it."""

    operation: str
    request: Message
    metadata: dict[str, str]
    seconds_left: float


@dataclass
class Submission:
    """Stands for the submission service: keeps what comes, answers what it was told to."""

    answers: dict[str, Message | Exception] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    hold: asyncio.Event | None = None
    #: What the gateway put on record.
    recorded: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)

    async def RecordCalls(  # noqa: N802 - gRPC's name
        self, request: audit_service_pb2.RecordCallsRequest, _context: object
    ) -> audit_service_pb2.RecordCallsResponse:
        """Takes records, as AuditService does."""
        for entry in request.records:
            self.recorded.put_nowait(json.loads(entry.record))
        return audit_service_pb2.RecordCallsResponse()

    def servicer(self) -> submission_service_pb2_grpc.SubmissionServiceServicer:
        """A servicer with every rpc of the service, whichever these are."""
        behaviours = {method.name: self._behaviour(method) for method in SERVICE.methods}
        base = submission_service_pb2_grpc.SubmissionServiceServicer
        return type("Servicer", (base,), behaviours)()  # type: ignore[no-any-return]

    def _behaviour(self, method: Any) -> Callable[..., Any]:
        empty = GetMessageClass(method.output_type)

        async def behave(_: Any, request: Message, context: Any) -> Message:
            metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
            left = context.time_remaining()
            self.received.append(Received(method.name, request, metadata, left))
            self.entered.set()
            if self.hold is not None:
                await self.hold.wait()
            answer = self.answers.get(method.name, empty())
            if isinstance(answer, Exception):
                raise answer
            return answer

        return behave


@dataclass
class Stack:
    """A running gateway with what is behind it."""

    submission: Submission
    server: GrpcServer
    url: str
    stop: asyncio.Event
    serving: asyncio.Task[None]

    @property
    def last(self) -> Received:
        """The latest call that reached the submission service."""
        return self.submission.received[-1]

    async def boto(self, operation: str, /, region: str = "us-east-1", **parameters: Any) -> Any:
        """Calls through boto3 in a thread, as boto3 blocks."""
        return await asyncio.to_thread(self._boto, operation, region, parameters)

    def _boto(self, operation: str, region: str, parameters: dict[str, Any]) -> Any:
        client = boto3.client(
            "batch",
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id="anyone",
            aws_secret_access_key="anything",  # noqa: S106 - any credentials will do
            config=Config(retries={"total_max_attempts": 1}, read_timeout=PATIENCE_SECONDS),
        )
        try:
            return getattr(client, operation)(**parameters)
        finally:
            client.close()

    @asynccontextmanager
    async def http(self, method: str, path: str, **options: Any) -> AsyncIterator[Any]:
        """A plain request; `path` goes out as it is written."""
        from yarl import URL  # noqa: PLC0415 - the one place that needs unquoted URLs

        async with (
            aiohttp.ClientSession() as session,
            session.request(method, URL(self.url + path, encoded=True), **options) as response,
        ):
            yield response

    async def refused(self, method: str, path: str, **options: Any) -> tuple[int, str, str]:
        """Status, code and message of a request that must fail in AWS's form."""
        async with self.http(method, path, **options) as response:
            body = await response.json()
            assert response.headers["x-amzn-errortype"] == body["__type"]
            assert len(response.headers["x-amzn-RequestId"]) == 36
            return response.status, body["__type"], body["message"]


def _audit(submission: Submission) -> grpc.GenericRpcHandler:
    handler = grpc.unary_unary_rpc_method_handler(
        submission.RecordCalls,
        audit_service_pb2.RecordCallsRequest.FromString,
        audit_service_pb2.RecordCallsResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(AUDIT.full_name, {"RecordCalls": handler})


@asynccontextmanager
async def run_stack(**settings: Any) -> AsyncIterator[Stack]:
    """Starts both, with some of the gateway's settings changed."""
    submission = Submission()
    server = GrpcServer("127.0.0.1:0")
    server.add(
        submission_service_pb2_grpc.add_SubmissionServiceServicer_to_server,
        submission.servicer(),
        SERVICE.full_name,
    )
    server.add(
        lambda _, grpc_server: grpc_server.add_generic_rpc_handlers((_audit(submission),)),
        submission,
        AUDIT.full_name,
    )
    async with server:
        await server.set_serving(True)
        address = settings.pop("submission_address", f"127.0.0.1:{server.port}")
        config = GatewayConfig("127.0.0.1:0", dict.fromkeys(SERVICES, address), **settings)
        stop = asyncio.Event()
        ready = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(config, stop, ready))
        await asyncio.wait(
            {serving, ready}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_SECONDS
        )
        url = f"http://127.0.0.1:{ready.result()}"
        try:
            yield Stack(submission, server, url, stop, serving)
        finally:
            stop.set()
            if submission.hold is not None:
                submission.hold.set()
            await serving


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    async with run_stack() as running:
        yield running


@pytest.fixture
def start() -> Callable[..., Any]:
    """For tests that need settings of their own."""
    return run_stack
