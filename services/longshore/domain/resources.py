"""Amounts of what instances offer and attempts hold."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resources:
    """vCPU in thousandths, memory in MiB, whole GPUs."""

    vcpu_milli: int
    memory_mib: int
    gpus: int = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(
            self.vcpu_milli + other.vcpu_milli,
            self.memory_mib + other.memory_mib,
            self.gpus + other.gpus,
        )

    def __sub__(self, other: "Resources") -> "Resources":
        return Resources(
            self.vcpu_milli - other.vcpu_milli,
            self.memory_mib - other.memory_mib,
            self.gpus - other.gpus,
        )

    def holds(self, need: "Resources") -> bool:
        """Whether `need` fits in."""
        return (
            need.vcpu_milli <= self.vcpu_milli
            and need.memory_mib <= self.memory_mib
            and need.gpus <= self.gpus
        )

    def count(self, need: "Resources") -> int:
        """How many times `need` fits in; need.vcpu_milli and need.memory_mib are above zero."""
        fits = min(self.vcpu_milli // need.vcpu_milli, self.memory_mib // need.memory_mib)
        if need.gpus:
            fits = min(fits, self.gpus // need.gpus)
        return max(fits, 0)
