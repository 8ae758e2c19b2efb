"""The log service on the wire."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from longshore.logs.owning import Owners
from longshore.logs.service import LogsService
from longshore.rpc.caller import current_caller
from longshore.v1 import log_service_pb2 as pb
from longshore.v1 import log_service_pb2_grpc as pb_grpc

Context = grpc.aio.ServicerContext[Any, Any]

#: Chunks of one stream stored at one time: ends of logs wait for the disk together.
CONCURRENT_APPENDS = 32


class LogServicer(pb_grpc.LogServiceServicer):
    """Converts nothing: the messages are the service's own."""

    def __init__(self, service: LogsService, owners: Owners | None = None) -> None:
        """Makes one; without `owners` whoever is let in may read everything."""
        self._service = service
        self._owners = owners

    async def AppendLogs(
        self, request_iterator: AsyncIterator[pb.AppendLogsRequest], context: Context
    ) -> AsyncIterator[pb.AppendLogsResponse]:
        """Stores chunks of one agent's logs; answers in the order of asking."""
        caller = current_caller()
        instance_id = caller.instance_id if caller is not None else None
        appends: asyncio.Queue[asyncio.Task[pb.AppendLogsResponse] | None] = asyncio.Queue(
            CONCURRENT_APPENDS
        )

        async def take() -> None:
            async for request in request_iterator:
                append = self._service.append(request, instance_id)
                await appends.put(asyncio.ensure_future(append))
            await appends.put(None)

        # When the stream breaks, this call is cancelled as a whole.
        taking = asyncio.ensure_future(take())
        try:
            while (append := await appends.get()) is not None:
                yield await append
        finally:
            taking.cancel()

    async def TailLogs(
        self, request: pb.TailLogsRequest, context: Context
    ) -> AsyncIterator[pb.TailLogsResponse]:
        """Hands out a log."""
        if self._owners is not None:
            await self._owners.check(request.log_group_name, request.log_stream_name)
        async for response in self._service.tail(request):
            yield response
