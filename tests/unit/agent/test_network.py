"""What containers join where the sandbox is refused, and what is said of it."""

import asyncio
from typing import cast

import pytest
from support.patience import PATIENCE_SECONDS

from longshore.agent.attempts.attempt import RuntimeAway
from longshore.agent.config import AgentConfig
from longshore.agent.docker import network as networks
from longshore.agent.docker.engine import Engine, EngineAwayError
from longshore.agent.docker.network import Network
from longshore.agent.docker.sandbox import Sandbox, SandboxError
from longshore.agent.runtime import Joined


class Refusing:
    """A sandbox that is refused as long as there is a reason."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.network_name = ""
        self.asked = 0

    async def network_mode(self) -> str:
        self.asked += 1
        if self.error is not None:
            raise self.error
        self.network_name = self.network_name or "longshore"
        return "container:sandbox"


def a_network(sandbox: Refusing, **environ: str) -> Network:
    wanted = {"LONGSHORE_INSTANCE_ID": "i-00000000000000001", "LONGSHORE_DATA_DIR": "/nowhere"}
    config = AgentConfig.from_environment(wanted | environ)
    network = Network(cast("Engine", object()), config)
    network.sandbox = cast("Sandbox", sandbox)
    return network


async def test_a_sandbox_that_was_refused_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "RETRY_FIRST_SECONDS", 3600)
    sandbox = Refusing(SandboxError("no room for networks"))
    network = a_network(sandbox)
    assert network.joined() == Joined()
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
        keeping = group.create_task(network.keep())
        while not sandbox.asked:
            await asyncio.sleep(0)
        asked = sandbox.asked
        assert await network.mode(node=False) == await network.mode(node=True) == "bridge"
        assert sandbox.asked == asked  # attempts do not wait for what is refused
        assert network.joined() == Joined(
            "bridge", "there is no sandbox, so they start more slowly (no room for networks)"
        )
        keeping.cancel()
        monkeypatch.setattr(networks, "RETRY_FIRST_SECONDS", 0.01)
        keeping = group.create_task(network.keep())
        while sandbox.asked < asked + 3:
            await asyncio.sleep(0.01)
        sandbox.error = None
        while network.joined() != Joined("sandbox"):
            await asyncio.sleep(0.01)
        assert await network.mode(node=False) == "container:sandbox"
        keeping.cancel()


async def test_another_network_than_that_of_the_others_is_said() -> None:
    sandbox = Refusing(None)
    network = a_network(sandbox)
    sandbox.network_name = "longshore-2"
    assert await network.mode(node=False) == "container:sandbox"
    joined = network.joined()
    assert joined.network == "sandbox"
    assert joined.detail.startswith("its network is longshore-2, so they do not reach")


async def test_what_the_settings_name_is_nothing_to_remark() -> None:
    network = a_network(Refusing(None), LONGSHORE_NETWORK="host")
    assert network.joined() == Joined("host")
    assert await network.mode(node=False) == "host"


async def test_an_engine_that_is_away_refuses_nothing() -> None:
    network = a_network(Refusing(EngineAwayError("away")))
    with pytest.raises(RuntimeAway):
        await network.mode(node=False)
    assert network.joined() == Joined()
