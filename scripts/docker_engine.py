"""The Docker engine's HTTP API, as far as the scripts need it; standard library alone."""

import http.client
import json
import os
import socket
from typing import IO, Any
from urllib.parse import urlsplit

DEFAULT_HOST = "unix:///var/run/docker.sock"


class EngineError(Exception):
    """The engine refused, or could not be reached."""


class _Connection(http.client.HTTPConnection):
    """HTTP over the engine's unix or TCP socket."""

    def __init__(self, target: str, timeout: float) -> None:
        parts = urlsplit(target)
        super().__init__(parts.hostname or "localhost", parts.port or 2375, timeout=timeout)
        self._path = parts.path if parts.scheme == "unix" else None

    def connect(self) -> None:
        if self._path is None:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def call(
    method: str, path: str, *, body: IO[bytes] | bytes | None = None, timeout: float = 10
) -> tuple[int, bytes]:
    """One request; returns the status and the whole body.

    Raises:
        EngineError: nothing answers in time.
    """
    connection = _Connection(os.environ.get("DOCKER_HOST") or DEFAULT_HOST, timeout)
    try:
        connection.request(method, path, body, {"Content-Type": "application/x-tar"})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise EngineError(f"the engine does not answer: {error}") from error
    finally:
        connection.close()


def version() -> str:
    """The engine's version."""
    status, body = call("GET", "/version", timeout=3)
    if status != 200:
        raise EngineError(f"the engine answers with status {status}")
    answer: dict[str, Any] = json.loads(body)
    return str(answer["Version"])


def has_image(name: str) -> bool:
    """Whether the engine has an image of that name."""
    return call("GET", f"/images/{name}/json")[0] == 200


def progress_error(body: bytes) -> str | None:
    """The error in a stream of progress messages, whose HTTP status is 200 all the same."""
    for line in body.splitlines():
        message = json.loads(line) if line.strip() else {}
        if isinstance(message, dict) and "error" in message:
            return str(message["error"])
    return None
