"""Caps: how many jobs of an array, and of a queue, run at one time.

Simple meaning: a job counts from its placement to the end of its last attempt that is live, a
multi-node job as one. What a cap holds back is passed over as if it were not there: nothing is held
for it, and what comes behind it goes ahead. In a queue at whose cap others are taken as they come,
the place of a job for which an instance is held, or units of consumable resources are kept, is kept
too, or it would never be its turn.

How the code differs: an array with a cap has shapes of its own, so that its cap is theirs, and no
more is looked at than shapes. What runs is counted from the live attempts as they come and go,
and what may still run follows from that whenever it is asked: there is nothing to give back.
"""

import sys
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from longshore.domain.placing.opening import OpenRooms
from longshore.domain.placing.shapes import PlacingSnapshot, Shape
from longshore.domain.placing.sharing import Kind, kind_of

#: What may still run where nothing is capped.
ANY = sys.maxsize


@dataclass(frozen=True, slots=True)
class Capped:
    """What holds jobs back: the cap of their queue, or of their array."""

    most: int
    of_array: bool = False
    #: More run, as it was lowered, or as an attempt came back that was given up.
    is_over: bool = False
    #: What it leaves is kept for an earlier job, for which an instance is held.
    is_kept: bool = False


@dataclass(slots=True)
class Running:
    """Jobs and children that were placed and have not ended."""

    #: By what the cap of an array goes by.
    by_array: Counter[uuid.UUID | int] = field(default_factory=Counter)
    by_queue: Counter[str] = field(default_factory=Counter)

    def count(self, array: uuid.UUID | int, queue: str, difference: int) -> None:
        """Counts some more, or fewer."""
        self.by_array[array] += difference
        if not self.by_array[array]:
            del self.by_array[array]
        self.by_queue[queue] += difference
        if not self.by_queue[queue]:
            del self.by_queue[queue]


@dataclass(frozen=True, slots=True)
class Caps:
    """The caps of queues that have one, and what runs; the caps of arrays are their shapes'."""

    queues: Mapping[str, int] = field(default_factory=dict)
    running: Running = field(default_factory=Running)

    def of_array(self, shape: Shape) -> int:
        """How many more jobs of a shape the cap of its array lets run."""
        if not shape.max_running:
            return ANY
        return max(shape.max_running - self.running.by_array[shape.array], 0)

    def of_queue(self, queue: str) -> int:
        """How many more jobs the cap of a queue lets run."""
        if queue not in self.queues:
            return ANY
        return max(self.queues[queue] - self.running.by_queue[queue], 0)

    def left(self, shape: Shape, held: Collection[Shape] = ()) -> int:
        """How many more jobs of a shape may run, if for some shapes instances are held."""
        if not shape.max_running and shape.job_queue not in self.queues:
            return ANY
        of_queue = self.of_queue(shape.job_queue)
        if of_queue != ANY:
            of_queue = _besides(of_queue, shape, held)
        return min(self.of_array(shape), of_queue)

    def why(self, shape: Shape, held: Collection[Shape] = ()) -> Capped | None:
        """Which cap holds the jobs of a shape back, if one does."""
        if not shape.max_running and shape.job_queue not in self.queues:
            return None
        if not self.of_array(shape):
            running = self.running.by_array[shape.array]
            return Capped(shape.max_running, is_over=running > shape.max_running, of_array=True)
        if self.left(shape, held):
            return None
        most, running = self.queues[shape.job_queue], self.running.by_queue[shape.job_queue]
        return Capped(most, is_over=running > most, is_kept=running < most)


class OpenCaps:
    """What caps leave while a plan is made."""

    def __init__(self, snapshot: PlacingSnapshot) -> None:
        self._shapes = snapshot.shapes
        self._of_arrays = dict(snapshot.left_of_arrays)
        self._of_queues = dict(snapshot.left_of_queues)

    def left(self, shape: Shape, environments: Iterable[OpenRooms], kept_for: Iterable[int]) -> int:
        """How many more jobs of a shape may be placed.

        That goes by what is held on its environments, and the shapes for which units of consumable
        resources are kept.
        """
        of_array = self._of_arrays.get(shape.array, ANY)
        of_queue = self._of_queues.get(shape.job_queue, ANY)
        if of_queue != ANY:
            held = {shape_id for fleet in environments for shape_id in fleet.held()}
            held.update(kept_for)
            of_queue = _besides(of_queue, shape, [self._shapes[s] for s in held])
        return min(of_array, of_queue)

    def is_full(self, queue: str) -> bool:
        """Whether a queue may have no more jobs placed."""
        return self._of_queues.get(queue, ANY) <= 0

    def take(self, shape: Shape, count: int) -> None:
        """Counts jobs of a shape as placed."""
        if shape.array in self._of_arrays:
            self._of_arrays[shape.array] -= count
        if shape.job_queue in self._of_queues:
            self._of_queues[shape.job_queue] -= count


class Alike:
    """Shapes of a queue whose jobs need the same: to instances they are one, while a plan is made.

    Each array with a cap has a shape to itself, and there may be many. Room only shrinks, so that
    where one found none the others would find none; and an instance is held for one of them.
    """

    def __init__(self) -> None:
        self._failed: set[tuple[str, Kind]] = set()
        self._held_for: dict[tuple[str, Kind], int] = {}

    def is_vain(self, shape: Shape) -> bool:
        """Whether jobs like these found no room, and nothing is held for these ones."""
        key = shape.job_queue, kind_of(shape)
        return key in self._failed and self._held_for.get(key) != shape.shape_id

    def fail(self, shape: Shape) -> None:
        """Notes that jobs of a shape found no room."""
        self._failed.add((shape.job_queue, kind_of(shape)))

    def may_hold(self, shape: Shape) -> bool:
        """Whether it is for a shape that an instance may be held: for the first that asks."""
        key = shape.job_queue, kind_of(shape)
        return self._held_for.setdefault(key, shape.shape_id) == shape.shape_id


def _besides(left: int, shape: Shape, held: Collection[Shape]) -> int:
    """What is left of a queue's cap for a shape, besides a place for each that is held for.

    One that is held for itself leaves no place to others: else each would wait for the other.
    """
    if shape in held:
        return left
    return max(left - sum(other.job_queue == shape.job_queue for other in held), 0)
