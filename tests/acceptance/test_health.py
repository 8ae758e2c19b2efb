"""An instance on which nothing can start: seen everywhere, spared, and back by itself."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.stand import RUNTIME, Stack, eventually
from support.engine import PrivateEngine, needs_own_engine


def submit(stack: Stack, *arguments: str) -> str:
    return stack.call("submit", *arguments, check=True).stdout.strip()


def define(stack: Stack) -> str:
    options = ("--image", "busybox:latest", "--memory", "64")
    return stack.call(
        "definition", "register", "hello", *options, "--", "true", check=True
    ).stdout.strip()


@pytest.fixture
def own_engine() -> Iterator[PrivateEngine]:
    # A path of a socket has at most 107 characters.
    engine = PrivateEngine(Path(tempfile.mkdtemp(prefix="longshore-engine-")))
    try:
        asyncio.run(engine.start())
        yield engine
    finally:
        asyncio.run(engine.close())


def test_a_disk_without_room_is_told_in_sentences(place: Path) -> None:
    stack = Stack(
        place / "stack", runtime="process", settings={"LONGSHORE_DISK_FREE_MIB": "999999999"}
    )
    try:
        stack.up()
        eventually(lambda: [i["status"] for i in stack.json("instances")] == ["DISK_FULL"], "full")
        assert "LONGSHORE_DISK_FREE_MIB" in stack.call("instances", check=True).stdout
        for command in ("capacity", "status"):
            said = stack.call(command, check=True).stdout
            assert "takes no jobs: its disk is full (" in said
        job = submit(stack, "waits", "-d", define(stack))
        eventually(
            lambda: "out of disk space" in stack.call("explain", job, check=True).stdout,
            "explained",
        )
    finally:
        stack.down()


@needs_own_engine
@pytest.mark.skipif(RUNTIME != "docker", reason="there is no engine")
def test_an_array_waits_for_an_engine_that_is_away(place: Path, own_engine: PrivateEngine) -> None:
    """With one attempt each, its children succeed with their first."""
    stack = Stack(place / "stack", runtime="docker", settings={"DOCKER_HOST": own_engine.address})
    try:
        stack.up()
        stack.call("run", "busybox:latest", "--", "true", check=True)
        asyncio.run(own_engine.stop())
        array = submit(stack, "array", "-d", define(stack), "--array", "40")
        eventually(lambda: stack.json("instances")[0]["status"] == "ENGINE_AWAY", "seen")
        eventually(
            lambda: "without an engine" in stack.call("explain", f"{array}:0", check=True).stdout,
            "given back and explained",
        )
        asyncio.run(own_engine.start())
        stack.call("wait", array, check=True)
        [child] = stack.json("describe", f"{array}:39")
        assert len(child["attempts"]) == 1
    finally:
        stack.down()
