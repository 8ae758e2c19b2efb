"""Ports that a test gives to a process before that process binds them."""

import fcntl
import os
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

#: Every port of a stack, counted from its port base.
STACK_OFFSETS = (*range(7), 10, *range(20, 26), *range(40, 46))
#: Below those that the kernel gives out itself.
_WIDTH = 50
_BASES = range(10_000, 20_000, _WIDTH)
_LOCKS = Path(tempfile.gettempdir()) / "longshore-test-ports"
#: Open until this process ends, so that no other test session or worker takes the same ports.
_held: list[int] = []
#: Of a range that is held, those that no test has had so far.
_single: list[int] = []


def free_port_base(offsets: Sequence[int] = STACK_OFFSETS) -> int:
    """A port base whose ports nobody has, and no other test of this machine gets."""
    _LOCKS.mkdir(exist_ok=True)
    for base in _BASES:
        descriptor = os.open(_LOCKS / str(base), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        _held.append(descriptor)
        if all(_is_free(base + offset) for offset in offsets):
            return base
    raise RuntimeError("no free range of ports")


def free_port() -> int:
    """A port that nobody has, and no other test of this machine gets.

    Nor does the kernel give it to whoever connects somewhere, before what it is for has bound it.
    """
    while True:
        if not _single:
            base = free_port_base(())
            _single.extend(range(base, base + _WIDTH))
        if _is_free(port := _single.pop()):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
