"""One round of placement: who tries, what is proposed, and why the others wait.

Whoever keeps jobs and instances reads the first entries of those who try, in queues with a policy
those of whose turn it is (`turns`), takes from the proposal what still holds, and lets `Parking`
take in what came of it.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from longshore.domain.catalogue import Catalogue
from longshore.domain.consumable import Stock
from longshore.domain.fair_share import Ledger, SharePolicy, Standing
from longshore.domain.placing.capping import Capped, Caps
from longshore.domain.placing.lacking import RESERVED, Lacking, lacking, without_units
from longshore.domain.placing.parking import Parking
from longshore.domain.placing.plan import plan
from longshore.domain.placing.room import Room
from longshore.domain.placing.shapes import (
    PlacingSnapshot,
    Plan,
    Queue,
    QueueEntry,
    QueueSharing,
    Shape,
    Waiting,
)
from longshore.domain.placing.sharing import Kind, first_in_turn, kind_of
from longshore.domain.placing.waiting import EnvironmentFacts, Supply, Wait, blocked, wait_of
from longshore.domain.resources import Resources


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
    #: Of queues that have one, and what the shares of these use.
    policies: Mapping[str, SharePolicy] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    caps: Caps = field(default_factory=Caps)
    #: Of consumable resources, as far as shapes that try or wait need them.
    stock: Stock = field(default_factory=Stock)

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

    def waiting_shares(self) -> dict[str, set[str]]:
        """Queues with a policy in which something waits, with the shares of which it does."""
        found: dict[str, set[str]] = {}
        if self.policies:
            for shape in map(self.shapes.__getitem__, self.runnable):
                if shape.job_queue in self.policies:
                    found.setdefault(shape.job_queue, set()).add(shape.share)
        return found

    def usable(self, queue: str, waiting: Iterable[str], now: datetime) -> int | None:
        """vCPUs, in thousandths, that a queue with a policy may still take; None: any.

        So it is where nothing is reserved, or nobody knows how many the queue may have.
        """
        policy, most_milli = self.policies[queue], 0
        if not policy.compute_reservation:
            return None
        for environment in self.queues[queue][1]:
            if environment.most_vcpus is None:
                return None
            most_milli += environment.most_vcpus * 1000
        return self.ledger.usable(queue, policy, most_milli, set(waiting), now)

    def hopeless(self, shape_ids: Iterable[int]) -> frozenset[int]:
        """Those of some shapes for which gathering instances or units is of no use now.

        Only multi-node jobs and such that need consumable resources gather any.
        """
        some = (shape for i in shape_ids if (shape := self.shapes[i]).nodes or shape.units)
        return frozenset(
            shape.shape_id
            for shape in some
            if shape.job_queue in self.queues
            and blocked(shape, self.environments_of(shape), self.catalogue, self.supply)
        )


def begin(
    ground: Ground,
    parking: Parking,
    now: datetime,
    freed: Iterable[tuple[Resources, bool]] = (),
) -> dict[str, list[int]]:
    """The shapes that try for room in this round, by queue.

    Those are the ones that are not parked; of the parked ones those try again that now fit on an
    instance on which an attempt ended, those for which there are units of consumable resources
    again, those for which enough is no longer reserved, and all once nothing is held for others any
    more.

    Args:
        ground: of the round.
        parking: what earlier rounds left.
        now: the time.
        freed: what each such instance has free, and whether it runs nothing else.
    """
    parking.unpark_stocked(ground.stock, ground.shapes)
    parking.unpark_freed(freed, ground.shapes)
    parking.unpark_after_holds(ground.runnable)
    if parking.reserved:
        for queue, waiting in ground.waiting_shares().items():
            parking.unpark_reserved(queue, ground.usable(queue, waiting, now), ground.shapes)
    return hungry(ground, parking)


def hungry(ground: Ground, parking: Parking) -> dict[str, list[int]]:
    """Shapes with RUNNABLE jobs that may find room, and that no cap holds back, by queue."""
    found: dict[str, list[int]] = {}
    held = _held(ground, parking)
    for shape_id in ground.runnable:
        shape = ground.shapes[shape_id]
        if (
            shape_id not in parking.parked
            and shape.job_queue in ground.queues
            and ground.caps.left(shape, held)
        ):
            found.setdefault(shape.job_queue, []).append(shape_id)
    return found


def _held(ground: Ground, parking: Parking) -> list[Shape]:
    """Shapes for which an instance is held and that found no room yet, where caps ask for them."""
    if not ground.caps.queues:
        return []
    waiting = parking.held & parking.parked.keys() & ground.runnable.keys()
    return [ground.shapes[shape_id] for shape_id in waiting]


def capped(ground: Ground, parking: Parking) -> dict[int, Capped]:
    """Shapes with RUNNABLE jobs that a cap holds back, and which."""
    found: dict[int, Capped] = {}
    held = _held(ground, parking)
    for shape_id in ground.runnable:
        why = ground.caps.why(ground.shapes[shape_id], held)
        if why is not None and ground.shapes[shape_id].job_queue in ground.queues:
            found[shape_id] = why
    return found


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose entries of a queue with a policy are read, and what decides between its shares."""

    #: Shapes of the shares whose turn comes first: of each the first entries are wanted.
    shape_ids: Sequence[int]
    standings: Mapping[str, Standing]
    unread: Mapping[int, Waiting | None]
    usable_milli: int | None

    def sharing(self, cut: frozenset[int]) -> QueueSharing:
        """The same once entries are read; `cut` are the shapes of which there are more."""
        return QueueSharing(self.standings, cut, self.unread, self.usable_milli)


def turns(
    ground: Ground, parking: Parking, trying: Mapping[str, Sequence[int]], now: datetime
) -> dict[str, Turn]:
    """Whose turn it is in each queue with a policy in which something waits."""
    found = {}
    for queue, waiting in ground.waiting_shares().items():
        wanted = trying.get(queue, ())
        standings = ground.ledger.standings(queue, ground.policies[queue], waiting, now)
        chosen = first_in_turn(ground.shapes, wanted, standings)
        unread = {shape_id: parking.known.get(shape_id) for shape_id in set(wanted) - set(chosen)}
        found[queue] = Turn(chosen, standings, unread, ground.usable(queue, waiting, now))
    return found


def propose(
    ground: Ground,
    parking: Parking,
    heads: Mapping[str, tuple[QueueEntry, ...]],
    sharing: Mapping[str, QueueSharing],
    rooms: tuple[Room, ...],
    now: datetime,
    seed: int,
) -> Plan:
    """Which of the first entries of those who try go where.

    Args:
        ground: of the round.
        parking: as `begin` left it.
        heads: the first entries of those who try, in dispatch order, by queue.
        sharing: of the queues with a policy in which something waits.
        rooms: the instances.
        now: the time.
        seed: which queue of several that are alike comes first goes with it.
    """
    # Nothing is held for what a cap holds back.
    parked = tuple(
        waiting
        for waiting in parking.waiting(ground.runnable)
        if ground.caps.left(ground.shapes[waiting.shape_id])
    )
    asking = {entry.shape_id for entries in heads.values() for entry in entries}
    snapshot = PlacingSnapshot(
        queues=ground.placeable(),
        shapes=ground.shapes,
        rooms=rooms,
        heads=dict(heads),
        parked=parked,
        node_environments=ground.node_environments(),
        hopeless=ground.hopeless(asking | {waiting.shape_id for waiting in parked}),
        sharing=sharing,
        held=frozenset(parking.held | parking.gathering.keys()),
        left_of_arrays={
            shape.array: ground.caps.of_array(shape)
            for shape in map(ground.shapes.__getitem__, asking)
            if shape.max_running
        },
        left_of_queues={name: ground.caps.of_queue(name) for name in ground.caps.queues},
        stock=ground.stock,
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
    starved: Container[int] = (),
) -> dict[int, Lacking]:
    """What instances lack for shapes, or that what they have is reserved, or which units lack.

    Those of a queue that are alike are looked at once, whosever their jobs are.
    """
    queues = {queue.name: queue.compute_environments for queue in ground.placeable()}
    takers = ground.node_environments()
    found, alike = {}, dict[tuple[str, Kind], Lacking]()
    for shape_id in shape_ids:
        if shape_id in reserved:
            found[shape_id] = RESERVED
            continue
        shape = ground.shapes[shape_id]
        if shape_id in starved:
            found[shape_id] = without_units(ground.stock.short_of(shape.units))
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

    For those of a queue that are alike, and lacked the same, it is one and the same.
    """
    found, alike = {}, dict[tuple[str, Kind, Lacking], Wait]()
    for shape_id in shape_ids:
        shape, lacked = ground.shapes[shape_id], seen[shape_id]
        kind = shape.job_queue, kind_of(shape), lacked
        if kind not in alike:
            environments = ground.environments_of(shape)
            alike[kind] = wait_of(shape, environments, lacked, ground.catalogue, ground.supply)
        found[shape_id] = alike[kind]
    return found
