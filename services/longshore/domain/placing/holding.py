"""Instances held for what found no room, so that later jobs do not take it bit by bit."""

import functools
from collections.abc import Callable, Mapping
from datetime import datetime

from longshore.domain.placing.opening import OpenRooms
from longshore.domain.placing.shapes import PlacingSnapshot, QueueEntry, Shape, Waiting
from longshore.domain.placing.sharing import Kind, kind_of
from longshore.domain.resources import Resources


def hold(
    snapshot: PlacingSnapshot,
    turn: Mapping[str, list[OpenRooms]],
    waiting: Waiting,
    long_since: datetime,
) -> None:
    """Holds instances for a shape that found no room, if it is time."""
    shape = snapshot.shapes[waiting.shape_id]
    environments, is_late = turn[shape.job_queue], waiting.ready_at <= long_since
    if not (shape.nodes or is_late):
        return
    if any(shape.shape_id in fleet.held() for fleet in environments):
        return
    if shape.nodes:
        _gather(snapshot, takers_of_nodes(snapshot, environments), shape, is_late=is_late)
    else:
        _hold_for_one(environments, shape)


class HoldsInTurn:
    """Holds instances in a queue with a policy: for one single and one multi-node job at a time.

    What is held is for a kind of jobs and stays so from plan to plan, but whose job it is for is
    decided when that could be placed: the share's whose turn it is then. Nothing is held for single
    jobs while all others that wait need as much: room that suffices for any of them is taken in
    turn as it is.
    """

    def __init__(
        self, snapshot: PlacingSnapshot, queue: str, turn: Mapping[str, list[OpenRooms]]
    ) -> None:
        self._snapshot = snapshot
        self._turn = turn
        self._environments = turn[queue]
        #: Shapes that something is held for.
        self.shapes = {held for fleet in self._environments for held in fleet.held()}
        self._of_queue = {s for s in self.shapes if snapshot.shapes[s].job_queue == queue}
        #: Whether something is held for multi-node jobs, and for others.
        self._done = {snapshot.shapes[s].nodes > 0 for s in self._of_queue}
        self._vain: set[Kind] = set()

    def pass_on(self, shape: Shape) -> None:
        """What is held for jobs like these is for these ones now: it is their share's turn."""
        if shape.shape_id in self.shapes:
            return
        kind = kind_of(shape)
        for other in [s for s in self._of_queue if kind_of(self._snapshot.shapes[s]) == kind]:
            for fleet in self._environments:
                fleet.pass_on(other, shape.shape_id)
            for known in (self.shapes, self._of_queue):
                known.remove(other)
                known.add(shape.shape_id)

    def hold(self, waiting: Waiting, long_since: datetime) -> None:
        """Holds instances for a shape whose turn it is, if it is time and none are held so far."""
        shape = self._snapshot.shapes[waiting.shape_id]
        kind, has_nodes = kind_of(shape), shape.nodes > 0
        if has_nodes in self._done or kind in self._vain:
            return
        if not has_nodes and (waiting.ready_at > long_since or self._is_smallest(shape)):
            return
        hold(self._snapshot, self._turn, waiting, long_since)
        if any(shape.shape_id in fleet.held() for fleet in self._environments):
            self.shapes.add(shape.shape_id)
            self._of_queue.add(shape.shape_id)
            self._done.add(has_nodes)
        else:
            self._vain.add(kind)

    def _is_smallest(self, shape: Shape) -> bool:
        """Whether all that waits needs as much."""
        return all(need.holds(shape.need) for need in self._needs)

    @functools.cached_property
    def _needs(self) -> set[Resources]:
        return {self._snapshot.shapes[s].need for s in _waiting_shapes(self._snapshot)}


def hold_again(
    snapshot: PlacingSnapshot,
    queue: str,
    turn: Mapping[str, list[OpenRooms]],
    long_since: datetime,
    may_hold: Callable[[Waiting], bool],
) -> None:
    """Holds what the plan before held in a queue with a policy, for whose turn it is by now.

    Some may not hold any: they wait for more than room.
    """
    shapes, standings = snapshot.shapes, snapshot.sharing[queue].standings
    kinds = {kind_of(shapes[s]) for s in snapshot.held if shapes[s].job_queue == queue}
    if not kinds:
        return
    first: dict[Kind, tuple[tuple[float, str, int, int, int], Waiting]] = {}
    items: list[QueueEntry | Waiting] = [*snapshot.heads.get(queue, ()), *snapshot.parked]
    for item in items:
        shape = shapes[item.shape_id]
        kind = kind_of(shape)
        if shape.job_queue != queue or kind not in kinds:
            continue
        score = standings[shape.share].score
        key = score, shape.share, -shape.priority, item.rank, item.seq
        if kind not in first or key < first[kind][0]:
            # It was time for one of this kind, so it is for this one.
            since = min(item.ready_at, long_since)
            first[kind] = key, Waiting(shape.shape_id, since, item.rank, item.seq)
    for waiting in [waiting for _, waiting in first.values() if may_hold(waiting)]:
        hold(snapshot, turn, waiting, long_since)


def _waiting_shapes(snapshot: PlacingSnapshot) -> set[int]:
    """All shapes of which jobs wait, as far as a plan knows."""
    found = {entry.shape_id for entries in snapshot.heads.values() for entry in entries}
    found |= {waiting.shape_id for waiting in snapshot.parked}
    return found.union(*(sharing.unread for sharing in snapshot.sharing.values()))


def _gather(
    snapshot: PlacingSnapshot, environments: list[OpenRooms], shape: Shape, *, is_late: bool
) -> None:
    """Holds what there is of the instances that a multi-node job waits for, in one environment.

    That is the one that has the most of them, the first of those that have as many.
    """
    need = shape.need, shape.nodes, shape.instance_type
    found = [(fleet, fleet.together(shape.shape_id, *need, used=is_late)) for fleet in environments]
    best = max(found, key=lambda each: len(each[1]), default=None)
    if best is None:
        return
    fleet, indexes = best
    if len(indexes) < shape.nodes and shape.shape_id in snapshot.hopeless:
        return
    for index in indexes:
        fleet.hold(index, shape.shape_id)
    size = fleet.rooms[indexes[0]].total.vcpu_milli if indexes else shape.need.vcpu_milli
    missing = (shape.nodes - len(indexes)) * size
    maximum = snapshot.node_environments[fleet.rooms[0].compute_environment] * 1000
    if is_late and sum(room.total.vcpu_milli for room in fleet.rooms) + missing > maximum:
        fleet.hold_any(shape.shape_id, missing)


def _hold_for_one(environments: list[OpenRooms], shape: Shape) -> None:
    """Holds the instance where the shape would fit soonest.

    That is one large enough, and with the most free already.
    """
    candidates = [
        (fleet.free(index), fleet.rooms[index].instance_id, fleet, index)
        for fleet in environments
        if (index := fleet.candidate(shape.need)) is not None
    ]
    if candidates:
        _, _, fleet, index = max(candidates, key=lambda found: found[:2])
        fleet.hold(index, shape.shape_id)


def takers_of_nodes(snapshot: PlacingSnapshot, environments: list[OpenRooms]) -> list[OpenRooms]:
    """The environments that take multi-node jobs."""
    return [
        fleet
        for fleet in environments
        if fleet.rooms and fleet.rooms[0].compute_environment in snapshot.node_environments
    ]
