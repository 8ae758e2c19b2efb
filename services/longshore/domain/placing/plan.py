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

How the code differs: jobs of one shape are alike, so a shape that was found not to fit is not tried
again in the same pass, and entries stand for ranges of array children. The cost is in shapes,
entries and instances, never in the length of the backlog.
"""

import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from longshore.domain.job.job import JobKey
from longshore.domain.placing.capping import Alike, OpenCaps
from longshore.domain.placing.holding import HoldsInTurn, hold, hold_again, takers_of_nodes
from longshore.domain.placing.opening import OpenRooms, Room
from longshore.domain.placing.shapes import Entry, Placement, Plan, Shape, Snapshot, Waiting
from longshore.domain.placing.sharing import Line

#: Most placements of one plan: bounds the transaction that applies it.
PLAN_LIMIT = 1_000
HOLD_AFTER = timedelta(seconds=60)


def plan(
    snapshot: Snapshot,
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
    result = Plan()
    caps, alike = OpenCaps(snapshot), Alike()
    long_since = now - hold_after
    for turn in _turns(snapshot, by_environment, seed):
        waiting = _wait(snapshot, turn, alike, long_since)
        for queue_name, environments in turn.items():
            if queue_name in snapshot.sharing:
                _share(result, queue_name, snapshot, turn, caps, limit, long_since)
                continue
            for entry in snapshot.heads.get(queue_name, ()):
                while waiting and (waiting[0].rank, waiting[0].seq) < (entry.rank, entry.seq):
                    hold(snapshot, turn, waiting.popleft(), long_since)
                _fill(result, entry, snapshot, environments, caps, alike, limit, long_since)
        for left in waiting:
            hold(snapshot, turn, left, long_since)
    result.held = {held for fleet in by_environment.values() for held in fleet.held()}
    return result


def _turns(
    snapshot: Snapshot, by_environment: Mapping[str, OpenRooms], seed: int
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


def _wait(
    snapshot: Snapshot,
    turn: Mapping[str, list[OpenRooms]],
    alike: Alike,
    long_since: datetime,
) -> deque[Waiting]:
    """What did not fit before, of queues of one priority.

    For single jobs that wait since `long_since` or longer instances are held before the queues take
    anything. Multi-node jobs are returned, in dispatch order: what comes before them there goes
    first, as it does in scaling. Else each would be left what the other is to have.

    Of queues with a policy instances are held again for what they were held for before.
    """
    waiting = []
    for one in snapshot.parked:
        queue = snapshot.shapes[one.shape_id].job_queue
        if queue in turn and queue not in snapshot.sharing:
            waiting.append(one)
    for queue in turn.keys() & snapshot.sharing.keys():
        hold_again(snapshot, queue, turn, long_since)
    for late in sorted(waiting, key=lambda w: w.ready_at):
        shape = snapshot.shapes[late.shape_id]
        if late.ready_at <= long_since and not shape.nodes and alike.may_hold(shape):
            hold(snapshot, turn, late, long_since)
    nodes = (w for w in waiting if snapshot.shapes[w.shape_id].nodes)
    return deque(sorted(nodes, key=lambda w: (w.rank, w.seq, w.ready_at)))


def _fill(
    result: Plan,
    entry: Entry,
    snapshot: Snapshot,
    environments: list[OpenRooms],
    caps: OpenCaps,
    alike: Alike,
    limit: int,
    long_since: datetime,
) -> None:
    """Places what fits of an entry, and notes what is left: as more to do, or as unplaced.

    What a cap holds back is neither: it is tried again when the cap leaves something.
    """
    shape = snapshot.shapes[entry.shape_id]
    if result.partial or shape.shape_id in result.unplaced:
        return
    if len(result.placements) >= limit:
        result.partial = True
        return
    waiting = Waiting(shape.shape_id, entry.ready_at, entry.rank, entry.seq)
    if alike.is_vain(shape):
        result.unplaced[shape.shape_id] = waiting
        return
    most = min(entry.end_index - entry.next_index, caps.left(shape, environments))
    if most <= 0:
        return
    # A multi-node job goes into one plan whole, also where that takes the plan past its limit.
    if shape.nodes:
        done = _place_nodes(entry, shape, takers_of_nodes(snapshot, environments), result)
    else:
        part = entry.next_index, entry.next_index + most
        done = _place(entry, part, shape, environments, result, limit)
    caps.take(shape, done)
    if done == most:
        return
    if not shape.nodes and len(result.placements) >= limit:
        result.partial = True
        return
    result.unplaced[shape.shape_id] = waiting
    alike.fail(shape)
    if alike.may_hold(shape):
        hold(snapshot, {shape.job_queue: environments}, waiting, long_since)


def _share(
    result: Plan,
    queue: str,
    snapshot: Snapshot,
    turn: Mapping[str, list[OpenRooms]],
    caps: OpenCaps,
    limit: int,
    long_since: datetime,
) -> None:
    """Places jobs of a queue with a policy, share by share as their turns come."""
    if result.partial:
        return
    line, holds = Line(snapshot, queue), HoldsInTurn(snapshot, queue, turn)
    while line and not result.partial:
        entry = line.item
        if isinstance(entry, Waiting):
            holds.hold(entry, long_since)
            line.skip()
        elif len(result.placements) >= limit:
            result.partial = True
        elif most := _most(line, entry, snapshot, caps, turn[queue]):
            done = 0
            if not (is_vain := line.is_vain(entry)):
                holds.pass_on(snapshot.shapes[entry.shape_id])
            if entry.shape_id in holds.shapes or not is_vain:
                done = _place_part(result, entry, (line.index, most), snapshot, turn[queue], limit)
                line.take(entry, done)
                caps.take(snapshot.shapes[entry.shape_id], done)
            if done < most and len(result.placements) < limit:
                holds.hold(line.fail(entry), long_since)
    if not result.partial:
        _rule_out(line, turn[queue])
    result.partial |= line.close()
    result.unplaced |= line.unplaced
    result.reserved |= line.reserved


def _most(
    line: Line,
    entry: Entry,
    snapshot: Snapshot,
    caps: OpenCaps,
    environments: list[OpenRooms],
) -> int:
    """How many jobs of the entry that is next may be placed; 0 if it is passed over."""
    shape = snapshot.shapes[entry.shape_id]
    if caps.is_full(shape.job_queue):
        line.stop()
        return 0
    left = caps.left(shape, environments)
    if not left:
        line.pass_over(entry)
        return 0
    most = min(line.most(entry), left)
    if not most:
        line.fail(entry, is_reserved=True)
    return most


def _rule_out(line: Line, environments: list[OpenRooms]) -> None:
    """Says for what was not looked at that it would find no room, where that is so.

    Else it would take another plan to find out.
    """
    for kind in line.kinds_left:
        need, _, _ = kind
        if not any(fleet.has_room(need) for fleet in environments):
            line.rule_out(kind)


def _place_part(
    result: Plan,
    entry: Entry,
    part: tuple[int, int],
    snapshot: Snapshot,
    environments: list[OpenRooms],
    limit: int,
) -> int:
    """Places what fits of so many jobs of an entry from an index on; returns how many."""
    shape, (first, count) = snapshot.shapes[entry.shape_id], part
    if shape.nodes:
        return _place_nodes(entry, shape, takers_of_nodes(snapshot, environments), result)
    return _place(entry, (first, first + count), shape, environments, result, limit)


def _place(
    entry: Entry,
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


def _place_nodes(entry: Entry, shape: Shape, environments: list[OpenRooms], result: Plan) -> int:
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
