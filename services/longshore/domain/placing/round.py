"""One round of placement: who tries, what is proposed, and why the others wait.

Whoever keeps jobs and instances reads the first entries of those who try, takes from the proposal
what still holds, and lets `Parking` take in what came of it.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from longshore.domain.catalogue import Catalogue
from longshore.domain.placing.lacking import Lacking, lacking
from longshore.domain.placing.opening import Room
from longshore.domain.placing.parking import Parking
from longshore.domain.placing.plan import plan
from longshore.domain.placing.shapes import Entry, Plan, Queue, Shape, Sharing, Snapshot
from longshore.domain.placing.sharing import Kind, kind_of
from longshore.domain.placing.waiting import EnvironmentFacts, Supply, Wait, blocked, wait_of
from longshore.domain.resources import Resources

_RESERVED = Lacking({}, is_reserved=True)


@dataclass(frozen=True, slots=True)
class Ground:
    """What a round stands on, besides instances and entries.

    `runnable` has the number of RUNNABLE jobs of each shape that has any. A shape's queue may be
    gone.
    """

    shapes: dict[int, Shape]
    runnable: Mapping[int, int]
    #: Queues by name, with all their environments, in order.
    queues: Mapping[str, tuple[int, Sequence[EnvironmentFacts]]]
    catalogue: Catalogue
    supply: Supply

    def placeable(self) -> tuple[Queue, ...]:
        """Queues with the environments on which jobs may be placed now."""
        return tuple(
            Queue(name, priority, tuple(e.name for e in environments if e.placeable))
            for name, (priority, environments) in self.queues.items()
        )

    def node_environments(self) -> dict[str, int]:
        """The environments that take multi-node jobs, with their maxvCpus."""
        return {
            e.name: e.maxv_cpus or 0
            for _, environments in self.queues.values()
            for e in environments
            if e.takes_nodes
        }

    def environments_of(self, shape: Shape) -> Sequence[EnvironmentFacts]:
        """The environments of a shape's queue, in order."""
        return self.queues[shape.job_queue][1]

    def hopeless(self) -> frozenset[int]:
        """Shapes of multi-node jobs for which gathering instances is of no use now."""
        nodes = (shape for i in self.runnable if (shape := self.shapes[i]).nodes)
        return frozenset(
            shape.shape_id
            for shape in nodes
            if shape.job_queue in self.queues
            and blocked(shape, self.environments_of(shape), self.catalogue, self.supply)
        )


def begin(
    ground: Ground, parking: Parking, freed: Iterable[tuple[Resources, bool]] = ()
) -> dict[str, list[int]]:
    """The shapes that try for room in this round, by queue.

    Those are the ones that are not parked; of the parked ones those try again that now fit on an
    instance on which an attempt ended, and all once nothing is held for others any more.

    Args:
        ground: of the round.
        parking: what earlier rounds left.
        freed: what each such instance has free, and whether it runs nothing else.
    """
    parking.unpark_freed(freed, ground.shapes)
    parking.unpark_after_holds(ground.runnable)
    return hungry(ground, parking)


def hungry(ground: Ground, parking: Parking) -> dict[str, list[int]]:
    """Shapes with RUNNABLE jobs that may find room, by queue."""
    found: dict[str, list[int]] = {}
    for shape_id in ground.runnable:
        queue = ground.shapes[shape_id].job_queue
        if shape_id not in parking.parked and queue in ground.queues:
            found.setdefault(queue, []).append(shape_id)
    return found


def propose(
    ground: Ground,
    parking: Parking,
    heads: Mapping[str, tuple[Entry, ...]],
    rooms: tuple[Room, ...],
    now: datetime,
    seed: int,
    *,
    sharing: Mapping[str, Sharing] = MappingProxyType({}),
) -> Plan:
    """Which of the first entries of those who try go where.

    Args:
        ground: of the round.
        parking: as `begin` left it.
        heads: the first entries of those who try, in dispatch order, by queue.
        rooms: the instances.
        now: the time.
        seed: which queue of several that are alike comes first goes with it.
        sharing: what decides between the shares of queues that have a policy.
    """
    snapshot = Snapshot(
        queues=ground.placeable(),
        shapes=ground.shapes,
        rooms=rooms,
        heads=dict(heads),
        parked=parking.waiting(ground.runnable),
        node_environments=ground.node_environments(),
        hopeless=ground.hopeless(),
        sharing=sharing,
        held=frozenset(parking.held | parking.gathering.keys()),
    )
    return plan(snapshot, now, seed)


def see_supply(parking: Parking, shapes: Mapping[int, Shape], known: Supply, now: Supply) -> bool:
    """Takes in what became of orders; True if that is news.

    Where instances are held for multi-node jobs all try again: more may come no longer.
    """
    if known == now:
        return False
    if parking.holds_for_nodes(shapes):
        parking.parked.clear()
    return True


def look(
    ground: Ground,
    shape_ids: Iterable[int],
    rooms: tuple[Room, ...],
    reserved: Container[int] = (),
) -> dict[int, Lacking]:
    """What instances lack for shapes, or that what they have is reserved."""
    queues = {queue.name: queue.compute_environments for queue in ground.placeable()}
    takers = ground.node_environments()
    alike: dict[tuple[str, Kind], Lacking] = {}
    found = {}
    for shape_id in shape_ids:
        shape = ground.shapes[shape_id]
        if shape_id in reserved:
            found[shape_id] = _RESERVED
            continue
        kind = shape.job_queue, kind_of(shape)
        if kind not in alike:
            no_takers = not any(e.takes_nodes for e in ground.environments_of(shape))
            names = queues[shape.job_queue]
            alike[kind] = lacking(shape, names, takers, rooms, no_takers=no_takers)
        found[shape_id] = alike[kind]
    return found


def waits(ground: Ground, shape_ids: Iterable[int], seen: Mapping[int, Lacking]) -> dict[int, Wait]:
    """Why shapes wait, by what instances lacked when they were last looked at.

    Shapes of a kind that were looked at together have one answer.
    """
    alike: dict[tuple[str, Kind, int], Wait] = {}
    found = {}
    for shape_id in shape_ids:
        shape, lacked = ground.shapes[shape_id], seen[shape_id]
        kind = shape.job_queue, kind_of(shape), id(lacked)
        if kind not in alike:
            environments = ground.environments_of(shape)
            alike[kind] = wait_of(shape, environments, lacked, ground.catalogue, ground.supply)
        found[shape_id] = alike[kind]
    return found
