"""Which login an image is pulled with."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.patience import PATIENCE_SECONDS

from longshore import docker_login
from longshore.agent.attempts.attempt import StepFailed
from longshore.agent.docker.login import Logins
from longshore.agent.secret.reading import Secrets
from longshore.docker_login import (
    DOCKER_HUB,
    HUB_KEY,
    NO_LOGIN,
    Login,
    configured,
    helper_of,
    registry_of,
)
from longshore.domain.secret import SecretReference, Store


def _auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    ("image", "registry", "rest"),
    [
        ("busybox", DOCKER_HUB, "busybox"),
        ("me/app:1", DOCKER_HUB, "me/app:1"),
        ("docker.io/me/app", DOCKER_HUB, "me/app"),
        ("localhost/app", "localhost", "app"),
        ("r.example:5000/a/b@sha256:0", "r.example:5000", "a/b@sha256:0"),
        ("[::1]:5000/a", "[::1]:5000", "a"),
        ("UPPER/a", "UPPER", "a"),
    ],
)
def test_the_registry_of_an_image(image: str, registry: str, rest: str) -> None:
    assert registry_of(image) == (registry, rest)


def _sent(found: Login, image: str = "r.example/a") -> Any:
    """What the engine is told."""
    header = found.headers(image).get("X-Registry-Auth")
    return header and json.loads(base64.urlsafe_b64decode(header))


def test_a_login_is_for_one_registry_alone() -> None:
    login = Login("s", "u", "p>?~")
    said = {"username": "u", "password": "p>?~"}
    assert _sent(login) == said | {"serveraddress": "r.example"}
    assert _sent(login, "busybox") == said | {"serveraddress": HUB_KEY}
    assert NO_LOGIN.headers("busybox") == {}


@pytest.mark.parametrize(
    ("key", "image"),
    [
        ("r.example", "r.example/app:1"),
        ("https://r.example/v2/", "r.example/app"),
        ("r.example:5000", "r.example:5000/team/app"),
        ("r.example/team", "r.example/team/app"),
        (HUB_KEY, "busybox"),
        ("docker.io", "me/app"),
    ],
)
def test_a_configured_login(key: str, image: str) -> None:
    found = configured({"auths": {key: _auth("me:hush:2")}}, image, "FILE")
    assert found == Login(f"{key} in FILE", "me", "hush:2")
    assert "hush" not in repr(found)


def test_what_covers_most_of_a_name_counts() -> None:
    config = {"auths": {"r": _auth("no:1"), "r.example": _auth("a:1"), "r.example/b": _auth("b:2")}}
    assert configured(config, "r.example/b/c", "F").user == "b"
    assert configured(config, "r.example/bc", "F").user == "a"
    assert configured(config, "r.example.org/b", "F") == NO_LOGIN


def test_other_forms_of_a_configured_login() -> None:
    def found(entry: dict[str, str]) -> Login:
        return configured({"auths": {"r.example": entry}}, "r.example/a", "F")

    assert found({"username": "u", "password": "p"}) == Login("r.example in F", "u", "p")
    assert _sent(found({"identitytoken": "t"} | _auth("<token>:")))["identitytoken"] == "t"
    assert found({}) == found({"email": "e"}) == NO_LOGIN


def test_the_helper_of_a_registry() -> None:
    config = {"credsStore": "all", "credHelpers": {"r.example": "one", HUB_KEY: "hub"}}
    assert helper_of(config, "r.example") == "one"
    assert helper_of(config, DOCKER_HUB) == "hub"
    assert helper_of(config, "other.example") == "all"
    assert helper_of({}, "r.example") == ""


class _Source:
    async def read(self, reference: SecretReference) -> str:
        return json.dumps({"username": reference.secret_id, "password": "hush"})


@pytest.fixture
def logins(tmp_path: Path) -> Logins:
    return Logins(Secrets(dict.fromkeys(Store, _Source())), tmp_path)


def _configure(directory: Path, **config: Any) -> None:
    (directory / "config.json").write_text(json.dumps(config))


def _helper(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A credential helper `test` on the path."""
    program = directory / "docker-credential-test"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


async def test_a_job_s_own_login(logins: Logins) -> None:
    found = await logins.of_job("longshore:secret:r")
    assert found == Login("repositoryCredentials longshore:secret:r", "r", "hush")


async def test_without_a_configuration_there_is_no_login(logins: Logins) -> None:
    assert await logins.of_machine("r.example/a") == NO_LOGIN


async def test_a_helper_is_asked_for_the_registry(
    logins: Logins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = 'read server; echo "{\\"Username\\": \\"$server\\", \\"Secret\\": \\"hush\\"}"'
    _helper(tmp_path, monkeypatch, f'test "$1" = get && {said}')
    _configure(tmp_path, credsStore="test")
    found = await logins.of_machine("r.example:5000/a")
    assert (found.user, found.password) == ("r.example:5000", "hush")
    assert found.source == f"docker-credential-test of {tmp_path}/config.json"
    assert (await logins.of_machine("busybox")).user == HUB_KEY
    _helper(tmp_path, monkeypatch, 'echo \'{"Username": "<token>", "Secret": "t"}\'')
    assert _sent(await logins.of_machine("busybox"))["identitytoken"] == "t"


async def test_a_helper_that_knows_none_leaves_it_to_the_rest(
    logins: Logins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _helper(tmp_path, monkeypatch, "echo credentials not found in native keychain; exit 1")
    _configure(tmp_path, credsStore="test", auths={"r.example": _auth("u:p")})
    assert (await logins.of_machine("r.example/a")).user == "u"
    assert await logins.of_machine("other.example/a") == NO_LOGIN


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo the vault is sealed; exit 3", "says for r.example: the vault is sealed"),
        ("exit 3", "says for r.example: exit code 3"),
        ("echo hush", "says no login for r.example that can be read"),
        ('echo \'{"Username": "hush"}\'', "says no login for r.example that can be read"),
        ("exec cat /dev/zero", "printed more than 1,048,576 bytes"),
        ("exec sleep 60", "has not answered within 0.5 s"),
    ],
)
async def test_a_helper_that_fails_is_named(
    logins: Logins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    monkeypatch.setattr(docker_login, "HELPER_SECONDS", 0.5 if "sleep" in script else 30)
    _helper(tmp_path, monkeypatch, script)
    _configure(tmp_path, credHelpers={"r.example": "test"})
    with pytest.raises(StepFailed) as caught:
        await logins.of_machine("r.example/a")
    assert caught.value.reason.startswith("CannotPullContainerError: ")
    assert words in caught.value.reason
    assert "hush" not in caught.value.reason


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[" * 99_999, ""),
        ("[]", "is no JSON object"),
        ('{"auths": []}', ""),
        ('{"auths": [1]}', "auths is no object"),
        ('{"auths": {"r.example": 1}}', "is no object"),
        ('{"auths": {"r.example": {"auth": "hush"}}}', "not USER:PASSWORD in base64"),
        ('{"credsStore": "no/such"}', "is no name of a credential helper"),
        ('{"credsStore": "none-here"}', "docker-credential-none-here"),
    ],
)
async def test_a_configuration_that_cannot_be_used_is_named(
    logins: Logins, tmp_path: Path, content: str, words: str
) -> None:
    (tmp_path / "config.json").write_text(content)
    if content == '{"auths": []}':
        assert await logins.of_machine("r.example/a") == NO_LOGIN
        return
    with pytest.raises(StepFailed) as caught:
        await logins.of_machine("r.example/a")
    assert caught.value.reason.startswith(f"CannotPullContainerError: {tmp_path}/config.json: ")
    assert words in caught.value.reason
    assert "hush" not in caught.value.reason


async def test_a_stopped_start_leaves_no_helper_behind(
    logins: Logins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _helper(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    _configure(tmp_path, credsStore="test")
    asking = asyncio.create_task(logins.of_machine("r.example/a"))
    mark = tmp_path / "pid"
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (mark.exists() and mark.read_text().strip()):
            await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.wait({asking})
    assert not psutil.pid_exists(int(mark.read_text()))
