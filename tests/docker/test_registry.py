"""Images of a registry with a password: which login is used, what is said when it is refused."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.agent import Stand, a_part
from support.registry import PASSWORD, USER, FaultyRegistry, Registry, basic

from longshore.agent.attempts.attempt import StepFailed
from longshore.agent.docker import image as module
from longshore.agent.docker.engine import Engine, EngineError
from longshore.agent.docker.image import Images
from longshore.agent.docker.login import Logins
from longshore.agent.secret.file import SecretsFile
from longshore.agent.secret.reading import Secrets
from longshore.agent.secret.sources import open_sources
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import container_pb2

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.docker]

GOOD, BAD = "longshore:secret:registry", "longshore:secret:wrong"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def registry(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Registry]:
    registry = Registry(tmp_path_factory.mktemp("registry"))
    await registry.start()
    yield registry
    await registry.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def image(registry: Registry, engine: Engine) -> AsyncIterator[str]:
    """An image that nobody has pulled yet, and that nobody has afterwards."""
    image = await registry.push()
    yield image
    await _remove(engine, image)


@pytest_asyncio.fixture(loop_scope="session")
async def faulty(registry: Registry) -> AsyncIterator[FaultyRegistry]:
    faulty = FaultyRegistry(registry.address)
    runner = await faulty.start()
    yield faulty
    await runner.cleanup()


@pytest.fixture
def stand(containers: Stand) -> Iterator[Stand]:
    """The shared agent, with a right and a wrong login among its secrets."""
    _set_logins(containers.secrets)
    yield containers
    (containers.directory / "config.json").unlink(missing_ok=True)


def _set_logins(secrets: SecretsFile) -> None:
    secrets.set("registry", json.dumps({"username": USER, "password": PASSWORD}))
    secrets.set("wrong", json.dumps({"username": USER, "password": "hush-wrong"}))


async def _remove(engine: Engine, image: str) -> None:
    with contextlib.suppress(EngineError):
        await engine.call(engine.docker.images.delete(image, force=True), 30)


def _credentials(parameter: str) -> container_pb2.RepositoryCredentials:
    return container_pb2.RepositoryCredentials(credentials_parameter=parameter)


async def _run(stand: Stand, image: str, parameter: str = "") -> pb.AttemptChange:
    members: dict[str, Any] = {"image": image}
    if parameter:
        members["repository_credentials"] = _credentials(parameter)
    return await stand.run(stand.an_attempt("true", **members))


async def test_the_job_s_own_login(stand: Stand, image: str) -> None:
    """And what the pull took is told; the next job finds the image there."""
    end = await _run(stand, image, GOOD)
    assert end.exit_code == 0
    (start,) = end.images
    assert start.image == image
    assert start.pull_duration.ToMilliseconds() > 0
    assert start.pulled_bytes > 100_000
    (start,) = (await _run(stand, image, GOOD)).images
    assert not start.HasField("pull_duration")


async def test_a_wrong_password_is_refused_and_no_other_login_is_tried(
    stand: Stand, image: str, registry: Registry
) -> None:
    auths = {registry.address: {"auth": basic()}}
    (stand.directory / "config.json").write_text(json.dumps({"auths": auths}))
    end = await _run(stand, image, BAD)
    assert end.status_reason == "Task failed to start"
    assert end.reason == (
        "CannotPullContainerError: Error response from daemon: unauthorized: authentication "
        f"required (credentials: repositoryCredentials {BAD})"
    )
    assert (await _run(stand, image)).exit_code == 0


async def test_without_a_login_there_is_no_image(stand: Stand, image: str) -> None:
    end = await _run(stand, image)
    assert end.reason.startswith("CannotPullContainerError: Error response from daemon: Head ")
    assert end.reason.endswith("no basic auth credentials (credentials: none)")


async def test_an_image_that_is_not_there(stand: Stand, registry: Registry) -> None:
    end = await _run(stand, f"{registry.address}/private/none:1", GOOD)
    assert end.reason.startswith("CannotPullContainerError: Error response from daemon: manifest ")
    assert end.reason.endswith(f"(credentials: repositoryCredentials {GOOD})")
    assert "not found" in end.reason


async def test_a_login_that_cannot_be_read_fails_the_start(stand: Stand, image: str) -> None:
    end = await _run(stand, image, "longshore:secret:none")
    assert end.reason.startswith(
        "ResourceInitializationError: unable to pull secrets or registry auth: "
        "repositoryCredentials (longshore:secret:none): "
    )


async def test_the_engine_s_own_configuration(stand: Stand, image: str, registry: Registry) -> None:
    config = stand.directory / "config.json"
    config.write_text(json.dumps({"auths": {registry.address: {"auth": basic(USER, "no")}}}))
    end = await _run(stand, image)
    assert end.reason.endswith(f"(credentials: {registry.address} in {config})")
    config.write_text(json.dumps({"auths": {registry.address: {"auth": basic()}}}))
    assert (await _run(stand, image)).exit_code == 0


async def test_a_name_of_ecr_s_without_credentials_for_aws_says_so(stand: Stand) -> None:
    end = await _run(stand, "123456789012.dkr.ecr.us-east-1.amazonaws.com/none:1")
    assert end.reason.startswith("CannotPull")
    assert "credentials: none, and none for AWS here)" in end.reason


async def test_each_of_several_containers_has_its_own_login(
    stand: Stand, registry: Registry, engine: Engine, image: str
) -> None:
    """One container's login is not another's, whose image is not there without one."""
    other = await registry.push()
    login: dict[str, Any] = {"repository_credentials": _credentials(GOOD)}
    for given, said in (
        ({"repository_credentials": _credentials(BAD)}, f"repositoryCredentials {BAD})"),
        ({}, "no basic auth credentials (credentials: none)"),
    ):
        assignment = stand.several(
            a_part("main", "true", ("beside", "COMPLETE"), image=image, **login),
            a_part("beside", "true", image=other, essential=False, **given),
        )
        end = await stand.run(assignment)
        reasons = {one.name: one.reason for one in end.containers}
        assert reasons["beside"].endswith(said)
        assert reasons["main"].startswith("TaskDependencyError: ")
    both = stand.several(
        a_part("main", "true", ("beside", "COMPLETE"), image=image, **login),
        a_part("beside", "true", image=other, essential=False, **login),
    )
    end = await stand.run(both)
    await _remove(engine, other)
    assert end.exit_code == 0, end


@pytest.fixture
def logins(tmp_path: Path) -> Logins:
    file = SecretsFile(tmp_path / "secrets", tmp_path / "key")
    _set_logins(file)
    return Logins(Secrets(open_sources(file, "us-east-1")), tmp_path)


async def _why(images: Images, image: str, parameter: str = "") -> str:
    with pytest.raises(StepFailed) as caught:
        await images.make_present(image, parameter)
    return caught.value.reason


@pytest.mark.parametrize("behaviour", ["if-missing", "once", "default", "always"])
async def test_who_may_use_what_another_job_pulled(
    engine: Engine, image: str, logins: Logins, behaviour: str
) -> None:
    """As on ECS: what is there is there for all, unless the registry is to be asked each time."""
    images = Images(engine, behaviour, 1, logins)
    assert "no basic auth" in await _why(images, image)
    assert "unauthorized" in await _why(images, image, BAD)
    await images.make_present(image, GOOD)
    if behaviour == "always":
        assert "no basic auth" in await _why(images, image)
    else:
        await images.make_present(image)
    await images.close()


async def test_jobs_share_a_pull_with_one_login_alone(
    engine: Engine, registry: Registry, faulty: FaultyRegistry, logins: Logins
) -> None:
    image = await registry.push(address=faulty.address)
    images = Images(engine, "if-missing", 1, logins)
    faulty.silent_layers = True
    slow = [asyncio.create_task(images.make_present(image, GOOD)) for _ in range(3)]
    await faulty.waiting.wait()
    # While the layers are on their way, the others are for themselves.
    assert "no basic auth" in await _why(images, image)
    assert "unauthorized" in await _why(images, image, BAD)
    assert sum("/blobs/" in path for path in faulty.paths) <= 2
    assert not any(task.done() for task in slow)
    await images.close()
    await asyncio.gather(*slow, return_exceptions=True)


async def test_a_pull_that_breaks_is_tried_again(
    engine: Engine,
    registry: Registry,
    faulty: FaultyRegistry,
    logins: Logins,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY_FIRST_SECONDS", 0.01)
    image = await registry.push(address=faulty.address)
    images = Images(engine, "if-missing", 3, logins)
    faulty.cut = 2
    await images.make_present(image, GOOD)
    await _remove(engine, image)
    faulty.cut = 1000
    images.forget(image)
    reason = await _why(images, image, GOOD)
    assert reason.startswith("CannotPullContainerError: Error response from daemon: Head ")
    assert reason.endswith(f"EOF (credentials: repositoryCredentials {GOOD})")
    await images.close()


@pytest.mark.parametrize("fault", ["silent_manifests", "silent_layers"])
async def test_a_pull_that_does_not_move_is_given_up(
    engine: Engine,
    registry: Registry,
    faulty: FaultyRegistry,
    logins: Logins,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    if fault == "silent_manifests":
        monkeypatch.setattr(module, "BEGIN_SECONDS", 2.0)
    else:
        monkeypatch.setattr(module, "PROGRESS_SECONDS", 1.0)
    image = await registry.push(address=faulty.address)
    images = Images(engine, "if-missing", 1, logins)
    setattr(faulty, fault, True)
    reason = await _why(images, image, GOOD)
    seconds = "2s" if fault == "silent_manifests" else "1s"
    assert reason == (
        f"CannotPullContainerError: inactivity time exceeded timeout of {seconds} "
        f"(credentials: repositoryCredentials {GOOD})"
    )
    await images.close()
