"""How fast one may go: a bucket that fills at a rate, and out of which each call takes one."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Pace:
    """How many calls in a second, and how many at once after a pause."""

    rate: float
    burst: float


#: So fast that only who means no good, or has a loop without a pause, meets it.
FREELY = Pace(rate=20_000, burst=100_000)


class Buckets(Generic[Key]):
    """A bucket for each of many, as many as are kept; one that is forgotten was full, or nearly."""

    def __init__(self, pace: Pace, kept: int = 10_000) -> None:
        self._pace = pace
        self._kept = kept
        #: What was in a bucket, and when.
        self._level: OrderedDict[Key, tuple[float, float]] = OrderedDict()

    def wait(self, key: Key, now: float) -> float:
        """Seconds until there is one in the bucket; 0 if there is."""
        return max(0.0, (1.0 - self._now(key, now)) / self._pace.rate)

    def take(self, key: Key, now: float) -> float:
        """Takes one if there is one; else the seconds until there is."""
        level = self._now(key, now)
        if level < 1.0:
            return (1.0 - level) / self._pace.rate
        self._level[key] = level - 1.0, now
        self._level.move_to_end(key)
        while len(self._level) > self._kept:
            self._level.popitem(last=False)
        return 0.0

    def _now(self, key: Key, now: float) -> float:
        level, then = self._level.get(key, (self._pace.burst, now))
        return min(self._pace.burst, level + max(0.0, now - then) * self._pace.rate)
