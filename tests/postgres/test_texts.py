"""No text of any request can bring a service to an internal error: it is refused by its member.

Every text of every rpc that takes one message is found by the descriptors, so a new one is tried
by itself.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import grpc
import pytest
from capacity_world import a_world
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from support.patience import PATIENCE_SECONDS

from longshore.logs.service import LogsService
from longshore.logs.servicer import LogServicer
from longshore.logs.store import LogStore
from longshore.rpc.channel import open_channel
from longshore.rpc.errors import from_rpc_error
from longshore.rpc.server import GrpcServer
from longshore.scaler.report import CapacityReports
from longshore.scaler.servicer import ScalerServicer
from longshore.scheduler.wire.servicer import SchedulerServicer
from longshore.submission.__main__ import serving
from longshore.submission.config import SubmissionConfig
from longshore.v1 import (
    job_control_service_pb2,
    log_service_pb2,
    log_service_pb2_grpc,
    provisioning_service_pb2,
    scaler_service_pb2,
    scaler_service_pb2_grpc,
    scheduler_service_pb2,
    scheduler_service_pb2_grpc,
    submission_service_pb2,
)

ODD_ARN = "arn:aws:batch:eu-central-1:000000000000:job-queue/../../\N{SNOWMAN}/'; DROP TABLE jobs"
CODES = grpc.StatusCode
#: Texts that name something which the rpc reads: what cannot be a name is refused.
NAMES = (
    "compute_environment",
    "compute_environments",
    "job_queue",
    "job_queues",
    "instance_id",
    "job_definition_name",
    "job_definitions",
    "resource_arn",
)
MODULES = (
    job_control_service_pb2,
    submission_service_pb2,
    scheduler_service_pb2,
    scaler_service_pb2,
    provisioning_service_pb2,
    log_service_pb2,
)


def methods() -> list[MethodDescriptor]:
    """All that take one message."""
    found = [
        method
        for module in MODULES
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if not method.client_streaming
    ]
    assert len(found) > 25
    return found


def texts(
    descriptor: Descriptor, seen: tuple[Descriptor, ...] = ()
) -> Iterator[tuple[FieldDescriptor, ...]]:
    """The ways to all texts of a message."""
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield (field,)
        elif field.message_type and field.message_type not in (*seen, descriptor):
            for rest in texts(field.message_type, (*seen, descriptor)):
                yield (field, *rest)


def put(message: Message, way: tuple[FieldDescriptor, ...], value: str) -> str:
    """Sets one text; returns its JSON path."""
    field, *rest = way
    if field.message_type and field.message_type.GetOptions().map_entry:
        is_key = rest[0].name == "key"
        entries = getattr(message, field.name)
        if rest[-1].type == FieldDescriptor.TYPE_STRING and len(rest) == 1:
            entries[value if is_key else "k"] = "v" if is_key else value
        return field.json_name if is_key else f"{field.json_name}.k"
    if field.is_repeated:
        entries = getattr(message, field.name)
        if not rest:
            entries.append(value)
            return f"{field.json_name}[0]"
        return f"{field.json_name}[0].{put(entries.add(), tuple(rest), value)}"
    if not rest:
        setattr(message, field.name, value)
        return field.json_name
    getattr(message, field.name).SetInParent()
    return f"{field.json_name}.{put(getattr(message, field.name), tuple(rest), value)}"


async def answer(
    channel: grpc.aio.Channel, method: MethodDescriptor, request: Message
) -> tuple[grpc.StatusCode, str, str]:
    """The code of an answer, the member that it blames, and what it says."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    codecs: Any = {
        "request_serializer": lambda message: message.SerializeToString(),
        "response_deserializer": lambda data: data,
    }
    try:
        if method.server_streaming:
            async for _ in channel.unary_stream(path, **codecs)(request, timeout=PATIENCE_SECONDS):
                pass
        else:
            await channel.unary_unary(path, **codecs)(request, timeout=PATIENCE_SECONDS)
    except grpc.aio.AioRpcError as error:
        fields = from_rpc_error(error).fields
        return error.code(), fields.get("member", ""), error.details() or ""
    return CODES.OK, "", ""


@contextlib.asynccontextmanager
async def services(
    database_url: str, directory: Path
) -> AsyncIterator[dict[str, grpc.aio.Channel]]:
    """A channel to each service, by its name."""
    config = SubmissionConfig.from_environment(
        {"LONGSHORE_DATABASE_URL": database_url, "LONGSHORE_SUBMISSION_ADDRESS": "127.0.0.1:0"}
    )
    config = replace(config, doors=None)
    async with contextlib.AsyncExitStack() as stack:
        world = await stack.enter_async_context(a_world(database_url, directory / "instances"))
        submission = await stack.enter_async_context(serving(config, world.pool))
        others = GrpcServer("127.0.0.1:0")
        others.add(
            scaler_service_pb2_grpc.add_ScalerServiceServicer_to_server,
            ScalerServicer(world.scaler, CapacityReports(world.pool)),
            "longshore.v1.ScalerService",
        )
        others.add(
            scheduler_service_pb2_grpc.add_SchedulerServiceServicer_to_server,
            SchedulerServicer(world.pool),
            "longshore.v1.SchedulerService",
        )
        others.add(
            log_service_pb2_grpc.add_LogServiceServicer_to_server,
            LogServicer(LogsService(LogStore(directory / "logs"))),
            "longshore.v1.LogService",
        )
        await stack.enter_async_context(others)
        ports = {
            "SubmissionService": submission.port,
            "JobControlService": submission.port,
            "ProvisioningService": world.port,
            "ScalerService": others.port,
            "SchedulerService": others.port,
            "LogService": others.port,
        }
        yield {
            name: await stack.enter_async_context(open_channel(f"127.0.0.1:{port}"))
            for name, port in ports.items()
        }


@pytest.mark.parametrize("kind", ["nul", "long", "odd"])
async def test_every_text_of_every_request(database_url: str, tmp_path: Path, kind: str) -> None:
    value = {"nul": "a\0b", "long": "x" * 1_000_000, "odd": ODD_ARN}[kind]
    wrong = []
    tried = 0
    async with services(database_url, tmp_path) as channels:
        for method in methods():
            channel = channels[method.containing_service.name]
            reads = method.name.startswith(("Describe", "List", "Get", "Explain", "Tail"))
            for way in texts(method.input_type):
                request = message_factory.GetMessageClass(method.input_type)()
                member = put(request, way, value)
                code, blamed, said = await answer(channel, method, request)
                tried += 1
                if kind == "odd":
                    good = code not in (CODES.INTERNAL, CODES.UNKNOWN, CODES.UNAVAILABLE)
                    if reads and way[-1].name in NAMES:
                        good = code is CODES.INVALID_ARGUMENT and blamed != ""
                else:
                    good = code is CODES.INVALID_ARGUMENT and blamed == member
                if not good:
                    wrong.append((method.name, member, code.name, blamed, said[:80]))
    assert not wrong, (len(wrong), wrong[:40])
    assert tried > 150


@pytest.mark.parametrize("name", ["TailLogs", "ListInstances"])
async def test_what_is_no_text_at_all_is_refused(
    database_url: str, tmp_path: Path, name: str
) -> None:
    """Bytes that are not UTF-8, which no generated client sends."""
    method = next(method for method in methods() if method.name == name)

    async with services(database_url, tmp_path) as channels:
        raw: Any = Mock()
        raw.SerializeToString.return_value = b"\x0a\x02\xff\xfe"
        code, _, said = await answer(channels[method.containing_service.name], method, raw)
        assert code is CODES.INVALID_ARGUMENT, said
