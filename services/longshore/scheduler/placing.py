"""Placement in three steps: the heads of the queues are read, a plan is made, the plan is applied.

The plan is pure (`longshore.domain.placement`). Applying it is guarded by each job's status: what
is no longer RUNNABLE is dropped from the plan and gives back what it was to hold.
"""

import uuid
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from longshore.domain.catalogue import Catalogue
from longshore.domain.job import WHOLE, JobKey, JobStatus
from longshore.domain.opening import Room
from longshore.domain.placement import Placement, Plan, Shape, Snapshot, explain, lacks, plan
from longshore.domain.waiting import blocked_reason, explain_shortages, shortages_of
from longshore.scheduler.changes import Changes
from longshore.scheduler.ending import DetailsCache
from longshore.scheduler.memory import Memory
from longshore.state import agent, attempt, demand, job_transition, ready
from longshore.state.attempt import LiveAttempt
from longshore.state.demand import Reason
from longshore.state.job_transition import JobDetails
from longshore.state.pool import Connection

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
    memory.unpark_after_holds()
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
        parked=memory.waiting(),
    )
    proposal = plan(snapshot, changes.now, seed)
    memory.held = proposal.held
    placed = Placed()
    if proposal.placements:
        placed.attempts = await _apply(conn, changes, memory, details, proposal)
        placed.slots = await _use_slots(conn, memory, placed.attempts)
    memory.parked.update(proposal.unplaced)
    if proposal.unplaced:
        _look(memory, proposal.unplaced, memory.rooms(connected))
        placed.short = await _say(conn, memory, catalogue, proposal.unplaced)
    await _explain_again(conn, memory, catalogue, connected)
    return placed


async def _apply(
    conn: Connection, changes: Changes, memory: Memory, details: DetailsCache, proposal: Plan
) -> list[tuple[LiveAttempt, JobDetails]]:
    taken: dict[int, tuple[str, Placement]] = {}
    for p in proposal.placements:
        taken[id(p.entry)] = (memory.shapes[p.entry.shape_id].job_queue, p)
        changes.demand[p.entry.shape_id] -= 1
    await ready.take(
        conn, [(queue, last.entry, last.array_index + 1) for queue, last in taken.values()]
    )
    numbers = await job_transition.start(
        conn, [_key(p) for p in proposal.placements if p.array_index == WHOLE]
    )
    numbers |= await job_transition.start_children(
        conn, [_key(p) for p in proposal.placements if p.array_index != WHOLE]
    )
    known = await details.get(conn, {p.entry.job_id for p in proposal.placements})
    lives = []
    for p in proposal.placements:
        number = numbers.get(_key(p))
        if number is None:
            continue
        live = _attempt(p, number, known[p.entry.job_id], memory.shapes[p.entry.shape_id])
        lives.append((live, known[p.entry.job_id]))
        memory.hold(live)
        changes.count(live.key, JobStatus.RUNNABLE, JobStatus.STARTING)
        changes.event(live.key, number, JobStatus.STARTING)
    await attempt.insert(conn, [live for live, _ in lives], changes.now)
    return lives


def _key(placement: Placement) -> JobKey:
    return JobKey(placement.entry.job_id, placement.array_index)


def _attempt(placement: Placement, number: int, job: JobDetails, shape: Shape) -> LiveAttempt:
    attempt_id = uuid.uuid4().hex
    return LiveAttempt(
        key=_key(placement),
        attempt=number,
        attempt_id=attempt_id,
        instance_id=placement.instance_id,
        compute_environment=placement.compute_environment,
        held=shape.need,
        log_stream_name=f"{job.definition_name}/default/{attempt_id}",
        seq=placement.entry.seq,
        job_queue=job.job_queue,
        shape_id=shape.shape_id,
        attempts_max=job.attempts_max,
        timeout_seconds=job.timeout_seconds,
        array_size=job.array_size,
    )


async def _use_slots(
    conn: Connection, memory: Memory, attempts: Iterable[tuple[LiveAttempt, JobDetails]]
) -> list[str]:
    """Drains the slots that got their attempt, in the same transaction: none is used again."""
    used = []
    for live, _ in attempts:
        instance = memory.instances.get(live.instance_id)
        if instance is not None and instance.slot:
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
        waiting = [s for s in memory.parked if memory.shapes[s].job_queue in queues]
        unknown = [s for s in waiting if s not in memory.told]
        _look(memory, unknown, memory.rooms(connected))
        await _say(conn, memory, catalogue, waiting)


def _look(memory: Memory, shape_ids: Iterable[int], rooms: tuple[Room, ...]) -> None:
    """Notes what instances lack for shapes."""
    queues = {queue.name: queue for queue in memory.queues()}
    for shape_id in shape_ids:
        shape = memory.shapes[shape_id]
        counts = lacks(shape, queues[shape.job_queue].compute_environments, rooms)
        memory.told[shape_id] = explain(counts)


async def _say(
    conn: Connection, memory: Memory, catalogue: Catalogue, shape_ids: Iterable[int]
) -> bool:
    """Says why shapes found no room; True if that is news."""
    news: dict[int, Reason] = {}
    for shape_id in shape_ids:
        shape = memory.shapes[shape_id]
        environments = [
            memory.topology.environments[e]
            for e in memory.topology.queues[shape.job_queue].compute_environments
        ]
        text = memory.told[shape_id]
        if shortages := shortages_of(shape, environments, catalogue, memory.supply):
            text = f"{text} {explain_shortages(shortages)}"
        reason = Reason(blocked_reason(shape, environments, catalogue, memory.supply), text)
        if memory.reasons.get(shape_id) != reason:
            news[shape_id] = reason
    memory.reasons.update(news)
    await demand.say(conn, news)
    return bool(news)
