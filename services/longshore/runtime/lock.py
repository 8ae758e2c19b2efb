"""The lock of a data directory."""

import fcntl
import os
import time
from pathlib import Path

#: Who only looks whether the lock is held has it for a moment: so often it is tried, and so long
#: after each time.
_TRIES = 5
_PAUSE_SECONDS = 0.01


class Lock:
    """Held by the one process that a data directory is for; the kernel frees it when that ends."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "lock"
        self._descriptor = -1

    def take(self) -> bool:
        """Takes the lock; False if another process has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for _ in range(_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_PAUSE_SECONDS)
            else:
                self._descriptor = descriptor
                return True
        os.close(descriptor)
        return False

    def release(self) -> None:
        """Gives the lock back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
