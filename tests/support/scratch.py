"""Directories for what tests start."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of its own is made in it
#: Room for what all workers of a session have at one time.
_ENOUGH_BYTES = 4 * 2**30


def _parent() -> Path | None:
    """Memory where there is enough: databases are made and dropped by the hundred."""
    roomy = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ENOUGH_BYTES
    return _MEMORY if roomy else None


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory for a server or a stack.

    Not tmp_path: every session of pytest closes the directory above it to all others, and a server
    started by root runs as somebody else.
    """
    with tempfile.TemporaryDirectory(
        prefix="longshore-test-", dir=_parent(), ignore_cleanup_errors=True
    ) as made:
        yield Path(made)
