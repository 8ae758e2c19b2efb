"""The gateway's listener: opens, serves until told to stop, drains, closes."""

import asyncio

import structlog
from aiohttp import web

from longshore.domain.errors import Unavailable
from longshore.gateway.config import GatewayConfig
from longshore.gateway.handler import Gateway
from longshore.gateway.origin import is_loopback
from longshore.rpc.channel import open_channel
from longshore.v1 import submission_service_pb2

log = structlog.get_logger()

#: Time in which the rest of a refused body is still read, so that its sender sees the answer.
LINGER_SECONDS = 5.0
SERVICE = submission_service_pb2.DESCRIPTOR.services_by_name["SubmissionService"]


async def serve(
    config: GatewayConfig, stop: asyncio.Event, ready: asyncio.Future[int] | None = None
) -> None:
    """Serves until `stop` is set, then lets requests in hand end within the grace period.

    Args:
        config: the settings.
        stop: asks to end.
        ready: told the port once connections are taken.

    Raises:
        Unavailable: the address cannot be listened on.
    """
    async with open_channel(config.submission_address) as channel:
        runner = web.AppRunner(
            Gateway(config, channel, SERVICE).application(),
            access_log=None,
            shutdown_timeout=config.grace_seconds,
            lingering_time=min(LINGER_SECONDS, config.timeout_seconds),
            # A small body may come out a thousand times as large, and all wait meanwhile.
            auto_decompress=False,
        )
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, config.host, config.port).start()
            except OSError as error:
                raise Unavailable(f"Cannot listen on {config.address}: {error.strerror}") from None
            port: int = runner.addresses[0][1]
            if not is_loopback(config.host):
                log.warning("gateway.unauthenticated", address=config.address)
            log.info("gateway.listening", address=f"{config.host}:{port}")
            if ready is not None:
                ready.set_result(port)
            await stop.wait()
        finally:
            await runner.cleanup()
