"""Whether each service says that it is serving, or anything at all."""

import asyncio
import ssl
from http import HTTPStatus

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from longshore.identity.material import Identity
from longshore.rpc.channel import peer_channel

CHECK_SECONDS = 2.0
_SILENCE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


async def is_serving(service: str, address: str, identity: Identity | None = None) -> bool:
    """Asks one service: the gateway over HTTP, all others over gRPC.

    Whoever waits for a start asks ten times a second, most of the time before there is anybody to
    ask. That a connection shows; a channel each time would take as long as a service's own start.

    Args:
        service: which.
        address: where it is, for users, or for services if there is an identity.
        identity: the supervisor's, where users come by TLS; what they see there may be of an
            authority that nobody here knows.
    """
    if not await _is_connectable(address):
        return False
    if service == "gateway":
        return await _http_status(address, "/healthz", identity) == HTTPStatus.OK
    status = await _grpc_status(service, address, identity)
    return bool(status == health_pb2.HealthCheckResponse.SERVING)


async def answers(service: str, address: str, identity: Identity | None = None) -> bool:
    """Whether a service says anything, be it that it is not serving; as `is_serving`."""
    if service == "gateway":
        # Of its health the gateway has to ask another service.
        return await _http_status(address, "/metrics", identity) is not None
    return await _grpc_status(service, address, identity) is not None


async def _is_connectable(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _grpc_status(service: str, address: str, identity: Identity | None) -> int | None:
    channel = peer_channel(address, service, identity)
    try:
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=CHECK_SECONDS
        )
    except grpc.aio.AioRpcError as error:
        silent = error.code() in _SILENCE
        return None if silent else health_pb2.HealthCheckResponse.UNKNOWN
    finally:
        await channel.close(None)
    return int(answer.status)


def _unverified() -> ssl.SSLContext:
    """Nothing is told, and nothing but that there is an answer is learnt."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _http_status(address: str, path: str, identity: Identity | None) -> int | None:
    host, _, port = address.rpartition(":")
    context = None if identity is None else _unverified()
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
                await writer.drain()
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    parts = line.split()
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else None
