"""Log groups: each event a line of a stream for its rule and day."""

import contextlib
from datetime import UTC, datetime, timedelta

import grpc

from longshore.domain.arn import Arns
from longshore.domain.errors import LongshoreError, NotFound, Unavailable
from longshore.domain.events.retrying import DeliveryFailed
from longshore.events.senders.text import sent_text
from longshore.rpc.errors import from_rpc_error
from longshore.state.events.delivery import Delivery, Lane, TargetRecord
from longshore.v1 import cloudwatch_logs_service_pb2 as pb
from longshore.v1 import cloudwatch_logs_service_pb2_grpc

CALL_SECONDS = 10.0
#: What waited for longer than the log service takes has the time of its delivery.
OLDEST = timedelta(days=13)


class LogGroups:
    """Puts events into log groups, and makes these where they are not there yet."""

    def __init__(
        self, logs: cloudwatch_logs_service_pb2_grpc.CloudWatchLogsServiceStub, arns: Arns
    ) -> None:
        self._logs = logs
        self._arns = arns

    async def send(self, lane: Lane, target: TargetRecord, one: Delivery) -> None:
        """Puts an event in; see `Sender`."""
        now = datetime.now(UTC)
        at = one.created_at if now - one.created_at < OLDEST else now
        request = pb.PutLogEventsRequest(
            log_group_name=target.arn.partition(":log-group:")[2].removesuffix(":*"),
            log_stream_name=f"{lane.bus}/{lane.rule}/{at:%Y-%m-%d}",
            log_events=[
                pb.InputLogEvent(
                    timestamp=int(at.timestamp() * 1000),
                    message=sent_text(self._arns, lane, target, one),
                )
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
            raise _failure(from_rpc_error(error)) from None

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


def _failure(error: LongshoreError) -> DeliveryFailed:
    return DeliveryFailed(error.reason, error.message, again=isinstance(error, Unavailable))
