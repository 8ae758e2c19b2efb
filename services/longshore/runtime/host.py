"""This machine, as the local family of instance types divides it.

LONGSHORE_LOCAL_VCPUS and LONGSHORE_LOCAL_MEMORY_MIB declare the machine; by default it has four
vCPUs for each core (vCPUs are shares: batch jobs that wait for disks and networks leave cores idle)
and three quarters of its memory. LONGSHORE_LOCAL_GPUS is 0 by default.

LONGSHORE_CATALOGUE names a file of instance types that takes the built-in one's place.
"""

import os
import platform

import psutil

from longshore.domain.catalogue import (
    Catalogue,
    CatalogueError,
    InstanceType,
    local_types,
    parse_catalogue,
)
from longshore.runtime.config import ConfigError, Settings

#: vCPUs declared for each core.
CPU_OVERCOMMIT = 4
#: Share of the machine's memory that instances divide among them.
MEMORY_SHARE = 0.75


def local_catalogue(settings: Settings) -> tuple[InstanceType, ...]:
    """The local family on this machine, as declared or detected."""
    cores = len(os.sched_getaffinity(0))
    memory_mib = int(psutil.virtual_memory().total * MEMORY_SHARE) // (1024 * 1024)
    return local_types(
        vcpus=settings.integer("LONGSHORE_LOCAL_VCPUS", cores * CPU_OVERCOMMIT, 1, 100_000),
        memory_mib=settings.integer("LONGSHORE_LOCAL_MEMORY_MIB", memory_mib, 64, 1_000_000_000),
        gpus=settings.integer("LONGSHORE_LOCAL_GPUS", 0, 0, 1024),
        architecture=host_architecture(),
    )


def open_catalogue(settings: Settings) -> Catalogue:
    """The types of the file that LONGSHORE_CATALOGUE names, or the built-in ones; and local ones.

    Raises:
        ConfigError: the file cannot be read, or is no catalogue.
    """
    return Catalogue(local_catalogue(settings), catalogue_types(settings))


def catalogue_types(settings: Settings) -> tuple[InstanceType, ...] | None:
    """The types of the file that LONGSHORE_CATALOGUE names; None: none is named.

    Raises:
        ConfigError: the file cannot be read, or is no catalogue.
    """
    if not settings.text("LONGSHORE_CATALOGUE", ""):
        return None
    path = settings.path("LONGSHORE_CATALOGUE")
    try:
        return parse_catalogue(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, CatalogueError, RecursionError) as error:
        raise ConfigError(f"LONGSHORE_CATALOGUE, {path}, cannot be used: {error}") from None


def host_architecture() -> str:
    """`x86_64` or `arm64`."""
    machine = platform.machine()
    return "arm64" if machine in ("aarch64", "arm64") else machine
