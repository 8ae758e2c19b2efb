"""A Docker engine of a test's own, to be stopped and broken."""

import asyncio
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from support.agent import ensure_busybox

from longshore.agent.docker.engine import Engine

needs_own_engine = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("dockerd", "containerd", "unshare"))),
    reason="an engine of the test's own needs root, dockerd, containerd and unshare",
)


class PrivateEngine:
    """A `dockerd` of its own beside the machine's, on a `containerd` of its own that stays.

    So containers outlive it, as where a machine's engine is upgraded. It has a network namespace to
    itself, and containers no way out of that.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.address = f"unix://{directory}/docker.sock"
        self._containerd: subprocess.Popen[bytes] | None = None
        self._dockerd: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Starts it, and waits until it answers and has the image."""
        if self._containerd is None:
            self.mend()
        self._dockerd = self._run(
            # Of one network it would take the bridge `docker0` away from the machine's engine.
            "unshare",
            "--net",
            "dockerd",
            f"--containerd={self.directory}/containerd.sock",
            f"--data-root={self.directory}/data",
            f"--exec-root={self.directory}/exec",
            f"--pidfile={self.directory}/pid",
            f"--host={self.address}",
            "--iptables=false",
            "--bridge=none",
            "--live-restore",
        )
        engine = Engine(self.address)
        try:
            async with asyncio.timeout(60):
                while not await engine.answers():
                    assert self._dockerd.poll() is None, "dockerd has ended; engine.log says why"
                    await asyncio.sleep(0.1)
            await ensure_busybox(engine)
        finally:
            await engine.close()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends the engine; what runs goes on."""
        if self._dockerd is not None:
            self._dockerd.send_signal(number)
            await asyncio.to_thread(self._dockerd.wait, 60)
            self._dockerd = None

    async def break_down(self) -> None:
        """From now on it answers, and can start nothing."""
        if self._containerd is not None:
            self._containerd.terminate()
            await asyncio.to_thread(self._containerd.wait, 60)
            self._containerd = None

    def mend(self) -> None:
        """It can start containers, again or for the first time."""
        config = self.directory / "containerd.toml"
        config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        self._containerd = self._run(
            "containerd",
            f"--config={config}",
            f"--root={self.directory}/containerd",
            f"--state={self.directory}/containerd-state",
            f"--address={self.directory}/containerd.sock",
        )

    async def close(self) -> None:
        """Ends all of it, and what still runs there: nobody else would."""
        try:
            if self._containerd is None:
                self.mend()
            if self._dockerd is None:
                await self.start()
            await self._remove_containers()
        finally:
            await self.stop()
            await self.break_down()
        unmount = self._run("umount", "--lazy", "--quiet", f"{self.directory}/data")
        await asyncio.to_thread(unmount.wait, 60)
        shutil.rmtree(self.directory, ignore_errors=True)

    async def _remove_containers(self) -> None:
        engine = Engine(self.address)
        try:
            for container in await engine.docker.containers.list(all=True):
                await container.delete(force=True, v=True)
        finally:
            await engine.close()

    def _run(self, *command: str) -> "subprocess.Popen[bytes]":
        with (self.directory / "engine.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)
