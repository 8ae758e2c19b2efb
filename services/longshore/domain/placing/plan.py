"""Placement: which waiting jobs go to which instances now.

Simple meaning: queues in descending priority, those of equal priority in turn; in each queue jobs
in dispatch order; each job goes to the first of the queue's compute environments, in order, that
has an instance with room. A job that does not fit is passed over, and smaller ones behind it may go
ahead, but not for ever: once the first job of a shape has waited past `hold_after`, the instance
where it would fit soonest is held for it and takes nothing else of later order. A slot takes one
job, of exactly its size, and is never held.

A multi-node job goes to as many empty instances of one type as it has nodes, all at once, and has
each to itself. Until there are enough, the empty ones are held for it: else jobs of later order
would take each as it comes, and it would never have all. Once it has waited past `hold_after`,
those in use are held too; and where the environment is at its maximum, so are so many of other
types that, given back, they make room for what is missing.

In a queue with a fair-share policy jobs go share by share as their turns come, and within a share
by priority (`sharing`). There instances are held for one single job and one multi-node job at a
time, those whose turn comes first: under a policy everything waits long where much waits, and
instances held for all of it would be given out in the order in which jobs end, not in turn.

An array and a queue may have a cap on what runs at one time (`capping`): what it holds back is
passed over, and nothing is held for it.

A job that needs units of consumable resources has them all when it is placed, or is passed over as
one without room is. Once it has waited past `hold_after`, what there is of them is kept for it, as
far as waiting alone will help it, so that later jobs do not take each unit as it comes.

How the code differs: jobs of one shape are alike, so a shape that was found not to fit is not tried
again in the same pass, and entries stand for ranges of array children. The cost is in shapes,
entries and instances, never in the length of the backlog.
"""

import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from longshore.domain.consumable import OpenStock
from longshore.domain.job.job import JobKey
from longshore.domain.placing.capping import Alike, OpenCaps
from longshore.domain.placing.holding import HoldsInTurn, hold, hold_again, takers_of_nodes
from longshore.domain.placing.opening import OpenRooms
from longshore.domain.placing.room import Room
from longshore.domain.placing.shapes import (
    Placement,
    PlacingSnapshot,
    Plan,
    QueueEntry,
    Shape,
    Waiting,
)
from longshore.domain.placing.sharing import Kind, QueueLine, kind_of

#: Most placements of one plan: bounds the transaction that applies it.
PLAN_LIMIT = 1_000
HOLD_AFTER = timedelta(seconds=60)


def plan(
    snapshot: PlacingSnapshot,
    now: datetime,
    seed: int,
    *,
    limit: int = PLAN_LIMIT,
    hold_after: timedelta = HOLD_AFTER,
) -> Plan:
    """Proposes placements for the heads of all queues.

    Args:
        snapshot: queues, shapes, instances and the first waiting jobs.
        now: the time of the decision.
        seed: shifts which of equally good instances is taken, so that load spreads from pass to
            pass, and which of the queues of equal priority goes first.
        limit: most placements.
        hold_after: how long a job waits before an instance is held for it.
    """
    rooms: dict[str, list[Room]] = {}
    for room in snapshot.rooms:
        if room.is_open:
            rooms.setdefault(room.compute_environment, []).append(room)
    by_environment = {
        name: OpenRooms(found[seed % len(found) :] + found[: seed % len(found)])
        for name, found in rooms.items()
    }
    making = _Making(
        snapshot, limit, now - hold_after, OpenCaps(snapshot), OpenStock(snapshot.stock)
    )
    result = making.result
    for turn in _turns(snapshot, by_environment, seed):
        waiting = _wait(making, turn)
        for queue_name, environments in turn.items():
            if queue_name in snapshot.sharing:
                _share(making, queue_name, turn)
                continue
            for entry in snapshot.heads.get(queue_name, ()):
                while waiting and (waiting[0].rank, waiting[0].seq) < (entry.rank, entry.seq):
                    making.hold(turn, waiting.popleft())
                _fill(making, entry, environments)
        for left in waiting:
            making.hold(turn, left)
    result.held = {held for fleet in by_environment.values() for held in fleet.held()}
    result.held.update(making.stock.kept_for)
    result.left = making.stock.left()
    return result


@dataclass(frozen=True, slots=True)
class _Making:
    """A plan while it is made."""

    snapshot: PlacingSnapshot
    limit: int
    long_since: datetime
    caps: OpenCaps
    #: What of consumable resources was not given out yet.
    stock: OpenStock
    alike: Alike = field(default_factory=Alike)
    result: Plan = field(default_factory=Plan)

    @property
    def is_full(self) -> bool:
        return len(self.result.placements) >= self.limit

    def within_caps(self, shape: Shape, environments: list[OpenRooms]) -> int:
        """How many jobs of a shape caps let run besides those that something is kept for."""
        return self.caps.left(shape, environments, self.stock.kept_for)

    def with_units(self, shape: Shape, most: int) -> int:
        """How many of so many jobs of a shape there are units for."""
        units = self.stock.most(shape.shape_id, shape.units) if shape.units else None
        return most if units is None else min(most, units)

    def fail(self, waiting: Waiting) -> None:
        """Notes that jobs of a shape found no room, or that they lack units."""
        shape = self.snapshot.shapes[waiting.shape_id]
        self.alike.fail(shape)
        self.result.unplaced[shape.shape_id] = waiting
        if not self.with_units(shape, 1):
            self.result.starved.add(shape.shape_id)

    def keep(self, waiting: Waiting) -> bool:
        """Keeps units for the first job of a shape, if it is time and it could be placed then.

        Returns whether there are all that it needs. Instances are held for nobody else: of two jobs
        one would have the room that the other waits for, and that one the units.
        """
        shape = self.snapshot.shapes[waiting.shape_id]
        is_late = waiting.ready_at <= self.long_since
        if shape.units and is_late and shape.shape_id not in self.snapshot.hopeless:
            self.stock.keep(shape.shape_id, shape.units)
        return self.with_units(shape, 1) > 0

    def hold(self, turn: Mapping[str, list[OpenRooms]], waiting: Waiting) -> None:
        """Holds instances for a shape that found no room, if it is time and it has its units."""
        if self.keep(waiting):
            hold(self.snapshot, turn, waiting, self.long_since)

    def place(
        self, entry: QueueEntry, first: int, count: int, environments: list[OpenRooms]
    ) -> int:
        """Places what fits of so many jobs of an entry from an index on; returns how many.

        There are units for all of them. A multi-node job goes into one plan whole, also where that
        takes the plan past its limit.
        """
        shape = self.snapshot.shapes[entry.shape_id]
        if shape.nodes:
            takers = takers_of_nodes(self.snapshot, environments)
            done = _place_nodes(entry, shape, takers, self.result)
        else:
            part = first, first + count
            done = _place(entry, part, shape, environments, self.result, self.limit)
        self.caps.take(shape, done)
        if shape.units:
            self.stock.take(shape.shape_id, shape.units, done)
        return done


def _turns(
    snapshot: PlacingSnapshot, by_environment: Mapping[str, OpenRooms], seed: int
) -> Iterator[dict[str, list[OpenRooms]]]:
    """Queues in the order in which they may take room, each with the instances it may use.

    Those of equal priority come together.
    """
    ordered = sorted(snapshot.queues, key=lambda queue: (-queue.priority, queue.name))
    for _, equals in itertools.groupby(ordered, key=lambda queue: queue.priority):
        queues = list(equals)
        shift = seed % len(queues)
        yield {
            queue.name: [
                by_environment[name]
                for name in queue.compute_environments
                if name in by_environment
            ]
            for queue in queues[shift:] + queues[:shift]
        }


def _wait(making: _Making, turn: Mapping[str, list[OpenRooms]]) -> deque[Waiting]:
    """What did not fit before, of queues of one priority.

    For jobs that wait since `long_since` or longer units are kept, and for single ones instances
    held, before the queues take anything. Multi-node jobs are returned, in dispatch order: what
    comes before them there goes first, as it does in scaling. Else each would be left what the
    other is to have.

    Of queues with a policy instances are held again for what they were held for before.
    """
    snapshot, long_since = making.snapshot, making.long_since
    waiting = []
    for one in snapshot.parked:
        queue = snapshot.shapes[one.shape_id].job_queue
        if queue in turn and queue not in snapshot.sharing:
            waiting.append(one)
    for queue in turn.keys() & snapshot.sharing.keys():
        hold_again(snapshot, queue, turn, long_since, making.keep)
    for late in sorted(waiting, key=lambda w: w.ready_at):
        if late.ready_at > long_since:
            break
        shape = snapshot.shapes[late.shape_id]
        if making.alike.may_hold(shape) and making.keep(late) and not shape.nodes:
            hold(snapshot, turn, late, long_since)
    nodes = (w for w in waiting if snapshot.shapes[w.shape_id].nodes)
    return deque(sorted(nodes, key=lambda w: (w.rank, w.seq, w.ready_at)))


def _fill(making: _Making, entry: QueueEntry, environments: list[OpenRooms]) -> None:
    """Places what fits of an entry, and notes what is left: as more to do, or as unplaced.

    What a cap holds back is neither: it is tried again when the cap leaves something.
    """
    result, shape = making.result, making.snapshot.shapes[entry.shape_id]
    if result.partial or shape.shape_id in result.unplaced:
        return
    if making.is_full:
        result.partial = True
        return
    waiting = Waiting(shape.shape_id, entry.ready_at, entry.rank, entry.seq)
    if making.alike.is_vain(shape):
        making.fail(waiting)
        return
    wanted = min(entry.end_index - entry.next_index, making.within_caps(shape, environments))
    if wanted <= 0:
        return
    most = making.with_units(shape, wanted)
    done = making.place(entry, entry.next_index, most, environments) if most else 0
    if done == wanted:
        return
    if not shape.nodes and making.is_full:
        result.partial = True
        return
    making.fail(waiting)
    if making.alike.may_hold(shape):
        making.hold({shape.job_queue: environments}, waiting)


def _share(making: _Making, queue: str, turn: Mapping[str, list[OpenRooms]]) -> None:
    """Places jobs of a queue with a policy, share by share as their turns come."""
    result, shapes = making.result, making.snapshot.shapes
    if result.partial:
        return
    line, holds = QueueLine(making.snapshot, queue), HoldsInTurn(making.snapshot, queue, turn)
    starved: set[Kind] = set()
    while line and not result.partial:
        entry = line.item
        if isinstance(entry, Waiting):
            if making.keep(entry):
                holds.hold(entry, making.long_since)
            line.skip()
        elif making.is_full:
            result.partial = True
        elif most := _most(making, line, entry, turn[queue]):
            if units := making.with_units(shapes[entry.shape_id], most):
                _give(making, line, holds, entry, units, turn[queue])
            else:
                starved.add(kind_of(shapes[entry.shape_id]))
                making.keep(line.fail(entry))
    if not result.partial:
        _rule_out(line, turn[queue])
    result.partial |= line.close()
    result.unplaced |= line.unplaced
    result.reserved |= line.reserved
    if starved:
        result.starved |= {s for s in line.unplaced if kind_of(shapes[s]) in starved}


def _give(
    making: _Making,
    line: QueueLine,
    holds: HoldsInTurn,
    entry: QueueEntry,
    most: int,
    environments: list[OpenRooms],
) -> None:
    """Places so many jobs of the entry that is next, as far as they fit."""
    done = 0
    if not (is_vain := line.is_vain(entry)):
        holds.pass_on(making.snapshot.shapes[entry.shape_id])
    if entry.shape_id in holds.shapes or not is_vain:
        done = making.place(entry, line.index, most, environments)
        line.take(entry, done)
    if done < most and not making.is_full:
        waiting = line.fail(entry)
        if making.keep(waiting):
            holds.hold(waiting, making.long_since)


def _most(
    making: _Making, line: QueueLine, entry: QueueEntry, environments: list[OpenRooms]
) -> int:
    """How many jobs of the entry that is next may be placed; 0 if it is passed over."""
    shape = making.snapshot.shapes[entry.shape_id]
    if making.caps.is_full(shape.job_queue):
        line.stop()
        return 0
    left = making.within_caps(shape, environments)
    if not left:
        line.pass_over(entry)
        return 0
    most = min(line.most(entry), left)
    if not most:
        line.fail(entry, is_reserved=True)
    return most


def _rule_out(line: QueueLine, environments: list[OpenRooms]) -> None:
    """Says for what was not looked at that it would find no room, where that is so.

    Else it would take another plan to find out.
    """
    for kind in line.kinds_left:
        need, *_ = kind
        if not any(fleet.has_room(need) for fleet in environments):
            line.rule_out(kind)


def _place(
    entry: QueueEntry,
    part: tuple[int, int],
    shape: Shape,
    environments: list[OpenRooms],
    result: Plan,
    limit: int,
) -> int:
    """Places as many of a part of an entry as fit and returns how many.

    The part is from an index up to another, exclusive. In each environment slots come first, then
    shared instances (see `opening`).
    """
    index, end = part
    for fleet in environments:
        slots = fleet.slots.get(shape.need)
        while slots and index < end and len(result.placements) < limit:
            room = slots.pop()
            result.placements.append(
                Placement(entry, index, room.instance_id, room.compute_environment)
            )
            index += 1
        while index < end and len(result.placements) < limit:
            best = fleet.best(shape.shape_id, shape.need)
            if best is None:
                break
            room = fleet.rooms[best]
            bound = min(end - index, limit - len(result.placements))
            for _ in range(fleet.take(best, shape.need, bound)):
                result.placements.append(
                    Placement(entry, index, room.instance_id, room.compute_environment)
                )
                index += 1
        if index == end:
            break
    return index - part[0]


def _place_nodes(
    entry: QueueEntry, shape: Shape, environments: list[OpenRooms], result: Plan
) -> int:
    """Places all nodes of a multi-node job, or none; returns how many jobs it placed."""
    for fleet in environments:
        found = fleet.together(shape.shape_id, shape.need, shape.nodes, shape.instance_type)
        if len(found) < shape.nodes:
            continue
        for node_index, index in enumerate(found):
            room = fleet.rooms[index]
            fleet.take_whole(index)
            key = JobKey.node(entry.job_id, node_index)
            result.placements.append(
                Placement(entry, key.array_index, room.instance_id, room.compute_environment)
            )
        return 1
    return 0
