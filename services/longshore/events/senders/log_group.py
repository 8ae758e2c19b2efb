"""Log groups: each event a line of a stream for its rule and day."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import grpc

from longshore.domain.arn import Arns
from longshore.domain.errors import NotFound
from longshore.domain.events.retrying import DeliveryFailed
from longshore.events.senders.failure import failure_of
from longshore.events.senders.text import sent_text
from longshore.rpc.errors import from_rpc_error
from longshore.state.events.delivery import Delivery, Lane, TargetRecord
from longshore.v1 import cloudwatch_logs_service_pb2 as pb
from longshore.v1 import cloudwatch_logs_service_pb2_grpc

CALL_SECONDS = 10.0
#: What waited for longer than the log service takes has the time of its delivery.
OLDEST = timedelta(days=13)
#: Most bytes of lines in one call, and what counts for each line beside its text.
CALL_BYTES = 1_048_576
LINE_BYTES = 26


@dataclass(frozen=True, slots=True)
class _Line:
    """What becomes of one event."""

    #: Its place among those that were given.
    place: int
    at: datetime
    text: bytes

    @property
    def size(self) -> int:
        return len(self.text) + LINE_BYTES


class LogGroups:
    """Puts events into log groups, and makes these where they are not there yet."""

    def __init__(
        self, logs: cloudwatch_logs_service_pb2_grpc.CloudWatchLogsServiceStub, arns: Arns
    ) -> None:
        self._logs = logs
        self._arns = arns

    async def send_all(
        self, lane: Lane, target: TargetRecord, taken: Sequence[Delivery]
    ) -> Sequence[DeliveryFailed | None]:
        """Puts events in, as few calls as do; see `JointSender`."""
        outcomes: list[DeliveryFailed | None] = [None] * len(taken)
        now = datetime.now(UTC)
        lines = []
        for place, one in enumerate(taken):
            at = one.created_at if now - one.created_at < OLDEST else now
            try:
                text = sent_text(self._arns, lane, target, one)
            except DeliveryFailed as failure:
                outcomes[place] = failure
            else:
                # Half of a surrogate pair is no text on the wire.
                lines.append(_Line(place, at, text.encode(errors="replace")))
        for some in _calls(lines):
            outcome = await self._put(lane, target, some)
            if outcome is not None and not outcome.again and len(some) > 1:
                # One that cannot be put in is set aside alone.
                for line in some:
                    outcomes[line.place] = await self._put(lane, target, [line])
            else:
                for line in some:
                    outcomes[line.place] = outcome
        return outcomes

    async def _put(
        self, lane: Lane, target: TargetRecord, lines: Sequence[_Line]
    ) -> DeliveryFailed | None:
        """Puts lines of one day in; what went wrong, if anything did."""
        request = pb.PutLogEventsRequest(
            log_group_name=target.arn.partition(":log-group:")[2].removesuffix(":*"),
            log_stream_name=f"{lane.bus}/{lane.rule}/{lines[0].at:%Y-%m-%d}",
            log_events=[
                pb.InputLogEvent(
                    timestamp=int(line.at.timestamp() * 1000), message=line.text.decode()
                )
                for line in lines
            ],
        )
        try:
            try:
                await self._logs.PutLogEvents(request, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                if not isinstance(from_rpc_error(error), NotFound):
                    raise
                await self._make(request)
                await self._logs.PutLogEvents(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            failure = failure_of(error)
            # Somebody deletes it meanwhile, or it could not be made just now.
            failure.again |= isinstance(from_rpc_error(error), NotFound)
            return failure
        return None

    async def _make(self, request: pb.PutLogEventsRequest) -> None:
        """Makes the group and the stream, as far as another delivery has not done so."""
        group = pb.CreateLogGroupRequest(log_group_name=request.log_group_name)
        stream = pb.CreateLogStreamRequest(
            log_group_name=request.log_group_name, log_stream_name=request.log_stream_name
        )
        # What is wrong is said by who puts the event in afterwards.
        with contextlib.suppress(grpc.aio.AioRpcError):
            await self._logs.CreateLogGroup(group, timeout=CALL_SECONDS)
        with contextlib.suppress(grpc.aio.AioRpcError):
            await self._logs.CreateLogStream(stream, timeout=CALL_SECONDS)


def _calls(lines: Sequence[_Line]) -> Iterator[list[_Line]]:
    """Lines as they are put in together: of one day, in order, and not too large."""
    some: list[_Line] = []
    size = 0
    for line in sorted(lines, key=lambda line: line.at):
        if some and (line.at.date() != some[0].at.date() or size + line.size > CALL_BYTES):
            yield some
            some, size = [], 0
        some.append(line)
        size += line.size
    if some:
        yield some
