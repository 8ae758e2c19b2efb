"""A real registry with a password, on loopback, and a proxy before it that makes it slow or break.

Debian's `docker-registry`, which `scripts/ensure-registry` gets. Images are pushed over its HTTP
interface, so the engine has none of their layers until it pulls them.
"""

import asyncio
import base64
import gzip
import hashlib
import io
import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from support.agent import busybox_archive, until
from support.ports import free_port

USER, PASSWORD = "puller", "s3cret-word"
#: The registry takes bcrypt alone.
_HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuuEpHRRKIlpAGo.iP7Bpa.htQEJMAAnRe\n"
_UNPACKED = Path(__file__).parents[2] / ".registry/usr/bin/docker-registry"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def basic(user: str = USER, password: str = PASSWORD) -> str:
    """User and password as `config.json` has them."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


class Registry:
    """The registry's process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.address = f"127.0.0.1:{free_port()}"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it and waits until it answers."""
        program = shutil.which("docker-registry") or str(_UNPACKED)
        assert shutil.which(program), "no docker-registry; scripts/ensure-registry gets one"
        (self._directory / "htpasswd").write_text(_HTPASSWD)
        config = {
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self._directory / "data")}},
            "http": {"addr": self.address},
            "auth": {
                "htpasswd": {"realm": "test", "path": str(self._directory / "htpasswd")},
            },
        }
        # JSON is YAML.
        (self._directory / "config.yml").write_text(json.dumps(config))
        with (self._directory / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                program, "serve", str(self._directory / "config.yml"), stdout=log, stderr=log
            )
        await until(self._answers)

    async def _answers(self) -> bool:
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://{self.address}/v2/") as answer,
            ):
                return answer.status == 401
        except aiohttp.ClientError:
            return False

    async def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.terminate()
            await self._process.wait()

    async def push(self, name: str = "", *, address: str = "") -> str:
        """An image like busybox, with layers that no other image has; returns its reference."""
        # What follows the end of an archive is part of the layer, and nothing of the image.
        layer = gzip.compress(busybox_archive() + uuid.uuid4().bytes, 1)
        name = name or f"private/{uuid.uuid4().hex}"
        await self.publish(name, "1", [(layer, "")])
        return f"{address or self.address}/{name}:1"

    async def publish(
        self,
        name: str,
        tag: str,
        layers: Sequence[tuple[bytes, str]],
        *,
        platforms: Sequence[str] = (),
    ) -> str:
        """An image of packed layers and the steps that made them; returns its digest.

        Args:
            name: of its repository.
            tag: that it gets.
            layers: the oldest first.
            platforms: for which an index under the tag names it, `os/architecture`; none: the tag
                is its own.
        """
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["sh"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": [_digest(gzip.decompress(layer)) for layer, _ in layers],
            },
        }
        if any(step for _, step in layers):
            steps = [{"created_by": step} for _, step in layers]
            config["history"] = [*steps, {"created_by": "ENV A=b", "empty_layer": True}]
        text = json.dumps(config).encode()
        described = [
            {"mediaType": _LAYER, "size": len(layer), "digest": _digest(layer)}
            for layer, _ in layers
        ]
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, "size": len(text), "digest": _digest(text)},
            "layers": described,
        }
        content = json.dumps(manifest).encode()
        headers = {"Authorization": f"Basic {basic()}"}
        base = f"http://{self.address}/v2/{name}"
        async with aiohttp.ClientSession(headers=headers) as session:
            for blob in (text, *(layer for layer, _ in layers)):
                async with session.post(f"{base}/blobs/uploads/") as answer:
                    place = answer.headers["Location"]
                separator = "&" if "?" in place else "?"
                url = f"{place}{separator}digest={_digest(blob)}"
                async with session.put(url, data=io.BytesIO(blob)) as answer:
                    assert answer.status == 201, await answer.text()
            under = _digest(content) if platforms else tag
            await _put(session, f"{base}/manifests/{under}", content, _MANIFEST)
            if platforms:
                index = _index(content, platforms)
                await _put(session, f"{base}/manifests/{tag}", index, _INDEX)
        return _digest(content)


async def _put(session: aiohttp.ClientSession, url: str, content: bytes, media: str) -> None:
    async with session.put(url, data=content, headers={"Content-Type": media}) as answer:
        assert answer.status == 201, await answer.text()


def _index(manifest: bytes, platforms: Sequence[str]) -> bytes:
    entries = [
        {
            "mediaType": _MANIFEST,
            "size": len(manifest),
            "digest": _digest(manifest),
            "platform": dict(zip(("os", "architecture"), platform.split("/"), strict=True)),
        }
        for platform in platforms
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries}).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class FaultyRegistry:
    """Passes requests on to a registry, but for the faults that a test asks for."""

    backend: str
    #: How many requests for a manifest are cut off.
    cut: int = 0
    #: Whether manifests or layers never come.
    silent_manifests: bool = False
    silent_layers: bool = False
    #: Set when a layer was asked for that does not come.
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    #: Paths that were asked for.
    paths: list[str] = field(default_factory=list)
    address: str = ""

    async def start(self) -> web.AppRunner:
        """Listens on loopback."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server: Any = site._server
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return runner

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        is_manifest = "/manifests/" in request.path
        if is_manifest and self.cut > 0:
            self.cut -= 1
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method,
                f"http://{self.backend}{request.path_qs}",
                headers=CIMultiDict((n, v) for n, v in request.headers.items() if n != "Host"),
            ) as answer,
        ):
            body = await answer.read()
            headers = {n: v for n, v in answer.headers.items() if n != "Transfer-Encoding"}
        is_layer = "/blobs/" in request.path and len(body) > 10_000
        if answer.status == 200 and (
            (is_manifest and self.silent_manifests) or (is_layer and self.silent_layers)
        ):
            self.waiting.set()
            await asyncio.Event().wait()
        # An answer to HEAD tells the length of what it does not have.
        kept = None if request.method == "HEAD" else body
        return web.Response(status=answer.status, body=kept, headers=headers)
