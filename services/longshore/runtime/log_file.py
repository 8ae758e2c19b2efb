"""Files that processes of ours print to: bounded while those write on at their ends."""

import os
import shutil
from pathlib import Path


def aside(path: Path) -> Path:
    """Where what was put aside of a log is."""
    return path.with_name(f"{path.name}.1")


def bound(path: Path, most_bytes: int) -> None:
    """Puts a log aside that has grown large, in the place of the one before.

    The file stays the same one: whoever has it open to append to goes on in it.

    Raises:
        OSError: that does not work; the log is as it was.
    """
    if path.exists() and path.stat().st_size > most_bytes:
        shutil.copyfile(path, aside(path))
        os.truncate(path, 0)
