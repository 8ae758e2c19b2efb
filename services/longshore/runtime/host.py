"""This machine, as the local family of instance types divides it.

LONGSHORE_LOCAL_VCPUS and LONGSHORE_LOCAL_MEMORY_MIB declare the machine; by default it has four
vCPUs for each core (vCPUs are shares: batch jobs that wait for disks and networks leave cores idle)
and three quarters of its memory. LONGSHORE_LOCAL_GPUS is 0 by default.
"""

import os
import platform

import psutil

from longshore.domain.catalogue import InstanceType, local_types
from longshore.runtime.config import Settings

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


def host_architecture() -> str:
    """`x86_64` or `arm64`."""
    machine = platform.machine()
    return "arm64" if machine in ("aarch64", "arm64") else machine
