"""Fixtures of the agent's tests: an engine that answers, and a stand."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.agent import Stand, ensure_busybox

from longshore.agent.docker.engine import Engine, engine_address

#: Files of which no test shares anything with one of another file.
_APART = ("test_bounds", "test_engine_away", "test_restart")
PROCESS_ONLY = os.environ.get("LONGSHORE_TEST_RUNTIME") == "process"


@pytest.hookimpl(tryfirst=True)  # xdist's own reads the groups.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Containers are left out only where the environment says that there is no engine.

    What is here shares agents and counts what they leave behind, so it is one worker's; but for
    files with agents or engines of their own, which take longest.
    """
    for item in items:
        if PROCESS_ONLY and item.get_closest_marker("docker"):
            item.add_marker(pytest.mark.skip(reason="LONGSHORE_TEST_RUNTIME=process"))
        if Path(__file__).parent in item.path.parents:
            stem = item.path.stem
            item.add_marker(pytest.mark.xdist_group(stem if stem in _APART else "agent"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine() -> AsyncIterator[Engine]:
    """A real engine with a busybox image; its absence is a failure."""
    address = engine_address()
    assert address is not None, "no Docker socket; start an engine"
    engine = Engine(address)
    assert await engine.answers(), f"no Docker engine answers at {address}"
    await ensure_busybox(engine)
    yield engine
    await engine.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def containers(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stand]:
    """An agent that runs containers, shared by all tests that leave it as it was."""
    stand = Stand(tmp_path_factory.mktemp("containers"), "docker")
    await stand.open()
    yield stand
    await stand.close()


@pytest_asyncio.fixture(loop_scope="session")
async def own_containers(engine: Engine, tmp_path: Path) -> AsyncIterator[Stand]:
    """A stand for a test that restarts or ends its agent; not opened yet."""
    stand = Stand(tmp_path, "docker")
    yield stand
    await stand.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def processes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    """An agent that runs processes, shared by all tests that leave it as it was."""
    stand = Stand(tmp_path_factory.mktemp("processes"), "process")
    await stand.open()
    yield stand
    await stand.close()


@pytest_asyncio.fixture(loop_scope="session")
async def own_processes(tmp_path: Path) -> AsyncIterator[Stand]:
    """A stand of processes for a test that restarts or ends its agent; not opened yet."""
    stand = Stand(tmp_path, "process")
    yield stand
    await stand.close()
