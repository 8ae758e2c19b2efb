"""The engine's own log, where it can be read: followed by the program that knows how.

Only what is said from now on is taken: what was before, an earlier life of the agent has told.
Lines of debugging are left out, because an engine writes down there what it is asked, the
environment of containers among it.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

log = structlog.get_logger()

UNIT = "docker.service"
FILE = Path("/var/log/docker.log")
#: Where there is a journal to ask for a unit.
_SYSTEMD = Path("/run/systemd/system")
#: Between two tries to follow a log whose program ended.
AGAIN_SECONDS = 30.0
#: Longest line; the rest of a longer one is left out.
LINE_BYTES = 16 * 1024
KILLED_SECONDS = 5.0
_DEBUGGING = (b"level=debug", b'"level":"debug"')


def follower(place: str) -> Sequence[str]:
    """The program that follows the engine's log, with its arguments; none if it cannot be read.

    Args:
        place: LONGSHORE_ENGINE_LOG.
    """
    if place == "none":
        return ()
    if place == "auto" and _SYSTEMD.exists() and (journalctl := shutil.which("journalctl")):
        return (journalctl, f"--unit={UNIT}", "--follow", "--lines=0", "--output=cat", "--quiet")
    path = FILE if place == "auto" else Path(place)
    tail = shutil.which("tail")
    # `-F`: a log that is put aside, or comes later, is followed by its name.
    return (tail, "-n", "0", "-F", str(path)) if tail and os.access(path, os.R_OK) else ()


async def follow(place: str, take: Callable[[str], object]) -> None:
    """Hands on what the engine says, until cancelled.

    Args:
        place: LONGSHORE_ENGINE_LOG.
        take: takes a line.
    """
    command = follower(place)
    if not command:
        if place != "none":
            log.info("engine_log.not_read", place=place)
            take(f"longshore: the engine's log cannot be read here ({place})")
        return
    while True:
        try:
            await _follow(command, take)
        except OSError as error:
            log.warning("engine_log.not_followed", error=str(error))
        await asyncio.sleep(AGAIN_SECONDS)


async def _follow(command: Sequence[str], take: Callable[[str], object]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        rest = b""
        while process.stdout and (data := await process.stdout.read(LINE_BYTES)):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[:LINE_BYTES]
            for line in lines:
                if line and not any(mark in line for mark in _DEBUGGING):
                    take(line.decode(errors="replace"))
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILLED_SECONDS):
                await process.wait()
