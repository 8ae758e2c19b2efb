"""Retry strategies: evaluateOnExit as AWS Batch documents it, and memory that grows."""

import math
from dataclasses import dataclass

#: How the reason of a container begins that the kernel ended for want of memory; AWS's word.
OUT_OF_MEMORY = "OutOfMemoryError"


@dataclass(frozen=True, slots=True)
class ExitRule:
    """One entry of evaluateOnExit. Absent conditions are None; those given must all hold."""

    retry: bool
    on_exit_code: str | None = None
    on_reason: str | None = None
    on_status_reason: str | None = None

    @classmethod
    def from_json(cls, entry: dict[str, str]) -> "ExitRule":
        """Reads a stored, validated entry."""
        return cls(
            retry=entry["action"].upper() == "RETRY",
            on_exit_code=entry.get("onExitCode"),
            on_reason=entry.get("onReason"),
            on_status_reason=entry.get("onStatusReason"),
        )


@dataclass(frozen=True, slots=True)
class MemoryGrowth:
    """More memory for the attempt after one that had too little, up to a bound."""

    factor: float
    max_mib: int

    def after(self, memory_mib: int, reason: str | None) -> int:
        """The memory of the attempt after one that had so much and ended for a reason."""
        if not (reason or "").startswith(OUT_OF_MEMORY):
            return memory_mib
        return max(memory_mib, min(math.ceil(memory_mib * self.factor), self.max_mib))


def should_retry(
    rules: tuple[ExitRule, ...],
    *,
    exit_code: int | None,
    reason: str | None,
    status_reason: str | None,
) -> bool:
    """Whether a failed attempt is retried.

    The first rule that matches decides; where none matches, it is.
    """
    code = "" if exit_code is None else str(exit_code)
    for rule in rules:
        if (
            _matches(rule.on_exit_code, code)
            and _matches(rule.on_reason, reason or "")
            and _matches(rule.on_status_reason, status_reason or "")
        ):
            return rule.retry
    return True


def _matches(pattern: str | None, text: str) -> bool:
    """Whole match, or a match of the beginning where the pattern ends with an asterisk."""
    if pattern is None:
        return True
    if pattern.endswith("*"):
        return text.startswith(pattern[:-1])
    return text == pattern
