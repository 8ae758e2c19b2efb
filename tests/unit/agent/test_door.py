"""The endpoint's door in the sandbox, where the sandbox or the way into it is not there."""

from pathlib import Path
from typing import Any

import pytest

from longshore.agent.attempts.attempt import RuntimeAway
from longshore.agent.docker.door import Door
from longshore.agent.docker.engine import EngineAwayError, EngineError
from longshore.agent.docker.sandbox import Sandbox
from longshore.agent.endpoint.document import Place
from longshore.agent.endpoint.endpoint import Endpoint, Way
from longshore.agent.endpoint.role import Roles
from longshore.domain.arn import Arns


class FakeEngine:
    """An engine that says one thing of every container."""

    def __init__(self, said: dict[str, Any] | Exception) -> None:
        self.said = said
        self.docker = self.containers = self

    def container(self, container_id: str) -> Any:  # noqa: ARG002
        return self

    async def show(self) -> dict[str, Any]:
        if isinstance(self.said, Exception):
            raise self.said
        return self.said

    async def call(self, work: Any, seconds: float) -> Any:  # noqa: ARG002
        return await work


def a_sandbox(pid: int, address: str = "192.0.2.1") -> dict[str, Any]:
    return {
        "State": {"Pid": pid},
        "NetworkSettings": {"Networks": {"longshore": {"IPAddress": address}}},
    }


def a_door(tmp_path: Path, said: dict[str, Any] | Exception) -> tuple[Door, Sandbox]:
    engine: Any = FakeEngine(said)
    sandbox = Sandbox(engine, "i-1")
    place = Place(Arns("123456789012", "us-east-1"), "ce")
    return Door(engine, sandbox, Endpoint(tmp_path, place, Roles(None))), sandbox


@pytest.mark.parametrize(
    ("mode", "way"), [("host", Way.LOOPBACK), ("bridge", Way.NONE), ("none", Way.NONE)]
)
async def test_other_networks_have_no_door(tmp_path: Path, mode: str, way: Way) -> None:
    door, _ = a_door(tmp_path, EngineAwayError())
    assert await door.way(mode) is way


@pytest.mark.parametrize("said", [EngineError(404, "No such container"), a_sandbox(0)])
async def test_a_sandbox_that_has_gone_is_made_anew(
    tmp_path: Path, said: dict[str, Any] | Exception
) -> None:
    door, sandbox = a_door(tmp_path, said)
    with pytest.raises(RuntimeAway):
        await door.way("container:abc")
    assert sandbox.doubts == 1


async def test_an_engine_that_is_away_is_waited_for(tmp_path: Path) -> None:
    door, sandbox = a_door(tmp_path, EngineAwayError())
    with pytest.raises(RuntimeAway):
        await door.way("container:abc")
    assert sandbox.doubts == 0


@pytest.mark.parametrize("pid", [1, 2_000_000_000])
async def test_a_namespace_that_is_not_the_sandbox_s_is_left_as_it_is(
    tmp_path: Path, pid: int
) -> None:
    """As where the engine counts processes otherwise: then another one has that number, or none."""
    door, _ = a_door(tmp_path, a_sandbox(pid))
    assert await door.way("container:abc") is Way.NONE
