"""Makes images present, as the pull behaviour says.

Attempts share a pull if they pull one image with one login; with another, or with none, each pull
is the registry's to allow. What the engine has already is another matter, as on ECS: where the
behaviour is not `always`, an image that one job pulled is there for all jobs of the instance, and
no login is looked for. `default` asks the registry each time, with the job's own login, and takes
what is there if that fails.
"""

import asyncio
import json
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from longshore.agent import metrics
from longshore.agent.attempts.attempt import REASON_LENGTH, RuntimeAway, StepFailed
from longshore.agent.docker.engine import (
    Engine,
    EngineAwayError,
    EngineError,
    EngineTimeoutError,
)
from longshore.agent.docker.login import Login, Logins
from longshore.agent.sharing import Shared

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
#: What the engine takes for an image, by the grammar of github.com/distribution/reference: a name
#: with or without its registry, a tag, a digest. Others make addresses that mean something else.
_LABEL = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)"
_REGISTRY = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"\w[\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?:{_REGISTRY}/)?{_PART}(?:/{_PART})*(?::{_TAG})?(?:@{_DIGEST})?", re.ASCII
)


class PullStalledError(Exception):
    """A pull has not moved for so long that it is given up."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"inactivity time exceeded timeout of {seconds:g}s")


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
        self._pulls: Shared[tuple[str, Login], None] = Shared()
        self._patience: set[asyncio.Timeout] = set()

    def known(self, image: str) -> bool:
        """Whether the image is there for all we know, and need not be asked for again."""
        return image in self._seen and self._behaviour not in ("default", "always")

    def forget(self, image: str) -> None:
        """The engine says that it has no such image any more."""
        self._seen.discard(image)

    async def make_present(self, image: str, credentials_parameter: str = "") -> None:
        """Pulls an image if the behaviour asks for it.

        Args:
            image: as the job names it.
            credentials_parameter: of the job's `repositoryCredentials`; empty if it has none.

        Raises:
            StepFailed: with `CannotPullContainerError` and what the engine or registry said, or the
                login cannot be had.
            RuntimeAway: the engine did not answer.
        """
        if self.known(image):
            return
        if _REFERENCE.fullmatch(image) is None:
            raise StepFailed("CannotPullContainerError", "invalid reference format")
        if self._behaviour in ("if-missing", "prefer-cached") and await self._present(image):
            self._seen.add(image)
            return
        of_job = await self._logins.of_job(credentials_parameter) if credentials_parameter else None
        try:
            login = of_job or await self._logins.of_machine(image)
            await self._pulls.do((image, login), lambda: self._pull(image, login))
        except StepFailed as error:
            if self._behaviour != "default" or not await self._present(image):
                raise
            log.warning("image.not_refreshed", image=image, error=str(error))
        self._seen.add(image)

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

    async def _pull(self, image: str, login: Login) -> None:
        began, result = time.perf_counter(), "failed"
        try:
            await self._try_to_pull(image, login)
            result = "pulled"
        finally:
            metrics.PULL_SECONDS.labels(result).observe(time.perf_counter() - began)

    async def _try_to_pull(self, image: str, login: Login) -> None:
        delay = RETRY_FIRST_SECONDS
        for tries in range(1, self._attempts + 1):
            log.info("image.pulling", image=image, tries=tries, credentials=login.source)
            try:
                await self._engine.call(self._consume(image, login), PULL_SECONDS)
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

    async def _consume(self, image: str, login: Login) -> None:
        clock = asyncio.get_running_loop().time
        seconds = BEGIN_SECONDS
        layers: dict[str, int] = {}
        patience = asyncio.timeout(seconds)
        pull = self._engine.stream(
            "images/create", _params(image), method="POST", headers=login.headers(image)
        )
        try:
            async with patience, pull as progress:
                async for line in progress:
                    if (said := json.loads(line)).get("error"):
                        raise EngineError(0, str(said["error"]))
                    metrics.PULL_BYTES.inc(_downloaded(layers, said))
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


def _downloaded(layers: dict[str, int], said: Mapping[str, Any]) -> int:
    """How many bytes more of a layer are there than was said before."""
    detail = said.get("progressDetail")
    if said.get("status") != "Downloading" or not isinstance(detail, dict):
        return 0
    layer, current = str(said.get("id")), detail.get("current")
    if not isinstance(current, int) or current <= (before := layers.get(layer, 0)):
        return 0
    layers[layer] = current
    return current - before


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
    return StepFailed(name, login.hide(said)[: max(room, 0)] + used)
