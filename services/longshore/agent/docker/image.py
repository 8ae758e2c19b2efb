"""Makes images present, as the pull behaviour says.

Attempts share a pull if they pull one image with one login; with another, or with none, each pull
is the registry's to allow. What the engine has already is another matter, as on ECS: where the
behaviour is not `always`, an image that one job pulled is there for all jobs of the instance, and
no login is looked for. `default` asks the registry each time, with the job's own login, and takes
what is there if that fails.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog

from longshore.agent import metrics
from longshore.agent.attempts.attempt import REASON_LENGTH, RuntimeAway, StepFailed, hidden
from longshore.agent.docker.engine import (
    Engine,
    EngineAwayError,
    EngineError,
    EngineTimeoutError,
)
from longshore.agent.docker.login import Logins
from longshore.agent.sharing import Shared
from longshore.docker_login import REFERENCE, Login
from longshore.v1 import agent_service_pb2 as pb

log = structlog.get_logger()

INSPECT_SECONDS = 30.0
PULL_SECONDS = 2 * 3600.0
#: How long the engine may say nothing at the beginning of a pull, and later while nothing else is
#: pulled either: what waits for its turn says nothing.
BEGIN_SECONDS = 5 * 60.0
PROGRESS_SECONDS = 60.0
RETRY_FIRST_SECONDS = 1.0
#: In the words of engine and registry, that the same pull would be refused again.
_FINAL = (
    "unauthorized",
    "denied",
    "no basic auth credentials",
    "manifest unknown",
    "not found",
    "no matching manifest",
)
#: In the same words, that it is the login that was refused.
_REFUSED = ("unauthorized", "denied", "no basic auth credentials", "expired")


#: States of a layer that comes over the network; a small one may be told of in the second alone.
_GETTING = ("Downloading", "Extracting")
#: More layers than any image has.
_LAYERS_MOST = 1_000


class PullStalledError(Exception):
    """A pull has not moved for so long that it is given up."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"inactivity time exceeded timeout of {seconds:g}s")


@dataclass(slots=True)
class Pull:
    """What a pull got, as far as the engine tells."""

    #: Bytes of layers that were got, by layer.
    layers: dict[str, int] = field(default_factory=dict)
    #: Whose it is has taken its bytes for his own.
    is_told: bool = False

    def note(self, line: Mapping[str, Any]) -> None:
        """Takes a line of progress: layers that are there already are never downloaded."""
        if line.get("status") in _GETTING and (size := _total(line)) is not None:
            layer = str(line.get("id"))
            if layer in self.layers or len(self.layers) < _LAYERS_MOST:
                self.layers[layer] = max(size, self.layers.get(layer, 0))

    @property
    def pulled_bytes(self) -> int:
        """All of it."""
        return sum(self.layers.values())


class Images:
    """The images of an engine.

    Behaviours: `if-missing` and `prefer-cached` pull what is not there; `default` pulls always and
    takes what is there if that fails; `always` pulls always; `once` pulls once in this agent's
    life.
    """

    def __init__(self, engine: Engine, behaviour: str, attempts: int, logins: Logins) -> None:
        self._engine = engine
        self._logins = logins
        self._behaviour = behaviour
        self._attempts = attempts
        self._seen: set[str] = set()
        self._pulls: Shared[tuple[str, Login], Pull] = Shared()
        self._patience: set[asyncio.Timeout] = set()

    def known(self, image: str) -> bool:
        """Whether the image is there for all we know, and need not be asked for again."""
        return image in self._seen and self._behaviour not in ("default", "always")

    def forget(self, image: str) -> None:
        """The engine says that it has no such image any more."""
        self._seen.discard(image)

    async def make_present(self, image: str, credentials_parameter: str = "") -> pb.ImageStart:
        """Pulls an image if the behaviour asks for it, and says what that took.

        Args:
            image: as the job names it.
            credentials_parameter: of the job's `repositoryCredentials`; empty if it has none.

        Raises:
            StepFailed: with `CannotPullContainerError` and what the engine or registry said, or the
                login cannot be had.
            RuntimeAway: the engine did not answer.
        """
        if self.known(image):
            return pb.ImageStart(image=image)
        if REFERENCE.fullmatch(image) is None:
            raise StepFailed("CannotPullContainerError", "invalid reference format")
        if self._behaviour in ("if-missing", "prefer-cached") and await self._present(image):
            self._seen.add(image)
            return pb.ImageStart(image=image)
        start = pb.ImageStart(image=image)
        of_job = await self._logins.of_job(credentials_parameter) if credentials_parameter else None
        try:
            login = of_job or await self._logins.of_machine(image)
            clock = asyncio.get_running_loop().time
            begun = clock()
            pull = await self._pulls.do((image, login), lambda: self._pull(image, login))
            # One that found everything there was none; its bytes are those of one attempt.
            if pull.layers:
                start.pull_duration.FromTimedelta(timedelta(seconds=clock() - begun))
                start.pulled_bytes = 0 if pull.is_told else pull.pulled_bytes
                pull.is_told = True
        except StepFailed as error:
            if self._behaviour != "default" or not await self._present(image):
                raise
            log.warning("image.not_refreshed", image=image, error=str(error))
        self._seen.add(image)
        return start

    async def _present(self, image: str) -> bool:
        try:
            await self._engine.call(self._engine.docker.images.inspect(image), INSPECT_SECONDS)
        except EngineError as error:
            if error.status == 404:
                return False
            raise StepFailed("CannotPullContainerError", _said(error)) from error
        except EngineAwayError as error:
            raise RuntimeAway(str(error)) from error
        except EngineTimeoutError as error:
            raise StepFailed(
                "DockerTimeoutError", f"Could not inspect the image; {error}"
            ) from error
        return True

    async def _pull(self, image: str, login: Login) -> Pull:
        pull, began, result = Pull(), time.perf_counter(), "failed"
        try:
            await self._try(image, login, pull)
            result = "pulled"
        finally:
            metrics.PULL_SECONDS.labels(result).observe(time.perf_counter() - began)
            metrics.PULL_BYTES.inc(pull.pulled_bytes)
        log.info("image.pulled", image=image, bytes=pull.pulled_bytes)
        return pull

    async def _try(self, image: str, login: Login, pull: Pull) -> None:
        delay = RETRY_FIRST_SECONDS
        for tries in range(1, self._attempts + 1):
            log.info("image.pulling", image=image, tries=tries, credentials=login.source)
            try:
                await self._engine.call(self._consume(image, login, pull), PULL_SECONDS)
            except EngineError as error:
                if _has(error.message, _REFUSED):
                    self._logins.refused(login)
                if _is_final(error) or tries == self._attempts:
                    raise _cannot_pull(_said(error), login) from error
            except PullStalledError as error:
                if tries == self._attempts:
                    raise _cannot_pull(str(error), login) from error
            except EngineAwayError as error:
                raise RuntimeAway(str(error)) from error
            except EngineTimeoutError as error:
                raise StepFailed(
                    "DockerTimeoutError", f"Could not transition to pulled; {error}"
                ) from error
            else:
                return
            await asyncio.sleep(delay)
            delay *= 2

    async def _consume(self, image: str, login: Login, got: Pull) -> None:
        clock = asyncio.get_running_loop().time
        seconds = BEGIN_SECONDS
        patience = asyncio.timeout(seconds)
        pull = self._engine.stream(
            "images/create", _params(image), method="POST", headers=login.headers(image)
        )
        try:
            async with patience, pull as progress:
                async for line in progress:
                    if (said := json.loads(line)).get("error"):
                        raise EngineError(0, str(said["error"]))
                    got.note(said)
                    seconds = PROGRESS_SECONDS
                    self._patience.add(patience)
                    for other in self._patience:
                        if not other.expired():
                            other.reschedule(clock() + seconds)
        except TimeoutError:
            raise PullStalledError(seconds) from None
        finally:
            self._patience.discard(patience)

    async def close(self) -> None:
        """Gives up pulls that are going on."""
        await self._pulls.close()
        await self._logins.close()


def _total(line: Mapping[str, Any]) -> int | None:
    """The size of a layer, if a line of progress tells it."""
    detail = line.get("progressDetail")
    size = detail.get("total") if isinstance(detail, dict) else None
    return size if isinstance(size, int) and size >= 0 else None


def _said(error: EngineError) -> str:
    return f"Error response from daemon: {error.message}"


def _params(image: str) -> dict[str, str]:
    """What is pulled; without a tag the engine would pull all that there are."""
    _, _, last = image.rpartition("/")
    return {"fromImage": image} | ({} if ":" in last or "@" in last else {"tag": "latest"})


def _has(text: str, words: Iterable[str]) -> bool:
    return any(word in text.lower() for word in words)


def _is_final(error: EngineError) -> bool:
    """Whether a pull that failed would fail again: not for what breaks on the way."""
    return 400 <= error.status < 500 or _has(error.message, _FINAL)


def _cannot_pull(said: str, login: Login) -> StepFailed:
    """What engine and registry said, and, where AWS cuts the reason, which login was used."""
    name, used = "CannotPullContainerError", f" (credentials: {login.source})"
    room = REASON_LENGTH - len(f"{name}: {used}")
    said = hidden(said, (login.password, login.identity_token))
    return StepFailed(name, said[: max(room, 0)] + used)
