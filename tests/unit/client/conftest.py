"""A scripted service and a client that speaks to it."""

from collections.abc import AsyncIterator

import pytest
from support.patience import PATIENCE_SECONDS
from unit.client.service import Script, start

from longshore_client import Client


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def client(script: Script) -> AsyncIterator[Client]:
    server, addresses = await start(script)
    async with Client(addresses, timeout=PATIENCE_SECONDS, patience=1) as connected:
        yield connected
    await server.stop(None)
