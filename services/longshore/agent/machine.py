"""What this machine is and has, for agents whose provider declares nothing."""

import asyncio
import contextlib
import ipaddress
import os
import platform
import secrets
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path

import psutil

from longshore.domain.catalogue import RESERVE_MIB

#: Longest time for finding what a name means, in seconds.
RESOLVE_SECONDS = 10.0


def instance_id(data_dir: Path) -> str:
    """The id kept in the data directory; made and kept there the first time."""
    path = data_dir / "instance-id"
    if path.exists():
        return path.read_text().strip()
    made = f"i-{secrets.token_hex(9)[:17]}"
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(made + "\n")
    return made


def vcpu_milli() -> int:
    """Thousandths of a vCPU: 1000 for each core that this process may use."""
    return len(os.sched_getaffinity(0)) * 1000


def memory_mib() -> int:
    """Visible memory in MiB, less the reserve."""
    return max(psutil.virtual_memory().total // (1024 * 1024) - RESERVE_MIB, 4)


async def least_room(directories: Iterable[Path]) -> tuple[str, int] | None:
    """Which of some directories has the least room left, and how many MiB; None: none is there."""
    rooms = await asyncio.to_thread(_rooms, list(directories))
    return min(rooms, key=lambda room: room[1], default=None)


def _rooms(directories: list[Path]) -> list[tuple[str, int]]:
    rooms = []
    for directory in directories:
        # The engine's may be that of another machine, or out of our sight.
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(directory).free
            rooms.append((str(directory), free // (1024 * 1024)))
    return rooms


async def address_toward(address: str) -> str:
    """The IPv4 address by which this machine goes to `host:port`: its private one, in a cloud.

    A loopback address if that is on this machine.

    Raises:
        OSError: there is no way to it by IPv4.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if _is_ipv6_loopback(host):
        host = "127.0.0.1"
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(RESOLVE_SECONDS):
        found = await loop.getaddrinfo(
            host, int(port), family=socket.AF_INET, type=socket.SOCK_DGRAM
        )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Nothing is sent: to connect a datagram socket is to choose a route.
        probe.connect(found[0][4])
        return str(probe.getsockname()[0])


def _is_ipv6_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv6Address(host).is_loopback
    except ValueError:
        return False


def architecture() -> str:
    """`x86_64` or `arm64`."""
    name = platform.machine()
    return "arm64" if name in ("aarch64", "arm64") else name
