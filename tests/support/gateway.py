"""A gateway before services that a test runs itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from longshore.gateway.behind import SERVICES
from longshore.gateway.config import GatewayConfig
from longshore.gateway.server import serve


@contextlib.asynccontextmanager
async def gateway_before(**addresses: str) -> AsyncIterator[str]:
    """The URL of a gateway; services without an address are away."""
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    behind = dict.fromkeys(SERVICES, "127.0.0.1:1") | addresses
    serving = asyncio.create_task(serve(GatewayConfig("127.0.0.1:0", behind), stop, ready))
    await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield f"http://127.0.0.1:{ready.result()}"
    finally:
        stop.set()
        await serving
