"""NVIDIA GPUs: what this machine has, as NVIDIA's library (NVML) tells, and who has them.

A machine without that library has none. A GPU is one attempt's alone, from before it starts until
its output is collected; which it has is written where the attempt is, so that the agent's next life
finds it there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pynvml
import structlog

from longshore.agent.attempts.attempt import AttemptKey, StepFailed

log = structlog.get_logger()

_MIB = 1024 * 1024
#: What makes GPUs visible in a container, and to a process; and what then stands for none.
IN_CONTAINER = ("NVIDIA_VISIBLE_DEVICES", "void")
IN_PROCESS = ("CUDA_VISIBLE_DEVICES", "")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of this machine. Its UUID stays the same whatever is plugged in beside it."""

    uuid: str
    name: str
    memory_mib: int


def find_gpus() -> tuple[Gpu, ...]:
    """The GPUs of this machine that answer, in the driver's order; none where nothing is known."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return ()
    except pynvml.NVMLError as error:
        log.warning("gpus.unknown", error=str(error))
        return ()
    try:
        found = (_look_at(index) for index in range(pynvml.nvmlDeviceGetCount()))
        return tuple(gpu for gpu in found if gpu is not None)
    except pynvml.NVMLError as error:
        log.warning("gpus.unknown", error=str(error))
        return ()
    finally:
        pynvml.nvmlShutdown()


def _look_at(index: int) -> Gpu | None:
    """One GPU; None if it does not answer: the others can be used all the same."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        memory_mib = pynvml.nvmlDeviceGetMemoryInfo(handle).total // _MIB
        return Gpu(pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle), memory_mib)
    except pynvml.NVMLError as error:
        log.warning("gpu.lost", index=index, error=str(error))
        return None


def gpu_ids(declared: int, found: Sequence[Gpu]) -> tuple[str, ...]:
    """The ids of the GPUs that attempts get: of so many as are declared those that there are.

    Where none was found those that are declared go by their numbers: an engine may see them.
    """
    if found:
        return tuple(gpu.uuid for gpu in found[:declared])
    return tuple(str(index) for index in range(declared))


class GpuPool:
    """The GPUs of an instance, and which attempt has which."""

    def __init__(self, ids: Iterable[str], variable: tuple[str, str]) -> None:
        """Makes a pool of which all are free.

        Args:
            ids: of the GPUs.
            variable: what makes them visible to an attempt, and its value for none.
        """
        self._ids = tuple(ids)
        self._variable = variable
        self._held: dict[AttemptKey, tuple[str, ...]] = {}

    def take(self, key: AttemptKey, count: int) -> tuple[str, ...]:
        """So many free GPUs for an attempt, or those that it has already.

        Raises:
            StepFailed: so many are not free.
        """
        if key not in self._held:
            taken = {gpu for held in self._held.values() for gpu in held}
            free = [gpu for gpu in self._ids if gpu not in taken]
            if count > len(free):
                raise StepFailed(
                    "CannotCreateContainerError",
                    f"{count} GPUs are needed, and {len(free)} of {len(self._ids)} are free",
                )
            self._held[key] = tuple(free[:count])
        return self._held[key]

    def restore(self, key: AttemptKey, ids: Iterable[str]) -> None:
        """An attempt that was found has these."""
        self._held[key] = tuple(ids)

    def release(self, key: AttemptKey) -> None:
        """Takes back what an attempt has. Harmless where it has none."""
        self._held.pop(key, None)

    def variables(self, ids: Sequence[str]) -> dict[str, str]:
        """What makes some GPUs visible to an attempt, and all others not.

        Nothing where there are no GPUs.
        """
        name, none = self._variable
        return {name: ",".join(ids) or none} if self._ids else {}
