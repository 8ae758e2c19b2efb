"""Shapes that found no room, from plan to plan: when they try again, and what is held for them.

Simple meaning: a shape that found no room is parked, so that the next plans do not look at it,
until something changes for it. Instances that a plan held for a shape are held in the next plan
too, also where the shape is tried again only after others of equal priority.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from longshore.domain.placing.shapes import Plan, Shape, Waiting
from longshore.domain.resources import Resources


@dataclass(slots=True)
class Parking:
    """What is known of shapes that wait. `runnable` are those of which a job is RUNNABLE."""

    #: Shapes that found no room, as they wait.
    parked: dict[int, Waiting] = field(default_factory=dict)
    #: Shapes for which the latest plan held an instance.
    held: set[int] = field(default_factory=set)
    #: Those of them that were not placed: held for in the next plan too, before others of equal
    #: priority take what was gathered.
    gathering: dict[int, Waiting] = field(default_factory=dict)
    #: How shapes waited that found no room and were not placed since, also where they try again.
    known: dict[int, Waiting] = field(default_factory=dict)
    #: Those of the parked ones that wait for what is reserved.
    reserved: set[int] = field(default_factory=set)

    def waiting(self, runnable: Collection[int]) -> tuple[Waiting, ...]:
        """Shapes that found no room, for holding instances."""
        gathering = {s: w for s, w in self.gathering.items() if s in runnable}
        return tuple((gathering | self.parked).values())

    def take_in(self, proposal: Plan, runnable: Collection[int]) -> None:
        """Notes which shapes a plan found no room for, and for which it held instances."""
        known = {w.shape_id: w for w in self.waiting(runnable)} | proposal.unplaced
        placed = {placement.entry.shape_id for placement in proposal.placements}
        for shape_id in placed:
            self.known.pop(shape_id, None)
        self.known.update(proposal.unplaced)
        self.reserved -= proposal.unplaced.keys() | placed
        self.reserved |= proposal.reserved
        self.parked.update(proposal.unplaced)
        left = {s for s in proposal.held if s in self.parked or s not in placed}
        self.gathering = {shape_id: known[shape_id] for shape_id in left if shape_id in known}
        # One that was not reached is not news when it is tried next.
        self.held = {s for s in proposal.held if s in self.parked or s in placed}

    def forget(self, shape_id: int) -> None:
        """No job of a shape waits any more."""
        self.parked.pop(shape_id, None)
        self.gathering.pop(shape_id, None)
        self.known.pop(shape_id, None)
        self.reserved.discard(shape_id)

    def holds_for_nodes(self, shapes: Mapping[int, Shape]) -> bool:
        """Whether instances are held for multi-node jobs."""
        return any(shapes[shape_id].nodes for shape_id in self.held)

    def unpark_queues(self, queues: Collection[str], shapes: Mapping[int, Shape]) -> None:
        """Lets the shapes of some queues try again."""
        for shape_id in list(self.parked):
            if shapes[shape_id].job_queue in queues:
                del self.parked[shape_id]

    def unpark_reserved(
        self, queue: str, usable_milli: int | None, shapes: Mapping[int, Shape]
    ) -> None:
        """Lets shapes of a queue try again for which enough is no longer reserved."""
        for shape_id in [s for s in self.reserved if shapes[s].job_queue == queue]:
            if usable_milli is None or shapes[shape_id].milli <= usable_milli:
                self.reserved.discard(shape_id)
                self.parked.pop(shape_id, None)

    def unpark_freed(
        self, freed: Iterable[tuple[Resources, bool]], shapes: Mapping[int, Shape]
    ) -> None:
        """Lets shapes try again that now fit on an instance on which an attempt ended.

        Args:
            freed: what each such instance has free, and whether it runs nothing else.
            shapes: all of them.
        """
        rooms = list(freed)
        # Many shapes are alike to instances, and are looked at once.
        fits: dict[tuple[Resources, bool], bool] = {}
        for shape_id in list(self.parked):
            shape = shapes[shape_id]
            kind = shape.need, shape.nodes > 0
            if kind not in fits:
                fits[kind] = any(
                    free.holds(shape.need) and (is_empty or not shape.nodes)
                    for free, is_empty in rooms
                )
            if fits[kind]:
                del self.parked[shape_id]

    def unpark_after_holds(self, runnable: Collection[int]) -> None:
        """Lets all shapes try again once a shape waits no longer for which an instance is held.

        It may be placed, cancelled, or about to be placed: others were refused room for its sake.
        """
        if any(s not in self.parked or s not in runnable for s in self.held):
            self.parked.clear()
            self.held.clear()
