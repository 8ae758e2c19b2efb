"""What instances lack for jobs that wait."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from longshore.domain.consumable import ConsumableShortage
from longshore.domain.instance import InstanceCondition
from longshore.domain.placing.room import Room
from longshore.domain.placing.shapes import Shape


class Lack(StrEnum):
    """What an instance lacks for a shape."""

    DRAINING = "DRAINING"
    AWAY = "OUT_OF_TOUCH"
    ENGINE_AWAY = "ENGINE_AWAY"
    DISK_FULL = "DISK_FULL"
    QUARANTINED = "QUARANTINED"
    VCPU = "SHORT_OF_VCPU"
    MEMORY = "SHORT_OF_MEMORY"
    GPU = "SHORT_OF_GPU"
    HELD = "HELD_FOR_AN_EARLIER_JOB"
    SLOT_SIZE = "SLOT_OF_ANOTHER_SIZE"
    BUSY = "IN_USE"
    OTHER_TYPE = "OF_ANOTHER_TYPE"
    TOO_FEW = "TOO_FEW_OF_ITS_TYPE"


@dataclass(frozen=True, slots=True)
class Lacking:
    """How many instances lack what for a shape, the most frequent first."""

    counts: Mapping[Lack, int] = field(hash=False)
    #: What is wanted of them: empty ones for so many nodes, of one type.
    nodes: int = 0
    instance_type: str = ""
    #: They are for nodes, and no environment of the queue takes any.
    no_takers: bool = False
    #: Whatever they have: a policy reserves it for shares to come.
    is_reserved: bool = False
    #: It is units of consumable resources that are waited for, not room: those that lack, or none
    #: where what there is is kept for an earlier job.
    is_starved: bool = False
    units: tuple[ConsumableShortage, ...] = ()


#: Of shapes that may not take what there is.
RESERVED = Lacking({}, is_reserved=True)


def without_units(units: tuple[ConsumableShortage, ...]) -> Lacking:
    """Of shapes that wait for units of consumable resources."""
    return Lacking({}, is_starved=True, units=units)


def lacking(
    shape: Shape,
    environments: Sequence[str],
    takers: Container[str],
    rooms: tuple[Room, ...],
    *,
    no_takers: bool,
) -> Lacking:
    """What instances lack for a shape.

    Args:
        shape: whose jobs found no room.
        environments: those of its queue on which jobs may be placed.
        takers: the environments that take multi-node jobs.
        rooms: all instances.
        no_takers: whether no environment of the queue takes any, placeable or not.
    """
    if not shape.nodes:
        return Lacking(lacks(shape, tuple(environments), rooms), 0, shape.instance_type)
    names = () if no_takers else tuple(name for name in environments if name in takers)
    return Lacking(lacks(shape, names, rooms), shape.nodes, shape.instance_type, no_takers)


def lacks(shape: Shape, environments: tuple[str, ...], rooms: tuple[Room, ...]) -> dict[Lack, int]:
    """Counts the instances of a shape's environments by the first thing each lacks.

    The most frequent comes first. Slots that have their job are not counted: nobody else could ever
    have used them.
    """
    counts: dict[Lack, int] = {}
    ready: dict[tuple[str, str], int] = {}
    for room in rooms:
        if room.compute_environment not in environments or (room.slot and room.draining):
            continue
        lack = _lack(shape, room)
        if lack is Lack.TOO_FEW:
            kind = room.compute_environment, room.instance_type
            ready[kind] = ready.get(kind, 0) + 1
        else:
            counts[lack] = counts.get(lack, 0) + 1
    for count in ready.values():
        # Where there are enough, earlier jobs are waited for that have some of them held.
        lack = Lack.TOO_FEW if count < shape.nodes else Lack.HELD
        counts[lack] = counts.get(lack, 0) + count
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _lack(shape: Shape, room: Room) -> Lack:
    """The first thing that an instance lacks."""
    if room.draining:
        return Lack.DRAINING
    if room.slot and room.total != shape.need:
        return Lack.SLOT_SIZE
    if room.away:
        return Lack.AWAY
    if room.condition is not InstanceCondition.HEALTHY:
        return Lack(room.condition.value)
    if shape.nodes and shape.instance_type not in ("", room.instance_type):
        return Lack.OTHER_TYPE
    # A node has its instance to itself: what there is in all counts, and whether it is in use.
    free = room.total if shape.nodes else room.free
    if free.vcpu_milli < shape.need.vcpu_milli:
        lack = Lack.VCPU
    elif free.memory_mib < shape.need.memory_mib:
        lack = Lack.MEMORY
    elif free.gpus < shape.need.gpus:
        lack = Lack.GPU
    elif not shape.nodes:
        lack = Lack.HELD
    else:
        lack = Lack.BUSY if room.free != room.total else Lack.TOO_FEW
    return lack
