"""References of images: what is none fails as a pull, whatever the engine makes of it."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from support.patience import PATIENCE_SECONDS

from longshore.agent.attempts.attempt import RuntimeAway, StepFailed
from longshore.agent.docker import image as module
from longshore.agent.docker.engine import Engine, EngineAwayError
from longshore.agent.docker.image import Images
from longshore.agent.docker.login import Logins
from longshore.agent.secret.reading import Secrets
from longshore.docker_login import NO_LOGIN, Login


class _Asked:
    """Stands for an engine, and is away for every image that it is asked for."""

    def __init__(self) -> None:
        self.docker = self
        self.images = self

    def inspect(self, image: str) -> str:
        return image

    async def call(self, image: str, _: float) -> None:
        raise EngineAwayError(image)


def _no_logins() -> Logins:
    return Logins(Secrets({}), Path("/nowhere"))


def _images() -> Images:
    return Images(cast("Engine", _Asked()), "if-missing", 1, _no_logins())


@pytest.mark.parametrize(
    "image",
    [
        "docker://busybox",
        "https://registry.example/busybox",
        "busybox//x",
        "busybox:",
        "busybox:a:b",
        "/busybox",
        "busybox/",
        "Busybox",
        "a..b",
        "busybox@sha256:12",
        "busybox:" + "t" * 129,
        "busybox#1",
    ],
)
async def test_what_is_no_reference_cannot_be_pulled(image: str) -> None:
    with pytest.raises(StepFailed) as caught:
        await _images().make_present(image)
    assert str(caught.value) == "CannotPullContainerError: invalid reference format"


@pytest.mark.parametrize(
    "image",
    [
        "busybox",
        "library/busybox:1.36",
        "localhost:5000/a/b__c-d.e:_T.x-1",
        "[::1]:5000/a",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app@sha256:" + "0a" * 32,
        "Registry.Example/a:1@sha256:" + "0a" * 32,
        "0a" * 32,
        "sha256:" + "0a" * 32,
    ],
)
async def test_the_engine_is_asked_for_a_reference(image: str) -> None:
    with pytest.raises(RuntimeAway):
        await _images().make_present(image)


class _Pulling(Engine):
    """Stands for an engine that tells of each pull what a test has it tell."""

    def __init__(self) -> None:
        self.said: dict[str, asyncio.Queue[bytes | None]] = defaultdict(asyncio.Queue)

    @asynccontextmanager
    async def stream(self, path: str, params: Mapping[str, str], **_: object) -> AsyncIterator[Any]:
        assert (path, params["tag"]) == ("images/create", "latest")
        yield self._lines(params["fromImage"])

    async def _lines(self, image: str) -> AsyncIterator[bytes]:
        while (said := await self.said[image].get()) is not None:
            yield said


async def test_a_pull_that_waits_for_its_turn_is_not_given_up_while_another_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = _Pulling()
    images = Images(engine, "always", 1, _no_logins())
    waits = asyncio.create_task(images.make_present("waits"))
    moves = asyncio.create_task(images.make_present("moves"))
    for said in (engine.said["waits"], engine.said["moves"]):
        said.put_nowait(b"{}")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(images._patience) < 2:
            await asyncio.sleep(0)
        before = {patience: patience.when() for patience in images._patience}
        engine.said["moves"].put_nowait(b"{}")
        while not all((when := one.when()) and when > (before[one] or 0) for one in before):
            await asyncio.sleep(0)
    monkeypatch.setattr(module, "PROGRESS_SECONDS", 0.01)
    for last in (b"{}", None):
        engine.said["moves"].put_nowait(last)
    await moves
    with pytest.raises(StepFailed, match="inactivity time exceeded"):
        await waits


@pytest.mark.parametrize(
    ("said", "tries"),
    [
        (b'{"error": "unexpected EOF"}', 3),
        (b'{"errorDetail": {"message": "denied: no"}, "error": "denied: no"}', 1),
    ],
)
async def test_what_breaks_in_the_engine_s_stream_is_tried_again_and_a_refusal_is_not(
    monkeypatch: pytest.MonkeyPatch, said: bytes, tries: int
) -> None:
    monkeypatch.setattr(module, "RETRY_FIRST_SECONDS", 0.001)
    engine = _Pulling()
    images = Images(engine, "always", 3, _no_logins())
    for _ in range(3):
        engine.said["a"].put_nowait(said)
    with pytest.raises(StepFailed, match=r"daemon: .* \(credentials: none\)") as caught:
        await images.make_present("a")
    assert json.loads(said)["error"] in caught.value.reason
    assert engine.said["a"].qsize() == 3 - tries


class _CountedLogins(Logins):
    """Tells when both of two have their login, and so wait for the pull."""

    def __init__(self, asked: asyncio.Event) -> None:
        super().__init__(Secrets({}), Path("/nowhere"))
        self._both = asked
        self._first = False

    async def of_machine(self, _: str) -> Login:
        if self._first:
            # Set once this call is back with who asked.
            asyncio.get_running_loop().call_soon(self._both.set)
        self._first = True
        return NO_LOGIN


async def test_a_pull_is_counted_once_and_what_was_there_is_no_pull() -> None:
    """Of two attempts that wait for one pull, one got the bytes; both waited."""
    engine, asked = _Pulling(), asyncio.Event()
    images = Images(engine, "always", 1, _CountedLogins(asked))
    for line in (
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 1, "total": 700}},
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 9, "total": 700}},
        {"status": "Extracting", "id": "b", "progressDetail": {"total": 50}},
        {"status": "Downloading", "id": "c", "progressDetail": {"total": "many"}},
        {"status": "Already exists", "id": "d", "progressDetail": {}},
        {"status": "Downloading", "id": "e"},
    ):
        engine.said["new"].put_nowait(json.dumps(line).encode())
    engine.said["old"].put_nowait(b'{"status": "Status: Image is up to date for old"}')
    engine.said["old"].put_nowait(None)
    both = asyncio.gather(images.make_present("new"), images.make_present("new"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asked.wait()
    engine.said["new"].put_nowait(None)
    found = await both
    assert sorted(start.pulled_bytes for start in found) == [0, 750]
    assert all(start.HasField("pull_duration") and start.image == "new" for start in found)
    assert not (await images.make_present("old")).HasField("pull_duration")
