"""Agents' processes on this machine: started, found again, watched, reaped.

Agents are started in a session of their own and outlive this process. The one that comes after
finds them by what their environment says: instance id and directory. So there is no file of process
ids that could be missing, stale, or name a process that got an old id; and from then on a process
is known by its id together with its start time, which is what psutil checks before any signal.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import structlog

log = structlog.get_logger()


class Processes:
    """The processes of instances with directories in one place."""

    def __init__(self, directory: Path, on_exit: Callable[[], None]) -> None:
        """Knows of none yet.

        Args:
            directory: where instances have their directories.
            on_exit: called in the event loop when a process has ended.
        """
        self._directory = directory
        self._on_exit = on_exit
        self._known: dict[str, psutil.Process] = {}
        self._children: set[int] = set()
        self._watched: set[int] = set()

    async def adopt(self) -> None:
        """Finds those that a process before this one left."""
        found = await asyncio.to_thread(self._find)
        if found:
            log.info("instances.adopted", count=len(found))
        self._known |= found
        for process in found.values():
            self._watch(process.pid)

    def get(self, instance_id: str) -> psutil.Process | None:
        """The process of an instance, running or not."""
        return self._known.get(instance_id)

    def running(self) -> dict[str, int]:
        """Reaps and forgets what has ended; the process ids of the rest."""
        self._children -= {pid for pid in self._children if _is_reaped(pid)}
        self._known = {key: process for key, process in self._known.items() if _is_alive(process)}
        return {key: process.pid for key, process in self._known.items()}

    def start(
        self, instance_id: str, command: tuple[str, ...], environment: Mapping[str, str]
    ) -> psutil.Process:
        """Starts an instance's process; what it prints goes to its directory's `agent.log`.

        Raises:
            OSError: that does not work.
        """
        directory = self._directory / instance_id
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (directory / "agent.log").open("ab") as output:
            # Not asyncio's or subprocess's child: it is meant to outlive this process.
            pid = os.posix_spawn(
                command[0],
                command,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGINT),
            )
        self._children.add(pid)
        process = self._known[instance_id] = psutil.Process(pid)
        self._watch(pid)
        return process

    def close(self) -> None:
        """Stops watching; processes go on."""
        loop = asyncio.get_running_loop()
        while self._watched:
            descriptor = self._watched.pop()
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def _find(self) -> dict[str, psutil.Process]:
        found = {}
        for process in psutil.process_iter():
            if instance_id := self._instance_of(process):
                found[instance_id] = process
        return found

    def _instance_of(self, process: psutil.Process) -> str | None:
        """The instance whose agent a process is, by what its environment says."""
        try:
            if os.getsid(process.pid) != process.pid:
                return None
            environ = process.environ()
        except (psutil.Error, OSError):
            return None
        instance_id = environ.get("LONGSHORE_INSTANCE_ID", "")
        directory = str(self._directory / instance_id)
        return (
            instance_id if instance_id and environ.get("LONGSHORE_DATA_DIR") == directory else None
        )

    def _watch(self, pid: int) -> None:
        """Has `on_exit` called when a process ends; without pidfd the next pass finds out."""
        try:
            descriptor = os.pidfd_open(pid)
        except (AttributeError, OSError):
            self._on_exit()
            return
        loop = asyncio.get_running_loop()

        def ended() -> None:
            self._watched.discard(descriptor)
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._on_exit()

        self._watched.add(descriptor)
        loop.add_reader(descriptor, ended)


def _is_reaped(pid: int) -> bool:
    """Takes note of a child's end, if it has ended."""
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def _is_alive(process: psutil.Process) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
