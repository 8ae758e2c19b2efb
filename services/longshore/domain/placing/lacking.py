"""What instances lack for jobs that wait, and how it is told."""

from enum import StrEnum

from longshore.domain.instance import Condition
from longshore.domain.placing.opening import Room
from longshore.domain.placing.shapes import Shape

NONE_YET = "Waiting for an instance: none is there yet."
NO_NODES = (
    "Multi-node jobs run on on-demand instances of managed compute environments; the queue has no "
    "such environment."
)


RESERVED = (
    "Waiting for vCPUs that are not reserved: the policy of the queue leaves some to shares that "
    "are not active yet (computeReservation)."
)


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


_LACK_WORDS = {
    Lack.DRAINING: "draining",
    Lack.AWAY: "out of touch",
    Lack.ENGINE_AWAY: "without an engine that answers",
    Lack.DISK_FULL: "out of disk space",
    Lack.QUARANTINED: "quarantined after failed starts",
    Lack.VCPU: "short of vCPU",
    Lack.MEMORY: "short of memory",
    Lack.GPU: "short of GPUs",
    Lack.HELD: "held for an earlier job",
    Lack.BUSY: "in use",
    Lack.OTHER_TYPE: "of another type",
    Lack.TOO_FEW: "ready, too few of a type",
}


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
    if room.condition is not Condition.HEALTHY:
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


def explain(counts: dict[Lack, int], nodes: int = 0, instance_type: str = "") -> str:
    """The counts as a sentence: `12 instances: 8 short of memory, 4 draining`."""
    total = sum(counts.values())
    what = "room"
    if nodes > 1:
        what = f"{nodes} empty instances of {instance_type or 'one type'}"
    elif instance_type:
        what = f"an empty instance of {instance_type}"
    if not total:
        return f"Waiting for {what}: none is there yet." if what != "room" else NONE_YET
    parts = ", ".join(f"{count} {_words(lack, count)}" for lack, count in counts.items())
    return f"Waiting for {what}: {total} instance{'s' if total > 1 else ''}: {parts}."


def _words(lack: Lack, count: int) -> str:
    if lack is Lack.SLOT_SIZE:
        return "slot of another size" if count == 1 else "slots of another size"
    return _LACK_WORDS[lack]
