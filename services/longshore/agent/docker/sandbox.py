"""The sandbox: one paused container whose network namespace the containers of an instance share.

So an instance has one address on a bridge network of longshore's own, and a container that joins it
starts two to three times faster than with a network of its own. The image holds one file, a static
program that sleeps for ever, made here from a few machine words, so nothing is fetched.
"""

import asyncio
import hashlib
import io
import json
import platform
import struct
import tarfile
from collections.abc import Iterator
from typing import Any

import structlog

from longshore.agent.docker.bridge import CALL_SECONDS, make_bridge
from longshore.agent.docker.container import INSTANCE_LABEL
from longshore.agent.docker.engine import (
    Engine,
    EngineAwayError,
    EngineError,
    EngineTimeoutError,
)

log = structlog.get_logger()

IMAGE = "longshore-sandbox:1"
NETWORK = "longshore"
SANDBOX_LABEL = "longshore.sandbox"
_LOAD_ADDRESS = 0x400000
#: Per machine: ELF's number for it, the engine's name, and a loop around a call that never returns.
_MACHINES = {
    # mov eax, 34 (pause); syscall; jmp back
    "x86_64": (62, "amd64", bytes.fromhex("b8220000000f05ebf7")),
    # ppoll(NULL, 0, NULL, NULL, 0): mov x0..x4, #0; mov x8, #73; svc #0; b back
    "aarch64": (
        183,
        "arm64",
        struct.pack(
            "<8I",
            *(0xD2800000 | register for register in range(5)),
            0xD2800928,
            0xD4000001,
            0x17FFFFF9,
        ),
    ),
}


class SandboxError(Exception):
    """There can be no sandbox here; the message says why."""


def program(machine: str) -> bytes:
    """A static ELF program that sleeps for ever.

    Raises:
        SandboxError: the machine is not one of those we know.
    """
    if machine not in _MACHINES:
        raise SandboxError(f"no sandbox program for {machine}")
    number, _, code = _MACHINES[machine]
    header_bytes, segment_bytes = 64, 56
    begin = header_bytes + segment_bytes
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack(
        "<HHIQQQIHHHHHH", 2, number, 1, _LOAD_ADDRESS + begin, header_bytes, 0, 0,
        header_bytes, segment_bytes, 1, 0, 0, 0,
    )  # fmt: skip
    size = begin + len(code)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _LOAD_ADDRESS, _LOAD_ADDRESS, size, size, 0x1000)
    return ident + header + segment + code


def image_archive(machine: str) -> bytes:
    """The sandbox image in the form of `docker save`.

    Raises:
        SandboxError: the machine is not one of those we know.
    """
    layer = _tar({"sandbox": (program(machine), 0o755)})
    config = json.dumps(
        {
            "architecture": _MACHINES[machine][1],
            "os": "linux",
            "created": "2000-01-01T00:00:00Z",
            "config": {"Cmd": ["/sandbox"], "WorkingDir": "/"},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps(
        [{"Config": config_name, "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    ).encode()
    return _tar(
        {
            "manifest.json": (manifest, 0o644),
            config_name: (config, 0o644),
            "layer.tar": (layer, 0o644),
        }
    )


class Sandbox:
    """The sandbox of one instance: made when first needed, made again when it died."""

    def __init__(self, engine: Engine, instance_id: str) -> None:
        self._engine = engine
        self._instance_id = instance_id
        self._name = f"longshore-{instance_id}-sandbox"
        self._container_id = ""
        self._address = ""
        #: How often it was said that it may be gone.
        self.doubts = 0
        self._making: asyncio.Task[str] | None = None
        #: Name of its network, once it was made or found.
        self.network_name = ""

    def invalidate(self) -> None:
        """It may be gone: the next to need it looks again."""
        self.doubts += 1
        self._container_id = ""
        self._address = ""

    def is_container(self, container_id: str) -> bool:
        """Whether a container is the sandbox."""
        return bool(container_id) and container_id == self._container_id

    async def network_mode(self) -> str:
        """The NetworkMode by which a container joins it.

        Raises:
            SandboxError: there can be none.
        """
        if not self._container_id:
            # The making belongs to all who wait for it, and goes on when one of them is stopped.
            if self._making is None or self._making.done():
                self._making = asyncio.create_task(self._make())
            self._container_id = await asyncio.shield(self._making)
        return f"container:{self._container_id}"

    async def address(self, container_id: str) -> str:
        """Where others on this engine reach those who joined a sandbox; empty if it is gone.

        Args:
            container_id: which one they joined; that need not be the present one.
        """
        if self._address and container_id == self._container_id:
            return self._address
        container = self._engine.docker.containers.container(container_id)
        try:
            shown = await self._engine.call(container.show(), CALL_SECONDS)
        except EngineError as error:
            if error.status == 404:
                return ""
            raise
        address = next(addresses(shown), "")
        if container_id == self._container_id:
            self._address = address
        return address

    async def remove(self) -> None:
        """Removes the container. The network stays: other instances on this engine share it."""
        await self.settle()
        self.invalidate()
        await self._delete()

    async def settle(self) -> None:
        """Waits for a making under way: what it asked of the engine happens in any case."""
        if self._making is not None:
            await asyncio.gather(self._making, return_exceptions=True)

    async def _delete(self) -> None:
        container = self._engine.docker.containers.container(self._name)
        try:
            await self._engine.call(container.delete(force=True), CALL_SECONDS)
        except EngineError as error:
            if error.status != 404:
                log.warning("sandbox.not_removed", error=str(error))
        except (EngineAwayError, EngineTimeoutError) as error:
            log.warning("sandbox.not_removed", error=str(error))

    async def _make(self) -> str:
        try:
            found = await self._running()
            if found:
                return found
            await self.make_image()
            bridge = await make_bridge(self._engine, NETWORK)
            container_id = await self._start(bridge.network_id)
            self.network_name = bridge.name
        except EngineError as error:
            raise SandboxError(error.message) from error
        log.info("sandbox.started", container_id=container_id[:12])
        return container_id

    async def _running(self) -> str:
        """The id of a running sandbox; one that does not run is removed."""
        containers = self._engine.docker.containers
        try:
            shown = await self._engine.call(containers.container(self._name).show(), CALL_SECONDS)
        except EngineError as error:
            if error.status == 404:
                return ""
            raise
        if shown["State"]["Running"]:
            self.network_name = next(iter(shown["NetworkSettings"]["Networks"] or {}), "")
            return str(shown["Id"])
        await self._delete()
        return ""

    async def make_image(self) -> None:
        """Gives the engine the image, unless it has it.

        Raises:
            SandboxError: the machine is not one of those we know.
        """
        images = self._engine.docker.images
        try:
            await self._engine.call(images.inspect(IMAGE), CALL_SECONDS)
        except EngineError as error:
            if error.status != 404:
                raise
            archive = image_archive(platform.machine())
            await self._engine.call(images.import_image(archive), CALL_SECONDS)

    async def _start(self, network_id: str) -> str:
        config: dict[str, Any] = {
            "Image": IMAGE,
            "Labels": {SANDBOX_LABEL: self._instance_id, INSTANCE_LABEL: self._instance_id},
            "HostConfig": {
                "NetworkMode": network_id,
                "ReadonlyRootfs": True,
                "CapDrop": ["ALL"],
                "LogConfig": {"Type": "none", "Config": {}},
                "RestartPolicy": {"Name": "unless-stopped"},
            },
        }
        containers = self._engine.docker.containers
        container = await self._engine.call(
            containers.create(config, name=self._name), CALL_SECONDS
        )
        await self._engine.call(container.start(), CALL_SECONDS)
        return container.id


def addresses(shown: dict[str, Any]) -> Iterator[str]:
    """The IPv4 addresses that the engine says a container has on networks of its own."""
    for network in (shown["NetworkSettings"]["Networks"] or {}).values():
        if network["IPAddress"]:
            yield str(network["IPAddress"])


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (data, mode) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
