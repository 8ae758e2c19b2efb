"""Holes in files: room that goes back to the disk while positions stay what they are."""

import ctypes
import errno
import os
from pathlib import Path

_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02
#: What a file system answers that knows no holes.
_UNKNOWN = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})

_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = getattr(_libc, "fallocate64", None) or getattr(_libc, "fallocate", None)


def punch(path: Path, begin: int, end: int) -> bool:
    """Forgets what is in a file between two positions; whoever writes there notices nothing.

    Returns:
        False where files cannot have holes.

    Raises:
        OSError: the file cannot be opened, or not be changed.
    """
    if _fallocate is None:
        return False
    descriptor = os.open(path, os.O_RDWR)
    try:
        mode = ctypes.c_int(_KEEP_SIZE | _PUNCH_HOLE)
        where = (ctypes.c_int64(begin), ctypes.c_int64(end - begin))
        if _fallocate(ctypes.c_int(descriptor), mode, *where) == 0:
            return True
        code = ctypes.get_errno()
        if code in _UNKNOWN:
            return False
        raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)
