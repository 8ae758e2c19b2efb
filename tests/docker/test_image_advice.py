"""`longshore image advise` on a real registry with a password, and on the engine."""

import asyncio
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.agent import IMAGE
from support.registry import PASSWORD, USER, Registry, basic

from longshore.agent.docker.engine import Engine
from longshore.docker_login import Login
from longshore_cli.images.registry import Reference
from longshore_cli.images.registry import Registry as Reader
from longshore_client import NotFound, PreconditionFailed

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.docker]

LOGIN = Login("the test", USER, PASSWORD)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def registry(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Registry]:
    registry = Registry(tmp_path_factory.mktemp("registry"))
    await registry.start()
    yield registry
    await registry.stop()


def _layer(size: int) -> bytes:
    """A packed layer with one file that nobody else has."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo(uuid.uuid4().hex)
        entry.size = size
        archive.addfile(entry, io.BytesIO(os.urandom(size)))
    return gzip.compress(packed.getvalue(), 1)


async def _advise(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(
        subprocess.run,
        [Path(sys.executable).with_name("longshore"), "image", "advise", *arguments],
        env=os.environ | {"DOCKER_CONFIG": str(directory), "LONGSHORE_DATA_DIR": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )


async def test_an_image_of_a_registry_and_what_changed_in_it(
    registry: Registry, tmp_path: Path
) -> None:
    """Platform, sizes and steps come from the registry alone, with the login of the engine."""
    auths = {"auths": {registry.address: {"auth": basic()}}}
    (tmp_path / "config.json").write_text(json.dumps(auths))
    base = (_layer(3_000), "# debian.sh")
    before = [base, (_layer(90), "COPY . /app # buildkit"), (_layer(9_000), "RUN pip install x")]
    after = [base, (_layer(99), "COPY . /app # buildkit"), (_layer(9_000), "RUN pip install x")]
    name = f"advice/{uuid.uuid4().hex}"
    await registry.publish(name, "1", before)
    digest = await registry.publish(name, "2", after, platforms=("linux/arm64", "linux/amd64"))
    image = f"{registry.address}/{name}"
    done = await _advise(
        tmp_path, f"{image}:2", "--against", f"{image}:1", "--platform", "linux/amd64", "--json"
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert (found["digest"], found["platform"]) == (digest, "linux/amd64")
    assert [layer["sizeBytes"] for layer in found["layers"]] == [len(layer) for layer, _ in after]
    assert [layer["step"] for layer in found["layers"]] == [step for _, step in after]
    assert found["sizeBytes"] == sum(len(layer) for layer, _ in after)
    assert found["changed"]["commonLayers"] == 1
    assert [one["check"] for one in found["findings"]] == ["CHANGES_BELOW", "MOVING_TAG"]
    # A person is told the same, and no harmful character of a step.
    done = await _advise(tmp_path, f"{image}:2", "--platform", "linux/arm64")
    assert done.returncode == 0, done.stderr
    assert f"{image}:2" in done.stdout
    assert "The tag may mean another image tomorrow" in done.stdout


async def test_what_a_registry_refuses_is_said_in_words(registry: Registry) -> None:
    name = f"advice/{uuid.uuid4().hex}"
    await registry.publish(name, "1", [(_layer(10), "")], platforms=("linux/amd64",))
    image = Reference.parse(f"{registry.address}/{name}:1")
    wrong = Login("a wrong one", USER, "hush")
    for login in (wrong, Login()):
        with pytest.raises(PreconditionFailed, match=f"credentials: {login.source}") as refused:
            Reader(registry.address, login).read(image, "linux/amd64")
        assert "hush" not in str(refused.value)
    with pytest.raises(NotFound, match=r"not there for linux/s390x, but for linux/amd64"):
        Reader(registry.address, LOGIN).read(image, "linux/s390x")
    absent = Reference.parse(f"{registry.address}/{name}:2")
    with pytest.raises(NotFound, match=f"has no {name}/manifests/2"):
        Reader(registry.address, LOGIN).read(absent, "linux/amd64")


async def test_an_image_that_the_engine_has(tmp_path: Path, engine: Engine) -> None:
    done = await _advise(tmp_path, IMAGE, "--local", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["sizeBytes"] > 1_000_000
    assert not found["packed"]
    done = await _advise(tmp_path, f"no-such-{uuid.uuid4().hex}", "--local")
    assert (done.returncode, "The engine here has no image" in done.stderr) == (4, True)
