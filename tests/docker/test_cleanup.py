"""What is left of an instance that is over: nothing."""

import asyncio
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from support.patience import PATIENCE_SECONDS

from longshore.agent.docker.container import INSTANCE_LABEL
from longshore.agent.docker.engine import Engine, filters


def an_instance_id() -> str:
    """A new instance."""
    return f"i-{secrets.token_hex(9)[:17]}"


async def clean(instance_id: str, data_dir: Path, runtime: str, **environment: str) -> int:
    """Runs the command as provisioning does; returns its exit code."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "longshore.agent.cleanup",
        env=os.environ
        | {
            "LONGSHORE_INSTANCE_ID": instance_id,
            "LONGSHORE_DATA_DIR": str(data_dir),
            "LONGSHORE_RUNTIME": runtime,
        }
        | environment,
        stderr=subprocess.DEVNULL,
    )
    return await asyncio.wait_for(process.wait(), PATIENCE_SECONDS)


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="session")
async def test_its_containers_are_removed_and_no_others(engine: Engine, tmp_path: Path) -> None:
    """By label, running or not."""
    over, other = an_instance_id(), an_instance_id()
    for instance_id, command in ((over, "sleep 60"), (over, "true"), (other, "sleep 60")):
        container = await engine.docker.containers.create(
            {
                "Image": "busybox:latest",
                "Cmd": ["sh", "-c", command],
                "Labels": {INSTANCE_LABEL: instance_id},
                "HostConfig": {"NetworkMode": "none"},
            }
        )
        await container.start()
    try:
        assert await clean(over, tmp_path, "docker") == 0
        assert await labelled(engine, over) == 0
        assert await labelled(engine, other) == 1
    finally:
        await clean(other, tmp_path, "docker")


@pytest.mark.asyncio(loop_scope="session")
async def test_an_engine_that_is_away_is_asked_again_later(tmp_path: Path) -> None:
    """Its containers may run on, so this is not the end of it."""
    away = f"unix://{tmp_path}/no.sock"
    assert await clean(an_instance_id(), tmp_path, "docker", DOCKER_HOST=away) == 1


@pytest.mark.asyncio(loop_scope="session")
async def test_its_processes_are_killed(tmp_path: Path) -> None:
    """The whole group of an attempt, by the attempt's directory."""
    directory = tmp_path / "attempts" / "one"
    directory.mkdir(parents=True)
    (directory / "key").write_text("0d6c1c4e-0000-4000-8000-000000000000 1\n")
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", "sleep 60; :", "longshore-attempt", str(directory), start_new_session=True
    )
    (directory / "pid").write_text(f"{process.pid}\n")
    assert await clean(an_instance_id(), tmp_path, "process") == 0
    assert await asyncio.wait_for(process.wait(), PATIENCE_SECONDS) == -9
    assert not directory.exists()


async def labelled(engine: Engine, instance_id: str) -> int:
    """How many containers of an instance there are."""
    label = filters(label=[f"{INSTANCE_LABEL}={instance_id}"])
    return len(await engine.docker.containers.list(all="1", filters=label))
