"""Asks the Docker engine's socket whether it answers; nothing else here speaks to Docker."""

import asyncio
import json
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

PING_SECONDS = 3.0
_REQUEST = b"GET /version HTTP/1.0\r\nHost: localhost\r\n\r\n"


async def engine_version(environ: Mapping[str, str] = os.environ) -> str | None:
    """The engine's version behind DOCKER_HOST or the usual socket; None if nothing answers."""
    target = urlsplit(environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
    try:
        async with asyncio.timeout(PING_SECONDS):
            if target.scheme == "unix":
                reader, writer = await asyncio.open_unix_connection(target.path)
            else:
                reader, writer = await asyncio.open_connection(
                    target.hostname or "localhost", target.port or 2375
                )
            try:
                writer.write(_REQUEST)
                await writer.drain()
                answer = await reader.read()
            finally:
                writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n", 1)[0] + b" ":
            return None
        return str(json.loads(body)["Version"])
    except (OSError, TimeoutError, ValueError, KeyError):
        return None
