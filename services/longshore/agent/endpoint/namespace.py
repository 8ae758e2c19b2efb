"""A listening socket in another network namespace, which stays there whoever serves it."""

import asyncio
import ctypes
import fcntl
import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

ADDRESS = "169.254.170.2"
PORT = 80
_CLONE_NEWNET = 0x40000000
_SIOCSIFADDR, _SIOCSIFNETMASK = 0x8916, 0x891C
#: A second address of the loopback interface needs a name of its own, by this old way.
_INTERFACE = b"lo:longshore"
_BACKLOG = 256


async def listen_in(pid: int, own_address: str) -> socket.socket:
    """Listens at 169.254.170.2:80 in the network namespace of a process.

    Args:
        pid: the process, as the engine knows it: here it may be another one, or none.
        own_address: an address that only the right namespace has.

    Raises:
        OSError: the namespace cannot be entered, is another one, or the port is taken there.
    """
    # The thread ends with the namespace that it entered: nothing else ever runs on it.
    with ThreadPoolExecutor(max_workers=1) as executor:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(executor, _listen, pid, own_address)


def _listen(pid: int, own_address: str) -> socket.socket:
    _enter(pid)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Fails unless it is an address of this namespace.
        probe.bind((own_address, 0))
        _give_address(probe)
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((ADDRESS, PORT))
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _enter(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def _give_address(any_socket: socket.socket) -> None:
    """Gives the loopback interface the address, if it has not got it; it alone, no network."""
    for request, address in ((_SIOCSIFADDR, ADDRESS), (_SIOCSIFNETMASK, "255.255.255.255")):
        family = struct.pack("=HH", socket.AF_INET, 0)
        argument = struct.pack("16s16s8x", _INTERFACE, family + socket.inet_aton(address))
        fcntl.ioctl(any_socket, request, argument)
