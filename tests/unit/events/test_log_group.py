"""Log groups as targets: events of one target share calls, and what may pass is tried again."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.events.senders.log_group import CALL_BYTES, LogGroups
from longshore.state.events.delivery import Delivery, Lane, TargetRecord
from longshore.v1 import cloudwatch_logs_service_pb2 as pb

ARNS = Arns("123456789012", "us-east-1")
ARN = "arn:aws:logs:us-east-1:123456789012:log-group:/g"
LANE = Lane("default", "r", "t")


class Logs:
    """A log service that refuses what its test says."""

    def __init__(self, *refusals: grpc.StatusCode) -> None:
        self.refusals = list(refusals)
        self.put: list[pb.PutLogEventsRequest] = []
        self.made: list[str] = []
        self.bad = ""

    async def PutLogEvents(self, request: pb.PutLogEventsRequest, timeout: float) -> None:  # noqa: ARG002, ASYNC109, N802 - as the stub's
        if self.refusals:
            raise error(self.refusals.pop(0))
        if self.bad and any(self.bad in event.message for event in request.log_events):
            raise error(grpc.StatusCode.INVALID_ARGUMENT)
        self.put.append(request)

    async def CreateLogGroup(self, request: pb.CreateLogGroupRequest, timeout: float) -> None:  # noqa: ARG002, ASYNC109, N802 - as the stub's
        self.made.append(request.log_group_name)

    async def CreateLogStream(self, request: pb.CreateLogStreamRequest, timeout: float) -> None:  # noqa: ARG002, ASYNC109, N802 - as the stub's
        self.made.append(request.log_stream_name)


def error(code: grpc.StatusCode) -> AioRpcError:
    """A call that did not go through."""
    return AioRpcError(code, Metadata(), Metadata())


def taken(*texts: str, at: datetime | None = None) -> list[Delivery]:
    """Events whose details have texts."""
    at = at or datetime.now(UTC)
    return [
        Delivery(number, uuid.UUID(int=number), json.dumps({"detail": text}), at, 0, 0.0)
        for number, text in enumerate(texts)
    ]


async def sent(logs: Logs, some: list[Delivery], **given: Any) -> list[tuple[str, bool] | None]:
    """What became of events, by code and whether they are tried again."""
    target: Json = {"Id": "t", "Arn": ARN, **given}
    record = TargetRecord("log-group", ARN, target, None, None)
    outcomes = await LogGroups(logs, ARNS).send_all(LANE, record, some)  # type: ignore[arg-type]
    return [None if one is None else (one.code, one.again) for one in outcomes]


def texts(logs: Logs) -> list[list[str]]:
    """The details of the events of each call."""
    return [[json.loads(one.message)["detail"] for one in put.log_events] for put in logs.put]


async def test_events_share_a_call_and_a_group_is_made_once() -> None:
    logs = Logs(grpc.StatusCode.NOT_FOUND)
    assert await sent(logs, taken("a", "b", "c")) == [None] * 3
    assert texts(logs) == [["a", "b", "c"]]
    assert len(logs.made) == 2


async def test_a_call_has_one_day_in_order_and_is_not_too_large() -> None:
    logs, now = Logs(), datetime.now(UTC).replace(hour=12)
    some = [*taken("today", at=now), *taken("yesterday", at=now - timedelta(days=1))]
    assert await sent(logs, some) == [None, None]
    assert texts(logs) == [["yesterday"], ["today"]]
    logs = Logs()
    assert await sent(logs, taken(*["x" * (CALL_BYTES // 3)] * 4)) == [None] * 4
    assert [len(call) for call in texts(logs)] == [2, 2]


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    ],
)
async def test_a_call_that_was_broken_off_is_tried_again(code: grpc.StatusCode) -> None:
    [outcome] = await sent(Logs(code), taken("a"))
    assert outcome is not None
    assert outcome[1]


async def test_a_group_that_somebody_deletes_meanwhile_is_tried_again() -> None:
    logs = Logs(grpc.StatusCode.NOT_FOUND, grpc.StatusCode.NOT_FOUND)
    assert await sent(logs, taken("a")) == [("NOT_FOUND", True)]


async def test_one_that_cannot_be_put_in_is_set_aside_alone() -> None:
    logs = Logs()
    logs.bad = "bad"
    assert await sent(logs, taken("a", "bad", "c")) == [None, ("INVALID_REQUEST", False), None]
    assert texts(logs) == [["a"], ["c"]]


async def test_half_of_a_surrogate_pair_is_put_in_as_a_question_mark() -> None:
    logs = Logs()
    given = {"InputPathsMap": {"d": "$.detail"}, "InputTemplate": '"<d>"'}
    assert await sent(logs, taken("\ud800"), InputTransformer=given) == [None]
