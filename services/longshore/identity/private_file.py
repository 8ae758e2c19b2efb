"""Files that only their owner may read: keys, and what is sealed or signed under them."""

import os
import stat
import tempfile
from pathlib import Path

from longshore.domain.errors import PreconditionFailed

#: More than any key has, in bytes.
_KEY_BYTES = 1024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_private(path: Path) -> bytes:
    """What a file has, without white space around it.

    Raises:
        PreconditionFailed: others than its owner may read it.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        key = file.read(_KEY_BYTES).strip()
    if found.st_mode & _OTHERS or found.st_uid not in (0, os.geteuid()):
        raise PreconditionFailed(
            f"{path} may be read by others than its owner; see who has read it, then say: "
            f"chmod 600 {path}"
        )
    return key


def write_private(path: Path, data: bytes) -> None:
    """Puts a file in its place as a whole, for nobody but its owner.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def make_private(path: Path, data: bytes) -> None:
    """Makes a file where there is none, in one step: nobody sees half of it, the first one stays.

    Raises:
        OSError: it cannot be made.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        try:
            os.link(file.name, path)
        except FileExistsError:
            return
