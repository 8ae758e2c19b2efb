"""Standard output and error as they are outside: closed, full, not able to show every character."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

#: What a device answers that takes no more.
_WRITE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})


def prepare() -> None:
    """Lets everything be written that there is to write.

    A stream that is closed takes everything and keeps nothing; a character that the terminal's
    encoding lacks is shown by its number.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - for good
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def is_output(error: OSError) -> bool:
    """Whether what was written to a stream has got lost; errors of files name theirs."""
    return error.filename is None and error.errno in _WRITE_ERRORS


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Lets errors of writing a file name it, as those of opening one do."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def discard(stream: TextIO) -> None:
    """Gives up what could not be written, so that the interpreter does not try again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)


@contextlib.contextmanager
def by_the_way(stream: TextIO) -> Iterator[None]:
    """For remarks: what cannot be told ends nothing."""
    try:
        yield
        stream.flush()
    except OSError:
        discard(stream)
