"""The event service over gRPC on a real database, called with AWS-shaped JSON."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import grpc
from google.protobuf import message_factory
from google.protobuf.json_format import MessageToDict, ParseDict
from support.patience import PATIENCE_SECONDS

from longshore.domain.arn import Arns
from longshore.events.__main__ import serving
from longshore.events.config import EventsConfig
from longshore.rpc.channel import open_channel
from longshore.rpc.errors import from_rpc_error
from longshore.state.pool import open_pool
from longshore.v1 import (
    event_bridge_service_pb2,
    event_bridge_service_pb2_grpc,
    event_service_pb2_grpc,
)

Json = dict[str, Any]
SERVICE = event_bridge_service_pb2.DESCRIPTOR.services_by_name["EventBridgeService"]
_INPUTS = {m.name: message_factory.GetMessageClass(m.input_type) for m in SERVICE.methods}
ARNS = Arns("123456789012", "us-east-1")


class EventStand:
    """A running service, a client of it, and its database."""

    def __init__(self, target: str, channel: grpc.aio.Channel, conn: asyncpg.Connection) -> None:
        #: `host:port` of the service.
        self.target = target
        self._stub = event_bridge_service_pb2_grpc.EventBridgeServiceStub(channel)
        #: What longshore has beyond EventBridge.
        self.own = event_service_pb2_grpc.EventServiceStub(channel)
        self.conn = conn

    async def __call__(self, operation: str, /, **members: Any) -> Json:
        """Calls an operation; a refusal is raised as the error it was on the other side."""
        request = ParseDict(members, _INPUTS[operation]())
        try:
            answer = await getattr(self._stub, operation)(request, timeout=PATIENCE_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return MessageToDict(answer)


@contextlib.asynccontextmanager
async def event_stand(
    database_url: str,
    key_path: Path,
    *,
    submission: str = "127.0.0.1:1",
    logs: str = "127.0.0.1:1",
) -> AsyncIterator[EventStand]:
    """The service on a free port; its key is made where it is needed."""
    config = EventsConfig(
        address="127.0.0.1:0",
        metrics_address="127.0.0.1:0",
        database_url=database_url,
        database_connections=4,
        arns=ARNS,
        submission_address=submission,
        logs_address=logs,
        allows_private=True,
        key_path=key_path,
    )
    async with contextlib.AsyncExitStack() as stack:
        pool = await open_pool(database_url, maximum=config.database_connections)
        stack.push_async_callback(pool.close)
        conn = await asyncpg.connect(database_url)
        stack.push_async_callback(conn.close)
        server = await stack.enter_async_context(serving(config, pool))
        target = f"127.0.0.1:{server.port}"
        channel = await stack.enter_async_context(open_channel(target))
        yield EventStand(target, channel, conn)
