"""Whether each service says that it is serving."""

import asyncio

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from longshore.rpc.channel import open_channel

CHECK_SECONDS = 2.0


async def is_serving(service: str, address: str) -> bool:
    """Asks one service: the gateway over HTTP, all others over gRPC."""
    if service == "gateway":
        return await _http_ok(address)
    channel = open_channel(address)
    try:
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=CHECK_SECONDS
        )
    except grpc.aio.AioRpcError:
        return False
    finally:
        await channel.close(None)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def _http_ok(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
                await writer.drain()
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in line
