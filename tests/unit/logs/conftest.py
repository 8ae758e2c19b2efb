"""The real gateway in front of the real log service, and AWS's own client."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from support.patience import PATIENCE_SECONDS

from longshore.domain.arn import Arns
from longshore.domain.log_group import JOBS
from longshore.gateway.behind import SERVICES
from longshore.gateway.config import GatewayConfig
from longshore.gateway.server import serve
from longshore.logs.cloudwatch.servicer import SERVICE, CloudWatchLogsServicer
from longshore.logs.store import LogStore
from longshore.rpc.server import GrpcServer
from longshore.v1 import cloudwatch_logs_service_pb2_grpc

REGION = "eu-central-1"
#: 2026-11-22T11:47:16Z.
BEGIN = 1_795_348_036_000


@dataclass
class Logs:
    """The log service as users of CloudWatch have it."""

    store: LogStore
    url: str
    client: Any

    async def call(self, operation: str, **parameters: Any) -> Any:
        """Calls in a thread, as boto3 blocks."""
        return await asyncio.to_thread(getattr(self.client, operation), **parameters)

    async def pages(self, operation: str, **parameters: Any) -> list[Any]:
        """All pages that boto3's own paginator comes to."""
        paginator = self.client.get_paginator(operation)
        return await asyncio.to_thread(lambda: list(paginator.paginate(**parameters)))

    async def prints(
        self,
        stream: str,
        *messages: str,
        group: str = JOBS,
        at: int = 0,
        complete: bool = False,
        source: str = "stdout",
    ) -> None:
        """An attempt prints lines, a millisecond after each other from so many after BEGIN on."""
        log = await self.store.log(stream, group)
        data = b"".join(
            b"2026-11-22T11:%02d:%02d.%03d000000Z %s F %s\n"
            % (
                47 + (16 + (at + index) // 1000) // 60,
                (16 + (at + index) // 1000) % 60,
                (at + index) % 1000,
                source.encode(),
                message.encode(),
            )
            for index, message in enumerate(messages)
        )
        await self.store.append(log, log.stored, data, complete=complete)


@pytest.fixture
async def logs(tmp_path: Path) -> AsyncIterator[Logs]:
    store = LogStore(tmp_path / "logs")
    server = GrpcServer("127.0.0.1:0")
    server.add(
        cloudwatch_logs_service_pb2_grpc.add_CloudWatchLogsServiceServicer_to_server,
        CloudWatchLogsServicer(store, Arns("123456789012", "us-east-1")),
        SERVICE.full_name,
    )
    async with server:
        await server.set_serving(True)
        addresses = dict.fromkeys(SERVICES, f"127.0.0.1:{server.port}")
        stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(GatewayConfig("127.0.0.1:0", addresses), stop, ready))
        url = f"http://127.0.0.1:{await ready}"
        client = boto3.client(
            "logs",
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id="anyone",
            aws_secret_access_key="anything",  # noqa: S106 - any credentials will do
            config=Config(
                retries={"total_max_attempts": 1},
                read_timeout=PATIENCE_SECONDS,
                inject_host_prefix=False,
                parameter_validation=False,
            ),
        )
        try:
            yield Logs(store, url, client)
        finally:
            client.close()
            stop.set()
            await serving
    await store.close()
