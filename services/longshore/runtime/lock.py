"""Locks between processes of one machine.

An exclusive `flock`, since the kernel frees it when its holder ends, however that happens; nothing
stale is left to be told from what is live. (filelock makes a file of its own, and so cannot lock a
directory in which nothing of ours has a place.)
"""

import asyncio
import fcntl
import os
import time
from pathlib import Path
from typing import Self

#: Who only looks whether a lock is held has it for a moment: so long it is tried at least.
LOOK_SECONDS = 0.05
_PAUSE_SECONDS = 0.01


class Lock:
    """Held by one process at a time."""

    def __init__(self, path: Path) -> None:
        """Makes a lock that is not held.

        Args:
            path: what is locked: a directory that is there, or a file, made where it is missing.
        """
        self._path = path
        self._descriptor = -1

    @classmethod
    def of(cls, data_dir: Path) -> Self:
        """The lock of the one process that a data directory is for."""
        return cls(data_dir / "lock")

    def take(self) -> bool:
        """Takes the lock; False if another process has it.

        Raises:
            OSError: it cannot be opened.
        """
        until = time.monotonic() + LOOK_SECONDS
        self._open()
        while not self._locks():
            if time.monotonic() >= until:
                self.release()
                return False
            time.sleep(_PAUSE_SECONDS)
        return True

    async def wait(self, seconds: float) -> bool:
        """Takes the lock as soon as it is free; False if it is not in that time.

        Raises:
            OSError: it cannot be opened.
        """
        self._open()
        try:
            async with asyncio.timeout(seconds):
                while not self._locks():  # noqa: ASYNC110 - only who blocks is told by the kernel
                    await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError:
            self.release()
            return False
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        """Gives the lock back, if it is held."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        kind = os.O_RDONLY if self._path.is_dir() else os.O_RDWR | os.O_CREAT
        self._descriptor = os.open(self._path, kind | os.O_CLOEXEC, 0o600)

    def _locks(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
