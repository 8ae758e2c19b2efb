"""Which machine this is, told apart from every other that shares a database with it.

Host name, process id and paths do not tell: containers and machines made from one image agree in
all of them.
"""

import hashlib
import os
import uuid
from pathlib import Path

_MACHINE_ID = Path("/etc/machine-id")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def machine_identity(directory: Path, machine_id: Path = _MACHINE_ID) -> str:
    """Names this machine with a directory of its own: the same again after a restart of either.

    It is made of the operating system's machine id and an id that is kept in the directory. The one
    tells apart machines that share the directory, as on a network's file system; the other those
    that share a machine id, or have none, as containers do.
    """
    kept = directory / "machine-id"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    own = _read(kept)
    if not own:
        # Whole or not at all; who comes second takes what the first one wrote.
        scratch = directory / f"machine-id.{uuid.uuid4().hex}"
        scratch.write_text(uuid.uuid4().hex + "\n")
        try:
            os.link(scratch, kept)
        except FileExistsError:
            if not _read(kept):
                scratch.replace(kept)
        finally:
            scratch.unlink(missing_ok=True)
        own = _read(kept)
    return hashlib.sha256(f"{_read(machine_id)}:{own}".encode()).hexdigest()[:32]


def boot_identity(boot_id: Path = _BOOT_ID) -> str:
    """Names this run of the machine, which even a copy of its disk does not share.

    Empty where the operating system does not tell.
    """
    return _read(boot_id)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
