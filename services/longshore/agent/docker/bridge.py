"""The bridge network that the sandboxes of all instances on one engine share: found, made, healed.

The engine lets several networks have the same name, and from then on refuses the name. So agents
take turns to look and make, and know the network by its id ever after.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from aiodocker.networks import DockerNetwork

from longshore.agent.docker.engine import Engine, EngineError
from longshore.runtime.lock import Lock

log = structlog.get_logger()

CALL_SECONDS = 60.0
TURN_SECONDS = 60.0
#: How many names are tried.
NAMES = 4


def oldest_first(listed: Iterable[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The networks of exactly that name; agents agree on the first without a word.

    Args:
        listed: what the engine lists: its filter also finds names that only contain the wanted one.
        name: the wanted one.
    """
    return sorted(
        (network for network in listed if network["Name"] == name),
        key=lambda network: (datetime.fromisoformat(network["Created"]), network["Id"]),
    )


class Bridge(NamedTuple):
    """A network by its id, and the name that it goes by."""

    network_id: str
    name: str


async def make_bridge(engine: Engine, name: str) -> Bridge:
    """The engine's one network of that name, made if there is none.

    Others of that name are removed unless containers use them. While some stay, the engine starts
    no container on any of them, not even by id: then it is one with a number after the name.

    Raises:
        EngineError: the engine refused.
        EngineAwayError: there was no answer.
        EngineTimeoutError: it took too long.
    """
    async with _turn(engine.directory):
        for number in range(1, NAMES + 1):
            numbered = name if number == 1 else f"{name}-{number}"
            [network, *others] = await _healed(engine, numbered)
            if not others:
                return Bridge(str(network["Id"]), numbered)
            log.warning("network.ambiguous", name=numbered, networks=1 + len(others))
    raise EngineError(
        409,
        f"networks {name} to {name}-{NAMES} all exist several times and are in use: "
        f"remove what `docker network ls --filter name={name}` lists twice",
    )


async def _healed(engine: Engine, name: str) -> list[dict[str, Any]]:
    """The networks of a name, at least one, the oldest first, after the removal of what can go."""
    if not await _find(engine, name):
        await _create(engine, name)
    found = await _find(engine, name)
    if not found:
        raise EngineError(404, f"network {name} was removed as soon as it was made; try again")
    kept = [other for other in found[1:] if not await _remove_unused(engine, other)]
    return [found[0], *kept]


async def _find(engine: Engine, name: str) -> list[dict[str, Any]]:
    work = engine.docker.networks.list(filters={"name": [name]})
    return oldest_first(await engine.call(work, CALL_SECONDS), name)


async def _create(engine: Engine, name: str) -> None:
    wanted: dict[str, Any] = {"Name": name, "Driver": "bridge", "CheckDuplicate": True}
    try:
        await engine.call(engine.docker.networks.create(wanted), CALL_SECONDS)
    except EngineError as error:
        # An agent that takes no turns with us, on another machine, was faster.
        if error.status != 409:
            raise


async def _remove_unused(engine: Engine, network: dict[str, Any]) -> bool:
    """Whether a network is gone now."""
    # Ours have no labels: what has some was made by somebody else for something else.
    if network["Labels"]:
        return False
    duplicate = DockerNetwork(engine.docker, network["Id"])  # type: ignore[no-untyped-call]
    try:
        await engine.call(duplicate.delete(), CALL_SECONDS)
    except EngineError as error:
        if error.status == 404:
            return True
        # 403 is one in use.
        log.info("network.duplicate_kept", network_id=network["Id"], error=error.message)
        return False
    log.info("network.duplicate_removed", network_id=network["Id"])
    return True


@asynccontextmanager
async def _turn(directory: Path | None) -> AsyncIterator[None]:
    """Holds the lock of the engine's own directory, which all agents beside the engine see.

    Who does not get it in time, or may not open it, goes on without: at worst there is one network
    too many, which the next agent removes.
    """
    if directory is None:
        yield
        return
    lock = Lock(directory)
    try:
        if not await lock.wait(TURN_SECONDS):
            log.warning("network.no_turn", directory=str(directory), error="held by another")
    except OSError as error:
        log.warning("network.no_turn", directory=str(directory), error=str(error))
    try:
        yield
    finally:
        lock.release()
