"""Placement in three steps: the heads of the queues are read, a plan is made, the plan is applied.

The plan is pure (`longshore.domain.placing`). Applying it is guarded by each job's status: what
is no longer RUNNABLE is dropped from the plan and gives back what it was to hold.
"""

import uuid
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from longshore.domain.catalogue import Catalogue
from longshore.domain.job.job import WHOLE, JobStatus
from longshore.domain.placing.lacking import NO_NODES, explain, lacks
from longshore.domain.placing.opening import Room, is_slot
from longshore.domain.placing.plan import plan
from longshore.domain.placing.shapes import Entry, Placement, Plan, Shape, Snapshot
from longshore.domain.placing.waiting import (
    EnvironmentFacts,
    blocked_reason,
    explain_shortages,
    shortages_of,
)
from longshore.scheduler.changes import Changes
from longshore.scheduler.details import DetailsCache
from longshore.scheduler.memory import Memory
from longshore.state.pool import Connection
from longshore.state.scheduler import agent, attempt, demand, job_transition, ready
from longshore.state.scheduler.attempt import LiveAttempt
from longshore.state.scheduler.demand import Reason
from longshore.state.scheduler.job_transition import JobDetails

#: Entries read of one queue for one plan.
HEADS_LIMIT = 500


@dataclass(slots=True)
class Placed:
    """What a pass placed: attempts by instance, with the details of their jobs."""

    attempts: list[tuple[LiveAttempt, JobDetails]] = field(default_factory=list)
    #: True if a shape newly found no room.
    short: bool = False
    #: Slots that got their attempt.
    slots: list[str] = field(default_factory=list)


async def place(
    conn: Connection,
    changes: Changes,
    memory: Memory,
    details: DetailsCache,
    catalogue: Catalogue,
    seed: int,
    connected: Container[str],
) -> Placed:
    """Plans and applies one pass, on the instances whose agents are connected."""
    memory.unpark_freed()
    memory.parking.unpark_after_holds(memory.runnable)
    hungry = memory.hungry()
    if not hungry:
        await _explain_again(conn, memory, catalogue, connected)
        return Placed()
    heads = {
        queue: await ready.heads(conn, shapes, HEADS_LIMIT) for queue, shapes in hungry.items()
    }
    snapshot = Snapshot(
        queues=memory.queues(),
        shapes=memory.shapes,
        rooms=memory.rooms(connected),
        heads=heads,
        parked=memory.parking.waiting(memory.runnable),
        node_environments=memory.node_environments(),
        hopeless=_hopeless(memory, catalogue, [s for ids in hungry.values() for s in ids]),
    )
    proposal = plan(snapshot, changes.now, seed)
    memory.parking.take_in(proposal, memory.runnable)
    placed = Placed()
    if proposal.placements:
        placed.attempts = await _apply(conn, changes, memory, details, proposal)
        placed.slots = await _use_slots(conn, memory, placed.attempts)
    if proposal.unplaced:
        _look(memory, proposal.unplaced, memory.rooms(connected))
        placed.short = await _say(conn, memory, catalogue, proposal.unplaced)
    await _explain_again(conn, memory, catalogue, connected)
    return placed


def _hopeless(memory: Memory, catalogue: Catalogue, hungry: Iterable[int]) -> frozenset[int]:
    """Shapes of multi-node jobs for which gathering instances is of no use now."""
    nodes = (memory.shapes[s] for s in {*hungry, *memory.parking.parked} if memory.shapes[s].nodes)
    return frozenset(
        shape.shape_id
        for shape in nodes
        if shape.job_queue in memory.topology.queues
        and blocked_reason(shape, _environments(memory, shape), catalogue, memory.supply)
    )


async def _apply(
    conn: Connection, changes: Changes, memory: Memory, details: DetailsCache, proposal: Plan
) -> list[tuple[LiveAttempt, JobDetails]]:
    """Stores what still holds of a plan; returns what agents are to be told of."""
    taken: dict[int, tuple[str, Entry, int]] = {}
    for p in proposal.placements:
        key = p.key
        end = p.entry.end_index if key.is_node else p.array_index + 1
        # The nodes of a job are one of what waits.
        if not key.is_node or key.node_index == 0:
            changes.demand[p.entry.shape_id] -= 1
        taken[id(p.entry)] = (memory.shapes[p.entry.shape_id].job_queue, p.entry, end)
    await ready.take(conn, list(taken.values()))
    jobs = {p.key.job for p in proposal.placements}
    numbers = await job_transition.start(conn, sorted(k for k in jobs if k.array_index == WHOLE))
    numbers |= await job_transition.start_children(conn, sorted(k for k in jobs if k.is_child))
    known = await details.get(conn, {p.entry.job_id for p in proposal.placements})
    for job, number in sorted(numbers.items()):
        changes.count(job, JobStatus.RUNNABLE, JobStatus.STARTING)
        changes.event(job, number, JobStatus.STARTING)
    lives = []
    for p in proposal.placements:
        number = numbers.get(p.key.job, 0)
        if number:
            live = _attempt(p, number, known[p.entry.job_id], memory, changes.now)
            memory.hold(live)
            lives.append((live, known[p.entry.job_id]))
    await attempt.insert(conn, [live for live, _ in lives], changes.now)
    return [(live, job) for live, job in lives if not live.held_back]


def _attempt(
    placement: Placement, number: int, job: JobDetails, memory: Memory, now: datetime
) -> LiveAttempt:
    attempt_id = uuid.uuid4().hex
    key, shape = placement.key, memory.shapes[placement.entry.shape_id]
    return LiveAttempt(
        key=key,
        attempt=number,
        attempt_id=attempt_id,
        instance_id=placement.instance_id,
        compute_environment=placement.compute_environment,
        # A node has its instance to itself.
        held=memory.instances[placement.instance_id].total if key.is_node else shape.need,
        log_stream_name=f"{job.definition_name}/default/{attempt_id}",
        placed_at=now,
        seq=placement.entry.seq,
        job_queue=job.job_queue,
        shape_id=shape.shape_id,
        attempts_max=job.attempts_max,
        timeout_seconds=job.timeout_seconds,
        array_size=job.array_size,
        num_nodes=job.num_nodes,
        main_node=job.main_node,
        held_back=key.is_node and key.node_index != job.main_node,
    )


async def _use_slots(
    conn: Connection, memory: Memory, attempts: Iterable[tuple[LiveAttempt, JobDetails]]
) -> list[str]:
    """Drains the slots that got their attempt, in the same transaction: none is used again."""
    used = []
    for live, _ in attempts:
        instance = memory.instances.get(live.instance_id)
        if instance is not None and is_slot(instance.instance_type):
            instance.draining = True
            used.append(live.instance_id)
    await agent.set_status(conn, used, "DRAINING")
    return used


async def _explain_again(
    conn: Connection, memory: Memory, catalogue: Catalogue, connected: Container[str]
) -> None:
    """Tells the reasons of waiting shapes anew once the supply of instances has changed."""
    if memory.reasons_stale:
        memory.reasons_stale = False
        queues = memory.topology.queues
        waiting = [s for s in memory.parking.parked if memory.shapes[s].job_queue in queues]
        unknown = [s for s in waiting if s not in memory.told]
        _look(memory, unknown, memory.rooms(connected))
        await _say(conn, memory, catalogue, waiting)


def _look(memory: Memory, shape_ids: Iterable[int], rooms: tuple[Room, ...]) -> None:
    """Notes what instances lack for shapes."""
    queues = {queue.name: queue for queue in memory.queues()}
    takers = memory.node_environments()
    for shape_id in shape_ids:
        shape = memory.shapes[shape_id]
        if shape.nodes and not any(e.takes_nodes for e in _environments(memory, shape)):
            memory.told[shape_id] = NO_NODES
            continue
        names = queues[shape.job_queue].compute_environments
        if shape.nodes:
            names = tuple(name for name in names if name in takers)
        counts = lacks(shape, names, rooms)
        memory.told[shape_id] = explain(counts, shape.nodes, shape.instance_type)


def _environments(memory: Memory, shape: Shape) -> list[EnvironmentFacts]:
    """The environments of a shape's queue, in order."""
    names = memory.topology.queues[shape.job_queue].compute_environments
    return [memory.topology.environments[name] for name in names]


async def _say(
    conn: Connection, memory: Memory, catalogue: Catalogue, shape_ids: Iterable[int]
) -> bool:
    """Says why shapes found no room; True if that is news."""
    news: dict[int, Reason] = {}
    for shape_id in shape_ids:
        shape = memory.shapes[shape_id]
        environments = _environments(memory, shape)
        text = memory.told[shape_id]
        if shortages := shortages_of(shape, environments, catalogue, memory.supply):
            text = f"{text} {explain_shortages(shortages)}"
        reason = Reason(blocked_reason(shape, environments, catalogue, memory.supply), text)
        if memory.reasons.get(shape_id) != reason:
            news[shape_id] = reason
    memory.reasons.update(news)
    await demand.say(conn, news)
    return bool(news)
