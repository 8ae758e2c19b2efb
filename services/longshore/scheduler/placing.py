"""Placement in three steps: the heads of the queues are read, a plan is made, the plan is applied.

The round is pure (`longshore.domain.placing.round`). Applying it is guarded by each job's status:
what is no longer RUNNABLE is dropped from the plan and gives back what it was to hold.
"""

import uuid
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from longshore.domain.catalogue import Catalogue
from longshore.domain.job.job import WHOLE, JobKey, JobStatus
from longshore.domain.job.record import LiveAttempt
from longshore.domain.job.tally import Moved, Span, Stage, span
from longshore.domain.placing import round as placing_round
from longshore.domain.placing import words
from longshore.domain.placing.room import Room, is_slot
from longshore.domain.placing.round import Ground
from longshore.domain.placing.shapes import Placement, Plan, QueueEntry, Waiting
from longshore.domain.placing.waiting import Wait, Why
from longshore.scheduler.apart import PART, apart, note, nothing
from longshore.scheduler.changes import flush
from longshore.scheduler.consuming import used_up
from longshore.scheduler.details import DetailsCache
from longshore.scheduler.heads import PLACEMENT, name_of, read_heads
from longshore.scheduler.isolating import Pass
from longshore.scheduler.log_stream import log_stream_name
from longshore.scheduler.memory import Memory
from longshore.state.pool import Connection
from longshore.state.scheduler import agent, attempt, consumable, demand, job_transition, ready
from longshore.state.scheduler.demand import Reason
from longshore.state.scheduler.job_transition import JobDetails

log = structlog.get_logger()


@dataclass(slots=True)
class Placed:
    """What a pass placed: attempts by instance, with the details of their jobs."""

    attempts: list[tuple[LiveAttempt, JobDetails]] = field(default_factory=list)
    #: True if a shape newly found no room.
    short: bool = False
    #: Slots that got their attempt.
    slots: list[str] = field(default_factory=list)
    #: Whether another pass is to try entries that this one did not.
    more: bool = False


async def place(
    this: Pass,
    details: DetailsCache,
    catalogue: Catalogue,
    seed: int,
    connected: Container[str],
) -> Placed:
    """Plans and applies one pass, on the instances whose agents are connected.

    An entry that fails by itself is set aside. Of one that stands for several children the halves
    are tried for themselves from the next pass on, until the child stands alone.
    """
    conn, memory = this.conn, this.memory
    memory.shares.settle(memory.topology, this.changes.now)
    ground = memory.ground(catalogue)
    trying = placing_round.begin(ground, memory.parking, this.changes.now, memory.take_freed())
    placed = Placed()
    if not trying:
        await _explain_again(conn, memory, ground, connected)
        placed.short = await _explain_caps(conn, memory, ground, connected)
        return placed
    # How much there is of what they need stays so until their placements are stored.
    if names := memory.waited_for(shape_id for shapes in trying.values() for shape_id in shapes):
        found = await this.part("stock", lambda: consumable.lock(conn, names), None)
        if found is None:
            trying = _without_units(memory, trying)
        else:
            memory.consuming.see(names, found)
    read = await this.part(
        "heads", lambda: read_heads(conn, memory, ground, trying, this.changes.now), None
    )
    if read is None:
        return placed
    heads, sharing = read
    unplaced: dict[int, Waiting] = {}
    reserved: set[int] = set()

    async def act(part: Sequence[QueueEntry]) -> None:
        chosen = {entry.job_id: set[int]() for entry in part}
        for entry in part:
            chosen[entry.job_id].add(entry.next_index)
        some = {
            queue: tuple(e for e in entries if e.next_index in chosen.get(e.job_id, ()))
            for queue, entries in heads.items()
        }
        rooms = memory.rooms(connected)
        proposal = placing_round.propose(
            ground, memory.parking, some, sharing, rooms, this.changes.now, seed
        )
        lives, jobs = await _apply(this, details, proposal)
        slots = _slots(memory, lives)
        await agent.set_status(conn, slots, "DRAINING")
        # The mirror follows once all went well.
        memory.parking.take_in(proposal, memory.runnable)
        memory.consuming.stock.use_up(used_up(lives))
        for live in lives:
            memory.hold(live)
        for instance_id in slots:
            memory.instances[instance_id].draining = True
        placed.attempts += [(live, jobs[live.key.job_id]) for live in lives if not live.held_back]
        placed.slots += slots
        unplaced.update(proposal.unplaced)
        reserved.update(proposal.reserved)

    entries = [entry for found in heads.values() for entry in found]
    tried = await apart(conn, entries, act, lambda _: this.save())
    await _set_aside(conn, memory, tried.failed)
    placed.more = bool(tried.left)
    if unplaced:
        rooms, new = memory.rooms(connected), list(unplaced)
        placed.short = await _explain(conn, memory, ground, rooms, new, unplaced, reserved)
    await _explain_again(conn, memory, ground, connected)
    placed.short |= await _explain_caps(conn, memory, ground, connected)
    return placed


async def _set_aside(
    conn: Connection, memory: Memory, failed: Iterable[tuple[QueueEntry, Exception]]
) -> None:
    """Sets entries aside that hold one job or child, and cuts the others in two."""

    async def cut(entries: Sequence[QueueEntry]) -> None:
        for entry in entries:
            await ready.cut(conn, memory.shapes[entry.shape_id].job_queue, entry)

    for entry, error in failed:
        if (
            entry.end_index - entry.next_index > 1
            and not (await apart(conn, [entry], cut, nothing)).failed
        ):
            log.warning("entry.cut", job_id=str(entry.job_id), exc_info=error)
            continue
        # No instance is held for it meanwhile.
        memory.parking.forget(entry.shape_id)
        child = JobKey(entry.job_id, entry.next_index)
        memory.aside.add(PLACEMENT, name_of(entry), error, job_id=str(child))


def may_place_more(memory: Memory, catalogue: Catalogue) -> bool:
    """Whether jobs wait that may find room, besides those that were set aside."""
    paused = memory.aside.paused(PART)
    if "heads" in paused:
        return False
    aside = Counter(shape_id for shape_id, _, _ in memory.aside.paused(PLACEMENT))
    trying = placing_round.hungry(memory.ground(catalogue), memory.parking)
    if "stock" in paused:
        trying = _without_units(memory, trying)
    return any(
        memory.runnable[shape_id] > aside[shape_id]
        for found in trying.values()
        for shape_id in found
    )


def _without_units(memory: Memory, trying: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Those of some shapes, by queue, that need nothing of consumable resources."""
    found = {
        queue: [shape_id for shape_id in shape_ids if not memory.shapes[shape_id].units]
        for queue, shape_ids in trying.items()
    }
    return {queue: shape_ids for queue, shape_ids in found.items() if shape_ids}


async def _apply(
    this: Pass, details: DetailsCache, proposal: Plan
) -> tuple[list[LiveAttempt], dict[uuid.UUID, JobDetails]]:
    """Stores what still holds of a plan; returns the attempts, and the details of their jobs."""
    if not proposal.placements:
        return [], {}
    conn, changes, memory = this.conn, this.changes, this.memory
    taken: dict[int, tuple[str, QueueEntry, int]] = {}
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
        changes.event(job, number, JobStatus.STARTING, None)
    for moved in _started(proposal, numbers, known, memory, changes.now):
        changes.tally.count(moved)
    lives = [
        _attempt(p, number, known[p.entry.job_id], memory, changes.now)
        for p in proposal.placements
        if (number := numbers.get(p.key.job, 0))
    ]
    for live in lives:
        if live.key.is_node:
            changes.event(live.key, live.attempt, JobStatus.STARTING, None)
    await attempt.insert(conn, lives, changes.now)
    await consumable.use_up(conn, used_up(lives))
    await flush(conn, changes)
    return lives, known


def _started(
    proposal: Plan,
    numbers: Mapping[JobKey, int],
    known: Mapping[uuid.UUID, JobDetails],
    memory: Memory,
    now: datetime,
) -> list[Moved]:
    """As what placed jobs count: children of one entry have waited for the same time."""
    alike: dict[tuple[int, bool], tuple[QueueEntry, int]] = {}
    for p in proposal.placements:
        number = numbers.get(p.key.job, 0)
        # The nodes of a job are one.
        if number and not (p.key.is_node and p.key.node_index):
            key = (id(p.entry), number == 1)
            alike[key] = p.entry, alike.get(key, (p.entry, 0))[1] + 1
    moved = []
    for (_, is_first), (entry, count) in alike.items():
        spans: tuple[Span, ...] = (span(Stage.RUNNABLE_TO_STARTING, entry.ready_at, now),)
        if is_first:
            created_at = known[entry.job_id].created_at
            spans = (*spans, span(Stage.SUBMITTED_TO_FIRST_STARTING, created_at, now))
        queue = memory.shapes[entry.shape_id].job_queue
        moved.append(Moved(queue, JobStatus.STARTING, count, spans))
    return moved


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
        log_stream_name=log_stream_name(job, key, attempt_id),
        placed_at=now,
        seq=placement.entry.seq,
        job_queue=shape.job_queue,
        shape_id=shape.shape_id,
        attempts_max=job.attempts_max,
        timeout_seconds=job.timeout_seconds,
        array_size=job.array_size,
        num_nodes=job.num_nodes,
        main_node=job.main_node,
        held_back=key.is_node and key.node_index != job.main_node,
        share=shape.share,
        units=shape.units,
    )


def _slots(memory: Memory, lives: Iterable[LiveAttempt]) -> list[str]:
    """The slots that got their attempt: they drain, so that none is used again."""
    return [
        live.instance_id
        for live in lives
        if is_slot(memory.instances[live.instance_id].instance_type)
    ]


async def _explain_again(
    conn: Connection, memory: Memory, ground: Ground, connected: Container[str]
) -> None:
    """Tells the reasons of waiting shapes anew once the supply of instances has changed."""
    if memory.reasons_stale:
        memory.reasons_stale = False
        queues = memory.topology.queues
        waiting = [s for s in memory.parking.parked if memory.shapes[s].job_queue in queues]
        unknown = {shape_id for shape_id in waiting if shape_id not in memory.told}
        await _explain(conn, memory, ground, memory.rooms(connected), waiting, unknown)


async def _explain_caps(
    conn: Connection, memory: Memory, ground: Ground, connected: Container[str]
) -> bool:
    """Says of shapes that a cap holds back which one does.

    What it held back and found no room before waits for room again; True if that is news.
    """
    news: dict[int, Reason] = {}
    capped = placing_round.capped(ground, memory.parking)
    for shape_id, by in capped.items():
        reason = Reason(None, words.capped(by), Why.CAPPED)
        if memory.reasons.get(shape_id) != reason:
            news[shape_id] = reason

    async def act(part: Sequence[int]) -> None:
        await demand.say(conn, {shape_id: news[shape_id] for shape_id in part})
        for shape_id in part:
            memory.reasons[shape_id] = news[shape_id]

    for shape_id, error in (await apart(conn, list(news), act, nothing)).failed:
        note("reason", error, shape_id=shape_id)
    again = [
        shape_id
        for shape_id in memory.parking.parked
        if shape_id not in capped
        and shape_id in memory.reasons
        and memory.reasons[shape_id].why is Why.CAPPED
        and memory.shapes[shape_id].job_queue in memory.topology.queues
    ]
    if not again:
        return False
    rooms, reserved = memory.rooms(connected), memory.parking.reserved
    return await _explain(conn, memory, ground, rooms, again, again, reserved)


async def _explain(
    conn: Connection,
    memory: Memory,
    ground: Ground,
    rooms: tuple[Room, ...],
    shape_ids: Sequence[int],
    unknown: Container[int],
    reserved: Container[int] = (),
) -> bool:
    """Says why shapes found no room; True if that is news.

    At what instances lack for those of them that are `unknown` it looks anew.
    """
    news: dict[int, Reason] = {}

    async def act(part: Sequence[int]) -> None:
        anew = [shape_id for shape_id in part if shape_id in unknown]
        starved = memory.parking.starved
        memory.told |= placing_round.look(ground, anew, rooms, reserved, starved)
        found: dict[int, Reason] = {}
        alike: dict[Wait, Reason] = {}
        for shape_id, wait in placing_round.waits(ground, part, memory.told).items():
            if wait not in alike:
                alike[wait] = _reason(wait)
            if memory.reasons.get(shape_id) != alike[wait]:
                found[shape_id] = alike[wait]
        await demand.say(conn, found)
        news.update(found)

    tried = await apart(conn, shape_ids, act, nothing)
    for shape_id, error in tried.failed:
        # It is tried again when the shape is, or when there is something else to say.
        note("reason", error, shape_id=shape_id)
    memory.reasons_stale |= bool(tried.left)
    memory.reasons.update(news)
    return bool(news)


def _reason(wait: Wait) -> Reason:
    """Why shapes wait, as it is said."""
    said = words.blocked(wait.block) if wait.block is not None else None
    return Reason(said, words.waits(wait), wait.why)
