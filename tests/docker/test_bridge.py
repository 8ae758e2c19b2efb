"""Instances on one engine share one network, whoever comes first and whatever was there before."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiodocker.networks import DockerNetwork

from longshore.agent.docker import sandbox as sandboxes
from longshore.agent.docker.engine import Engine
from longshore.agent.docker.sandbox import Sandbox

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.docker,
]

AGENTS = 4


@pytest_asyncio.fixture(loop_scope="session")
async def name(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    name = f"longshore-test-{secrets.token_hex(4)}"
    monkeypatch.setattr(sandboxes, "NETWORK", name)
    yield name
    for network in await named(engine, name):
        await DockerNetwork(engine.docker, network["Id"]).delete()  # type: ignore[no-untyped-call]


@pytest_asyncio.fixture(loop_scope="session")
async def agents(engine: Engine, name: str) -> AsyncIterator[list[Sandbox]]:
    del name
    made = [Sandbox(engine, f"i-{secrets.token_hex(9)[:17]}") for _ in range(AGENTS)]
    yield made
    await asyncio.gather(*(sandbox.remove() for sandbox in made))


async def named(engine: Engine, name: str) -> list[dict[str, Any]]:
    return await engine.docker.networks.list(filters={"name": [name]})


async def duplicate(engine: Engine, name: str, **more: Any) -> DockerNetwork:
    wanted = {"Name": name, "Driver": "bridge", "CheckDuplicate": False}
    return await engine.docker.networks.create(wanted | more)


async def network_of(engine: Engine, mode: str) -> str:
    container = engine.docker.containers.container(mode.removeprefix("container:"))
    [joined] = (await container.show())["NetworkSettings"]["Networks"].values()
    return str(joined["NetworkID"])


async def test_agents_that_start_at_once_make_one(
    engine: Engine, name: str, agents: list[Sandbox]
) -> None:
    modes = await asyncio.gather(*(sandbox.network_mode() for sandbox in agents))
    [network] = await named(engine, name)
    assert {await network_of(engine, mode) for mode in modes} == {network["Id"]}
    assert all(
        [await sandbox.address(mode[10:]) for sandbox, mode in zip(agents, modes, strict=True)]
    )


async def test_unused_duplicates_go(engine: Engine, name: str, agents: list[Sandbox]) -> None:
    oldest = await duplicate(engine, name)
    await duplicate(engine, name)
    modes = await asyncio.gather(*(sandbox.network_mode() for sandbox in agents))
    assert [network["Id"] for network in await named(engine, name)] == [oldest.id]
    assert {await network_of(engine, mode) for mode in modes} == {oldest.id}


async def test_duplicates_in_use_stay_and_cost_nobody_the_sandbox(
    engine: Engine, name: str, agents: list[Sandbox]
) -> None:
    first, *rest = agents
    mode = await first.network_mode()
    used = await network_of(engine, mode)
    younger = await duplicate(engine, name)
    labelled = await duplicate(engine, name, Labels={"made.by": "somebody"})
    await younger.connect({"Container": mode.removeprefix("container:")})

    modes = await asyncio.gather(*(sandbox.network_mode() for sandbox in rest))

    [joined] = {await network_of(engine, mode) for mode in modes}
    networks = {network["Id"]: network["Name"] for network in await named(engine, name)}
    assert networks == {used: name, younger.id: name, labelled.id: name, joined: f"{name}-2"}
    assert {sandbox.network_name for sandbox in rest} == {f"{name}-2"}
    assert first.network_name == name
