"""What is free on instances, there or to come, for many instances at a time."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from longshore.domain.resources import Resources

Flags = NDArray[np.bool_]
_Numbers = NDArray[np.int64]

#: The tag of rooms that belong to no instance that is there.
NO_TAG = -1


class Rooms:
    """What is free, in the order in which it is to be used.

    A room stands for `count` instances that are alike; one with a tag for one instance alone.
    """

    def __init__(self, free: _Numbers, counts: _Numbers, tags: _Numbers) -> None:
        self._free = free  # a row for each of vCPU in thousandths, memory in MiB, GPUs
        self._counts = counts
        self._tags = tags
        #: Tags of instances that something was left to.
        self.used = np.zeros(int(tags.max(initial=-1)) + 1, dtype=np.bool_)

    @classmethod
    def of(cls, free: Iterable[Resources]) -> "Rooms":
        """One room for each instance, tagged by its position."""
        rows = np.array([(f.vcpu_milli, f.memory_mib, f.gpus) for f in free], dtype=np.int64)
        rows = rows.reshape(-1, 3)
        number = len(rows)
        return cls(np.ascontiguousarray(rows.T), np.ones(number, dtype=np.int64), np.arange(number))

    @classmethod
    def empty(cls) -> "Rooms":
        """No room at all."""
        return cls.of(())

    @property
    def free(self) -> _Numbers:
        """A row for each dimension, a column for each room."""
        return self._free

    def copy(self) -> "Rooms":
        """The same, to try something with."""
        twin = Rooms(self._free.copy(), self._counts, self._tags)
        twin.used = self.used.copy()
        return twin

    def without(self, tags: Flags) -> "Rooms":
        """The rooms but those of some tags."""
        kept = ~tags[self._tags]
        rest = Rooms(self._free[:, kept], self._counts[kept], self._tags[kept])
        rest.used = self.used.copy()
        return rest

    def add(self, free: Iterable[tuple[int, int, int]], counts: Iterable[int]) -> None:
        """Adds rooms of instances to come, after all others."""
        rows = np.array(list(free), dtype=np.int64).reshape(-1, 3)
        numbers = np.array(list(counts), dtype=np.int64)
        self._free = np.hstack([self._free, rows.T])
        self._counts = np.concatenate([self._counts, numbers])
        self._tags = np.concatenate([self._tags, np.full(len(numbers), NO_TAG)])

    def take(self, need: Resources, jobs: int) -> int:
        """Gives room to as many jobs as fit, in order; returns how many that are."""
        if not jobs or not len(self._counts):
            return 0
        wanted = np.array([need.vcpu_milli, need.memory_mib, need.gpus])
        able = np.flatnonzero((self._free >= wanted[:, None]).all(axis=0))
        if not len(able):
            return 0
        each = self._free[0, able] // max(need.vcpu_milli, 1)
        for row, amount in ((1, need.memory_mib), (2, need.gpus)):
            if amount:
                each = np.minimum(each, self._free[row, able] // amount)
        upto = np.cumsum(each * self._counts[able])
        full = int(np.searchsorted(upto, jobs, side="right"))  # so many rooms are used whole
        self._free[:, able[:full]] -= wanted[:, None] * each[:full]
        taken = int(upto[full - 1]) if full else 0
        if full < len(able) and taken < jobs:
            self._split(int(able[full]), wanted, int(each[full]), jobs - taken)
            taken, full = jobs, full + 1
        tags = self._tags[able[:full]]
        self.used[tags[tags != NO_TAG]] = True
        return taken

    def _split(self, room: int, need: _Numbers, each: int, jobs: int) -> None:
        """Uses part of a room: some of its instances wholly, one in part, the rest not."""
        filled, rest = divmod(jobs, each)
        free, count = self._free[:, room].copy(), int(self._counts[room])
        parts = [
            (free - need * held, number)
            for held, number in (
                (each, filled),
                (rest, 1 if rest else 0),
                (0, count - filled - (1 if rest else 0)),
            )
            if number
        ]
        self._free[:, room] = parts[0][0]
        if len(parts) > 1:
            self._counts = self._counts.copy()
            self._counts[room] = parts[0][1]
            self.add([tuple(part.tolist()) for part, _ in parts[1:]], [n for _, n in parts[1:]])

    def able_any(self, needs: NDArray[np.float64]) -> Flags:
        """Of each need, a row of three dimensions, whether there is a room that holds it."""
        fits = needs[:, 0, None] <= self._free[0]
        for row in (1, 2):
            fits = fits & (needs[:, row, None] <= self._free[row])
        found: Flags = fits.any(axis=1)
        return found

    def able(self, need: Resources) -> Flags:
        """Of each tag, whether its instance has room for this."""
        wanted = np.array([need.vcpu_milli, need.memory_mib, need.gpus])
        result = np.zeros(len(self.used), dtype=np.bool_)
        tagged = self._tags != NO_TAG
        result[self._tags[tagged]] = (self._free[:, tagged] >= wanted[:, None]).all(axis=0)
        return result

    def take_whole(self, tags: _Numbers) -> None:
        """Gives away all that is free on some instances."""
        self._free[:, np.isin(self._tags, tags)] = 0
        self.used[tags] = True
