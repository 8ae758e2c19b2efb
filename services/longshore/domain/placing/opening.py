"""What instances have free while a plan is made, and which of them a job goes to.

Simple meaning: a job goes to an instance that runs something already, so that empty ones can go;
among these to the one whose free vCPU, memory and GPUs are most like what the job needs, so that
jobs which want much vCPU and jobs which want much memory fill instances together; among these to
the fullest.

How the code differs: the instances of an environment are the rows of a few arrays, so that looking
for one costs a handful of array operations, however many there are.
"""

import functools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from longshore.domain.placing.room import Room
from longshore.domain.resources import Resources

Amounts = NDArray[np.int64]

_NOBODY = -1
#: Alignments that differ by less are alike.
_ALIGNMENT_DIGITS = 2


class OpenRooms:
    """The instances of one environment during a plan: shared ones, and slots by their size.

    What is free shrinks, and shared ones may be held for a shape. They go by their index.
    """

    def __init__(self, rooms: Sequence[Room]) -> None:
        """Takes instances, the preferred ones of those that are alike first.

        A slot of which something is held already takes nothing more.
        """
        self.rooms = [room for room in rooms if not room.slot]
        self.slots: dict[Resources, list[Room]] = {}
        for room in rooms:
            if room.slot and room.free == room.total:
                self.slots.setdefault(room.total, []).append(room)
        self._free = _amounts(room.free for room in self.rooms)
        self._total = _amounts(room.total for room in self.rooms)
        self._held_for = np.full(len(self.rooms), _NOBODY, dtype=np.int64)
        self._used: NDArray[np.bool_] = np.any(self._free < self._total, axis=1)
        #: The instance that the last job of each size went to: the next follows while it has room.
        self._last: dict[Resources, int] = {}

    def best(self, shape_id: int, need: Resources) -> int | None:
        """The instance that a job of a shape goes to, None if none has room."""
        last = self._last.get(need)
        if last is not None and self._fits(last, shape_id, need):
            return last
        wanted = _amount(need)
        fits = (self._free >= wanted).all(axis=1)
        fits &= (self._held_for == _NOBODY) | (self._held_for == shape_id)
        found = np.flatnonzero(fits)
        if not len(found):
            return None
        self._last[need] = best = self._preferred(found, wanted)
        return best

    def has_room(self, need: Resources) -> bool:
        """Whether a job of a shape that nothing is held for would find room."""
        if self.slots.get(need):
            return True
        fits = (self._free >= _amount(need)).all(axis=1) & (self._held_for == _NOBODY)
        return bool(fits.any())

    def _fits(self, index: int, shape_id: int, need: Resources) -> bool:
        vcpu_milli, memory_mib, gpus = self._free[index].tolist()
        return self._held_for[index] in (_NOBODY, shape_id) and Resources(
            vcpu_milli, memory_mib, gpus
        ).holds(need)

    def _preferred(self, found: NDArray[np.intp], wanted: Amounts) -> int:
        used = found[self._used[found]]
        if len(used):
            found = used
        if len(found) == 1:
            return int(found[0])
        free, total = self._free[found], np.maximum(self._total[found], 1)
        needs, shares = wanted / total, free / total
        lengths = np.sqrt((needs**2).sum(axis=1) * (shares**2).sum(axis=1))
        alignment = (needs * shares).sum(axis=1) / lengths
        alignment = np.round(alignment, _ALIGNMENT_DIGITS)
        alike = found[alignment == alignment.max()]
        return int(alike[self._free[alike, 0].argmin()])

    def take(self, index: int, need: Resources, limit: int) -> int:
        """Gives an instance's room to as many jobs as fit, up to a limit; returns how many."""
        vcpu_milli, memory_mib, gpus = self._free[index].tolist()
        count = min(Resources(vcpu_milli, memory_mib, gpus).count(need), limit)
        self._free[index] = (
            vcpu_milli - need.vcpu_milli * count,
            memory_mib - need.memory_mib * count,
            gpus - need.gpus * count,
        )
        self._used[index] = True
        return count

    def together(
        self, shape_id: int, need: Resources, nodes: int, only_type: str, *, used: bool = False
    ) -> list[int]:
        """Instances of one type for the nodes of a multi-node job, each to itself.

        Where no type has enough of them: those of the type that has the most.

        Args:
            shape_id: of the job: what is held for it counts too.
            need: of each node.
            nodes: how many are wanted.
            only_type: the only type that will do; empty for any.
            used: whether instances that run something count too, after those that are empty.
        """
        able = (self._total >= _amount(need)).all(axis=1)
        able &= (self._held_for == _NOBODY) | (self._held_for == shape_id)
        if not used:
            able &= ~self._used
        kinds, names, _ = self._order
        counts = np.bincount(kinds[able], minlength=len(names))
        for kind, name in enumerate(names):
            if not name or only_type not in ("", name):
                counts[kind] = 0
        if not counts.any():
            return []
        # The first, which is the smallest, of those that have as many.
        best = int(np.minimum(counts, nodes).argmax())
        return self._soonest(np.flatnonzero(able & (kinds == best)), shape_id)[:nodes]

    @functools.cached_property
    def _order(self) -> tuple[NDArray[np.int64], list[str], NDArray[np.int64]]:
        """What instances are sorted by.

        The type of each by its number, the names of the types, smallest first, and the place of
        each among all by their ids.
        """
        sizes = [
            (room.total.gpus, room.total.vcpu_milli, room.total.memory_mib, room.instance_type)
            for room in self.rooms
        ]
        numbers = {size: number for number, size in enumerate(sorted(set(sizes)))}
        places = np.empty(len(self.rooms), dtype=np.int64)
        by_id = sorted(range(len(self.rooms)), key=lambda index: self.rooms[index].instance_id)
        places[by_id] = np.arange(len(by_id))
        kinds = np.array([numbers[size] for size in sizes], dtype=np.int64)
        return kinds, [name for _, _, _, name in numbers], places

    def _soonest(self, found: NDArray[np.intp], shape_id: int) -> list[int]:
        """Sorts instances: held already, empty, the most free. The same in each plan."""
        keys = (
            self._order[2][found],
            -self._free[found, 1],
            -self._free[found, 0],
            self._used[found],
            self._held_for[found] != shape_id,
        )
        ordered: list[int] = found[np.lexsort(keys)].tolist()
        return ordered

    def take_whole(self, index: int) -> None:
        """Gives all that an instance offers to one node of a multi-node job."""
        self._free[index] = 0
        self._used[index] = True

    def candidate(self, need: Resources) -> int | None:
        """The instance to hold for a job: large enough, held for none, with the most free."""
        large = (self._total >= _amount(need)).all(axis=1) & (self._held_for == _NOBODY)
        found = np.flatnonzero(large)
        for column in (0, 1):
            if len(found):
                free = self._free[found, column]
                found = found[free == free.max()]
        # The same one in each plan, whatever the order of the instances.
        return max(found.tolist(), key=lambda i: self.rooms[i].instance_id, default=None)

    def free(self, index: int) -> tuple[int, int]:
        """What an instance has free: vCPU in thousandths, memory in MiB."""
        return int(self._free[index, 0]), int(self._free[index, 1])

    def hold(self, index: int, shape_id: int) -> None:
        """Keeps an instance for the jobs of a shape."""
        self._held_for[index] = shape_id

    def pass_on(self, shape_id: int, other_id: int) -> None:
        """Keeps what is held for a shape for another one from now on."""
        self._held_for[self._held_for == shape_id] = other_id

    def hold_any(self, shape_id: int, vcpu_milli: int) -> None:
        """Keeps instances that are held for none, of any type, until they add up to so much."""
        for index in self._soonest(np.flatnonzero(self._held_for == _NOBODY), shape_id):
            if vcpu_milli <= 0:
                break
            self.hold(index, shape_id)
            vcpu_milli -= self.rooms[index].total.vcpu_milli

    def held(self) -> set[int]:
        """The shapes that instances are held for."""
        return set(self._held_for[self._held_for != _NOBODY].tolist())


def _amounts(amounts: Iterable[Resources]) -> Amounts:
    rows = [(a.vcpu_milli, a.memory_mib, a.gpus) for a in amounts]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _amount(amount: Resources) -> Amounts:
    return np.array((amount.vcpu_milli, amount.memory_mib, amount.gpus), dtype=np.int64)
