"""Reads what an image consists of from the Docker engine of this machine, which has it already."""

import http.client
import json
import os
import socket
import urllib.parse
from collections.abc import Sequence
from typing import Any

from longshore_cli.images.advice import Image, Layer, is_moving
from longshore_cli.images.registry import TEXT_BYTES, Read, Reference
from longshore_client import InvalidRequest, NotFound, Unavailable

SECONDS = 30.0
SOCKET = "/var/run/docker.sock"


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket of this machine."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        """Opens the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def read(name: str) -> Read:
    """An image that the engine has.

    Raises:
        InvalidRequest: the name is none, or the engine is not on this machine.
        NotFound: it has no such image.
        Unavailable: it does not answer.
    """
    reference = Reference.parse(name)
    shown = _get(f"/images/{urllib.parse.quote(name, safe=':@/')}/json", name)
    history = _get(f"/images/{urllib.parse.quote(name, safe=':@/')}/history", name)
    digests = (shown.get("RootFS") or {}).get("Layers") or []
    image = Image(
        layers_of(history, digests),
        is_moving=is_moving(reference.tag, reference.digest),
        is_packed=False,
    )
    return Read(image, str(shown.get("Id", "")), f"{shown.get('Os')}/{shown.get('Architecture')}")


def layers_of(history: Any, digests: Sequence[str]) -> tuple[Layer, ...]:
    """Layers of what the engine tells, the newest step first.

    Steps without a layer have no size, and those with an empty one cannot be told from them: where
    the numbers do not agree, step and size stand for the digest.
    """
    steps = [
        (max(int(entry.get("Size") or 0), 0), str(entry.get("CreatedBy") or ""))
        for entry in reversed(history if isinstance(history, list) else [])
        if isinstance(entry, dict)
    ]
    filled = [step for step in steps if step[0]]
    told = [f"{size} {step}" for size, step in filled]
    names = list(digests) if len(digests) == len(filled) else told
    return tuple(
        Layer(str(digest), size, step) for digest, (size, step) in zip(names, filled, strict=True)
    )


def _get(path: str, name: str) -> Any:
    host = os.environ.get("DOCKER_HOST") or f"unix://{SOCKET}"
    scheme, _, place = host.partition("://")
    if scheme != "unix":
        raise InvalidRequest(f"--local reads a unix:// socket, and DOCKER_HOST is {host}.")
    connection = _Connection(place)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        content = answer.read(TEXT_BYTES + 1)
        if answer.status == 200:
            return json.loads(content)
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        raise Unavailable(
            f"The engine at {place} does not answer: {error}.", engine=place
        ) from error
    finally:
        connection.close()
    if answer.status == 404:
        raise NotFound(f"The engine here has no image {name}; `docker pull {name}` gets it.")
    raise Unavailable(f"The engine at {place} answers {answer.status}.", engine=place)
