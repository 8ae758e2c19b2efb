"""The table of errors both ways, over a real server: unary and streaming."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from support.patience import PATIENCE_SECONDS

from longshore.domain import errors
from longshore.rpc.channel import open_channel
from longshore.rpc.errors import MESSAGE_LIMIT, code_of, from_rpc_error, to_status
from longshore.rpc.server import GrpcServer
from longshore.v1 import error_pb2

SERVICE = "longshore.test.Echo"
LEAVES = {
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.LimitExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.PreconditionFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.StaleLease: grpc.StatusCode.ABORTED,
    errors.Throttled: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
}
HOW = ["unary", "server_stream", "both_streams"]


class Failing:
    """Answers every call with the error it was made with."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def unary(self, _request: StringValue, _context: object) -> StringValue:
        raise self.error

    async def server_stream(
        self, request: StringValue, _context: object
    ) -> AsyncIterator[StringValue]:
        yield request
        raise self.error

    async def both_streams(
        self, requests: AsyncIterator[StringValue], _context: object
    ) -> AsyncIterator[StringValue]:
        async for request in requests:
            yield request
            raise self.error


def register(servicer: Failing, server: grpc.aio.Server) -> None:
    """As generated code registers a service."""
    coding = {
        "request_deserializer": StringValue.FromString,
        "response_serializer": StringValue.SerializeToString,
    }
    handlers = {
        "unary": grpc.unary_unary_rpc_method_handler(servicer.unary, **coding),
        "server_stream": grpc.unary_stream_rpc_method_handler(servicer.server_stream, **coding),
        "both_streams": grpc.stream_stream_rpc_method_handler(servicer.both_streams, **coding),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


async def refused(how: str, error: Exception) -> tuple[grpc.aio.AioRpcError, int]:
    """What a caller is told, and how many answers came before."""
    server = GrpcServer("127.0.0.1:0")
    server.add(register, Failing(error), SERVICE)
    async with server, open_channel(f"127.0.0.1:{server.port}") as channel:
        coding = (StringValue.SerializeToString, StringValue.FromString)
        answers = 0
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012 - one call, of three kinds
            if how == "unary":
                await channel.unary_unary(f"/{SERVICE}/unary", *coding)(
                    StringValue(), timeout=PATIENCE_SECONDS
                )
            elif how == "server_stream":
                call = channel.unary_stream(f"/{SERVICE}/{how}", *coding)(
                    StringValue(), timeout=PATIENCE_SECONDS
                )
                async for _ in call:
                    answers += 1
            else:
                stream = channel.stream_stream(f"/{SERVICE}/{how}", *coding)(
                    timeout=PATIENCE_SECONDS
                )
                await stream.write(StringValue())
                async for _ in stream:
                    answers += 1
        return caught.value, answers


def test_every_leaf_has_its_own_code_and_reason() -> None:
    leaves = set(errors.LongshoreError.__subclasses__()) & {
        value for value in vars(errors).values() if isinstance(value, type)
    }
    assert leaves == set(LEAVES)
    assert {cls: code_of(cls("x")) for cls in LEAVES} == LEAVES
    assert len({cls.reason for cls in LEAVES}) == len(LEAVES)


def test_a_class_below_a_leaf_has_the_leafs_code() -> None:
    class Narrower(errors.NotFound):
        reason = "NARROWER"

    assert code_of(Narrower("x")) is grpc.StatusCode.NOT_FOUND
    assert code_of(errors.LongshoreError("x")) is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("cls", LEAVES)
async def test_an_error_arrives_as_it_was_raised(
    cls: type[errors.LongshoreError], how: str
) -> None:
    told, answers = await refused(how, cls("Nein: äöü — 作业\n2nd line", job_id="j-1"))
    assert told.code() is LEAVES[cls]
    assert answers == (0 if how == "unary" else 1)
    error = from_rpc_error(told)
    assert type(error) is cls
    assert error.message == "Nein: äöü — 作业\n2nd line"
    assert error.fields == {"job_id": "j-1"}


async def test_the_member_at_fault_arrives() -> None:
    told, _ = await refused("unary", errors.InvalidRequest("wrong", member="a.b[0]"))
    error = from_rpc_error(told)
    assert isinstance(error, errors.InvalidRequest)
    assert error.member == "a.b[0]"


@pytest.mark.parametrize("how", HOW)
async def test_the_contracts_own_message_reads_what_a_refusal_tells(how: str) -> None:
    """Clients made from the protos alone have no google.rpc."""
    told, _ = await refused(how, errors.NotFound("gone", member="jobQueue"))
    (details,) = (v for k, v in told.trailing_metadata() if k == "grpc-status-details-bin")
    assert isinstance(details, bytes)
    assert error_pb2.ErrorStatus.FromString(details) == error_pb2.ErrorStatus(
        code=grpc.StatusCode.NOT_FOUND.value[0],
        message="gone",
        details=[
            error_pb2.ErrorDetail(
                type_url="type.googleapis.com/google.rpc.ErrorInfo",
                value=error_pb2.ErrorInfo(
                    reason="NOT_FOUND", domain="longshore", metadata={"member": "jobQueue"}
                ),
            )
        ],
    )


def test_the_contract_names_every_reason() -> None:
    proto = Path(__file__).parents[3] / "protos" / "longshore" / "v1" / "error.proto"
    assert not [cls.reason for cls in LEAVES if f"{cls.reason} (" not in proto.read_text()]


@pytest.mark.parametrize("how", HOW)
async def test_an_unknown_exception_is_internal_and_leaks_nothing(how: str) -> None:
    with capture_logs() as logs:
        told, _ = await refused(how, ValueError("password=hunter2"))
    assert told.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in repr(told)
    assert "ValueError" not in repr(told)
    assert type(from_rpc_error(told)) is errors.LongshoreError
    assert [(line["event"], line["method"], line["log_level"]) for line in logs] == [
        ("rpc.failed", how, "error")
    ]


@pytest.mark.parametrize("how", HOW)
async def test_a_refusal_is_logged_once(how: str) -> None:
    with capture_logs() as logs:
        await refused(how, errors.NotFound("no such thing"))
    assert [(line["event"], line["reason"]) for line in logs] == [("rpc.refused", "NOT_FOUND")]


@pytest.mark.parametrize("letter", ["m", "ü", "…", "🚢"])
async def test_a_message_too_long_for_a_trailer_is_cut(letter: str) -> None:
    fields = dict.fromkeys(["member", "value", "limit", "name"], letter * 100_000)
    told, _ = await refused("unary", errors.InvalidRequest(letter * 100_000, **fields))
    error = from_rpc_error(told)
    assert isinstance(error, errors.InvalidRequest)
    assert MESSAGE_LIMIT - 4 < len(error.message.encode()) <= MESSAGE_LIMIT
    assert error.message.endswith(f"{letter}…")
    # Beyond 8 KiB a client refuses at random, so that one call proves little.
    sent = sum(len(name) + len(value) + 32 for name, value in told.trailing_metadata())
    assert sent + len(quote(told.details())) < 8 * 1024


@given(st.text(max_size=200), st.dictionaries(st.text("abc", min_size=1), st.text(max_size=20)))
def test_a_status_carries_any_text(message: str, fields: dict[str, str]) -> None:
    status = to_status(errors.NotFound(message, **fields))
    assert status.message == message
    assert status.code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_a_peer_that_is_away_is_unavailable() -> None:
    async with open_channel("127.0.0.1:1") as channel:
        call = channel.unary_unary(f"/{SERVICE}/unary")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"", timeout=PATIENCE_SECONDS)
    assert isinstance(from_rpc_error(caught.value), errors.Unavailable)


async def test_an_unknown_method_is_unimplemented() -> None:
    server = GrpcServer("127.0.0.1:0")
    async with server, open_channel(f"127.0.0.1:{server.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(f"/{SERVICE}/nothing")(b"", timeout=PATIENCE_SECONDS)
    assert isinstance(from_rpc_error(caught.value), errors.Unimplemented)
