"""The way to the Docker engine: one client, a deadline on every call, failures by type."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiodocker
import aiohttp

T = TypeVar("T")

SOCKETS = ("/run/docker.sock", "/var/run/docker.sock")
CONNECT_SECONDS = 10.0
PROBE_SECONDS = 5.0
#: aiodocker's own status for an engine that cannot be reached.
_UNREACHABLE = 900


class EngineError(Exception):
    """The engine refused, and said why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class EngineAwayError(Exception):
    """The engine did not answer."""


class EngineUnreachableError(EngineAwayError):
    """There was nobody to ask: the engine knows nothing of the call."""


class EngineTimeoutError(Exception):
    """The engine did not finish in time."""

    def __init__(self, seconds: float) -> None:
        minutes, rest = divmod(round(seconds), 60)
        text = f"{minutes}m{rest}s" if minutes else f"{rest}s"
        super().__init__(f"timed out after waiting {text}")


def engine_address() -> str | None:
    """Where the engine listens: DOCKER_HOST, else the first known socket that is there."""
    if address := os.environ.get("DOCKER_HOST"):
        return address
    return next((f"unix://{path}" for path in SOCKETS if Path(path).is_socket()), None)


class Engine:
    """A client of one engine. Connections are not limited: each followed log holds one."""

    def __init__(self, address: str) -> None:
        connector: aiohttp.BaseConnector
        #: Where the engine's socket is; None for one that is reached over TCP.
        self.directory: Path | None = None
        if address.startswith("unix://"):
            path = address.removeprefix("unix://")
            self.directory = Path(path).parent
            connector = aiohttp.UnixConnector(path, limit=0)
        else:
            connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector)
        self.docker = aiodocker.Docker(url=address, session=self._session)

    async def answers(self) -> bool:
        """Whether the engine is there."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self.docker.version()
        except (aiodocker.DockerError, aiohttp.ClientError, TimeoutError, OSError):
            return False
        return True

    async def call(self, work: Awaitable[T], seconds: float) -> T:
        """Awaits a call of aiodocker's.

        Raises:
            EngineError: the engine refused.
            EngineAwayError: there was no answer.
            EngineTimeoutError: it took longer than so many seconds.
        """
        try:
            async with asyncio.timeout(seconds):
                return await work
        except aiodocker.DockerError as error:
            if error.status == _UNREACHABLE:
                refused = isinstance(error.__cause__, aiohttp.ClientConnectorError)
                kind = EngineUnreachableError if refused else EngineAwayError
                raise kind("Cannot connect to the Docker engine") from error
            raise EngineError(error.status, error.message) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise EngineAwayError("The Docker engine closed the connection") from error
        except TimeoutError as error:
            raise EngineTimeoutError(seconds) from error

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        params: Mapping[str, str],
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """The body of a long answer, read as it comes; the connection ends with the context.

        aiodocker decodes logs to text and drops what tells output from errors; this keeps bytes.
        And it leaves open what is given up: the engine would go on with it.
        """
        docker = self.docker
        await self.call(docker.version(), CONNECT_SECONDS) if docker.api_version == "auto" else None
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        url = f"{docker.docker_host}/{docker.api_version}/{path}"
        try:
            async with self._session.request(
                method, url, params=params, headers=headers, timeout=timeout
            ) as response:
                if response.status >= 400:
                    body = await response.read()
                    raise EngineError(response.status, _message(body))
                yield response.content
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise EngineAwayError("The Docker engine closed the connection") from error

    async def close(self) -> None:
        """Closes all connections."""
        await self.docker.close()
        await self._session.close()


def filters(**values: list[str]) -> str:
    """Filters as the engine takes them."""
    return json.dumps(values)


def _message(body: bytes) -> str:
    try:
        decoded: Any = json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
    return str(decoded.get("message", decoded))
