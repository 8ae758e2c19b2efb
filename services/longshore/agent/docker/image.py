"""Makes images present, as the pull behaviour says. Attempts with one image share a pull."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import structlog

from longshore.agent.attempts.attempt import RuntimeAway, StepFailed
from longshore.agent.docker.engine import (
    Engine,
    EngineAwayError,
    EngineError,
    EngineTimeoutError,
)

log = structlog.get_logger()

INSPECT_SECONDS = 30.0
PULL_SECONDS = 2 * 3600.0
RETRY_FIRST_SECONDS = 1.0
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


class Images:
    """The images of an engine.

    Behaviours: `if-missing` and `prefer-cached` pull what is not there; `default` pulls always and
    takes what is there if that fails; `always` pulls always; `once` pulls once in this agent's
    life.
    """

    def __init__(self, engine: Engine, behaviour: str, attempts: int) -> None:
        self._engine = engine
        self._behaviour = behaviour
        self._attempts = attempts
        self._seen: set[str] = set()
        self._pulls: dict[str, asyncio.Task[None]] = {}

    def known(self, image: str) -> bool:
        """Whether the image is there for all we know, and need not be asked for again."""
        return image in self._seen and self._behaviour not in ("default", "always")

    def forget(self, image: str) -> None:
        """The engine says that it has no such image any more."""
        self._seen.discard(image)

    async def make_present(self, image: str) -> None:
        """Pulls an image if the behaviour asks for it.

        Raises:
            StepFailed: with `CannotPullContainerError` and what the engine or registry said.
            RuntimeAway: the engine did not answer.
        """
        if self.known(image):
            return
        if _REFERENCE.fullmatch(image) is None:
            raise StepFailed("CannotPullContainerError", "invalid reference format")
        if self._behaviour in ("if-missing", "prefer-cached") and await self._present(image):
            self._seen.add(image)
            return
        try:
            await self._pull_shared(image)
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

    async def _pull_shared(self, image: str) -> None:
        # The pull belongs to all who wait for it: one that is stopped does not end it.
        pull = self._pulls.get(image)
        if pull is None:
            pull = asyncio.create_task(self._pull(image))
            self._pulls[image] = pull
            pull.add_done_callback(lambda done: self._pulled(image, done))
        await asyncio.shield(pull)

    def _pulled(self, image: str, pull: asyncio.Task[None]) -> None:
        del self._pulls[image]
        if not pull.cancelled():
            pull.exception()  # Those who wait are told; when nobody waits any more it is no matter.

    async def _pull(self, image: str) -> None:
        delay = RETRY_FIRST_SECONDS
        for tries in range(1, self._attempts + 1):
            log.info("image.pulling", image=image, tries=tries)
            try:
                await self._engine.call(self._consume(image), PULL_SECONDS)
            except EngineError as error:
                if error.status < 500 or tries == self._attempts:
                    raise StepFailed("CannotPullContainerError", _said(error)) from error
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

    async def _consume(self, image: str) -> None:
        progress: AsyncIterator[dict[str, Any]] = self._engine.docker.images.pull(
            image, stream=True
        )
        async for _ in progress:
            pass

    async def close(self) -> None:
        """Gives up pulls that are going on."""
        pulls = list(self._pulls.values())
        for pull in pulls:
            pull.cancel()
        await asyncio.gather(*pulls, return_exceptions=True)


def _said(error: EngineError) -> str:
    return f"Error response from daemon: {error.message}"
