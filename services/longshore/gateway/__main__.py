"""Starts the gateway: `python -m longshore.gateway`."""

import asyncio
import os
import sys

from longshore.gateway.config import GatewayConfig
from longshore.gateway.server import serve
from longshore.runtime.process import run_until_stopped


async def _main(stop: asyncio.Event) -> None:
    config = GatewayConfig.from_environment(os.environ)
    await serve(config, stop, key=config.access.key())


if __name__ == "__main__":
    sys.exit(run_until_stopped("gateway", _main))
