"""Whether a Docker engine answers."""

import asyncio
from pathlib import Path

import pytest

from longshore.standalone.engine import engine_version


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        (b'HTTP/1.0 200 OK\r\n\r\n{"Version": "1.2"}', "1.2"),
        (b"HTTP/1.0 500 Broken\r\n\r\n{}", None),
        (b"HTTP/1.0 200 OK\r\n\r\nno JSON", None),
        (b"", None),
    ],
)
async def test_version_is_asked_for(tmp_path: Path, answer: bytes, version: str | None) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    path = str(tmp_path / "engine.sock")
    server = await asyncio.start_unix_server(serve, path)
    async with server:
        assert await engine_version({"DOCKER_HOST": f"unix://{path}"}) == version


async def test_nothing_there(tmp_path: Path) -> None:
    assert await engine_version({"DOCKER_HOST": f"unix://{tmp_path}/nothing.sock"}) is None
    assert await engine_version({"DOCKER_HOST": "tcp://127.0.0.1:1"}) is None
