"""Instances held for what found no room, so that later jobs do not take it bit by bit."""

from collections.abc import Mapping
from datetime import datetime

from longshore.domain.placing.opening import OpenRooms
from longshore.domain.placing.shapes import Shape, Snapshot, Waiting


def hold(
    snapshot: Snapshot,
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


def _gather(
    snapshot: Snapshot, environments: list[OpenRooms], shape: Shape, *, is_late: bool
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


def takers_of_nodes(snapshot: Snapshot, environments: list[OpenRooms]) -> list[OpenRooms]:
    """The environments that take multi-node jobs."""
    return [
        fleet
        for fleet in environments
        if fleet.rooms and fleet.rooms[0].compute_environment in snapshot.node_environments
    ]
