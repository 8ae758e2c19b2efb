"""What pulls took in this fleet, and what one would take."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


class Starts(Protocol):
    """Attempts that ran an image on a type of instance, as the service adds them up."""

    @property
    def instance_type(self) -> str: ...  # noqa: D102 - as on the wire
    @property
    def starts(self) -> int: ...  # noqa: D102
    @property
    def pulls(self) -> int: ...  # noqa: D102
    @property
    def pull_seconds(self) -> float: ...  # noqa: D102
    @property
    def slowest_seconds(self) -> float: ...  # noqa: D102
    @property
    def pulled_bytes(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Measured:
    """What an image took on a type of instance."""

    instance_type: str
    starts: int
    #: Which part of the starts found it there.
    found_share: float
    #: Of those that waited for a pull; None: none did.
    mean_seconds: float | None
    slowest_seconds: float


def measured(starts: Iterable[Starts]) -> list[Measured]:
    """What an image took, by type of instance."""
    return [
        Measured(
            one.instance_type,
            one.starts,
            1 - one.pulls / one.starts,
            one.pull_seconds / one.pulls if one.pulls else None,
            one.slowest_seconds,
        )
        for one in starts
        if one.starts > 0
    ]


def expected_seconds(starts: Iterable[Starts], size_bytes: int) -> dict[str, float]:
    """How long a pull of so many bytes takes at the rate of all pulls so far, by instance type."""
    seconds: dict[str, float] = defaultdict(float)
    pulled: dict[str, int] = defaultdict(int)
    for one in starts:
        # Those that waited for another's pull add seconds without bytes: the rate is the least.
        seconds[one.instance_type] += one.pull_seconds
        pulled[one.instance_type] += one.pulled_bytes
    return {
        name: size_bytes * seconds[name] / pulled[name]
        for name in seconds
        if seconds[name] > 0 and pulled[name] > 0
    }
