"""Agents that come back after their instance was given up as lost, with what they still know of.

Whether an attempt is live again is `longshore.domain.job.returning`'s to decide; the agent is told
to stop what it has of the others.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from longshore.domain.consumable import OpenStock
from longshore.domain.job.changes import Changes
from longshore.domain.job.happening import Returned
from longshore.domain.job.life import advance
from longshore.domain.job.record import AttemptRef, LiveAttempt
from longshore.domain.job.snapshot import JobsSnapshot
from longshore.scheduler.apart import apart, note
from longshore.scheduler.changes import flush
from longshore.scheduler.memory import Memory
from longshore.state.pool import Connection
from longshore.state.scheduler import attempt, consumable, demand, job_transition

log = structlog.get_logger()


async def take_back(
    conn: Connection,
    changes: Changes,
    memory: Memory,
    instance_id: str,
    known: Sequence[AttemptRef],
) -> list[LiveAttempt]:
    """Takes up again, in the tables, what an agent knows of and nobody has started again.

    What the database refuses goes on from where it is, and its agent is told to stop it.
    """
    unknown = [ref for ref in known if ref not in memory.live]
    lives: list[LiveAttempt] = []

    async def act(part: Sequence[AttemptRef]) -> None:
        ended = await attempt.ended_on(conn, instance_id, part)
        rows = await job_transition.load(conn, {live.key for live, _ in ended})
        can_hold = await _can_hold(conn, memory, [*lives, *(live for live, _ in ended)])
        returned = [
            Returned(live, is_lost and (live.key, live.attempt) in can_hold)
            for live, is_lost in ended
        ]
        decided = advance(JobsSnapshot(rows=rows), returned, changes.now)
        await attempt.take_back(conn, [(live.key, live.attempt) for live in decided.revived])
        await memory.learn_shapes(conn, {live.shape_id for live in decided.revived})
        changes.add(decided)
        await flush(conn, changes)
        await demand.change(conn, changes.settle_demand())
        await memory.consuming.keep_with(conn, [*lives, *decided.revived])
        lives.extend(decided.revived)

    def save(_: Sequence[AttemptRef]) -> Callable[[], None]:
        return partial(changes.restore, changes.save())

    tried = await apart(conn, unknown, act, save)
    for (key, number), error in tried.failed:
        note("return", error, job_id=str(key), attempt=number, instance_id=instance_id)
    if not lives:
        return []
    log.info("attempts.taken_back", instance_id=instance_id, attempts=len(lives))
    return lives


async def _can_hold(
    conn: Connection, memory: Memory, lives: Sequence[LiveAttempt]
) -> set[AttemptRef]:
    """The attempts for which there are the units of consumable resources that they held.

    Those that were used up when they were placed are theirs still; of one that is gone nobody else
    can have any.
    """
    consuming = memory.consuming
    names = {name for live in lives for name, _ in live.units}
    if names:
        consuming.see(names, await consumable.lock(conn, names))
    left = OpenStock(consuming.stock)
    known = consuming.stock.resources
    found = set()
    for live in lives:
        units = tuple((n, q) for n, q in live.units if n in known and known[n].is_replenishable)
        if left.most(live.shape_id, units) != 0:
            left.take(live.shape_id, units, 1)
            found.add((live.key, live.attempt))
    return found


def hold_again(memory: Memory, lives: Sequence[LiveAttempt]) -> None:
    """The same in the mirror, once that is stored and the instance is there again."""
    for live in lives:
        memory.hold(live)
        memory.watch_deadline(live)
        # The shape's first job is another one now.
        memory.parking.parked.pop(live.shape_id, None)
    memory.count_demand({s: -n for s, n in Counter(live.shape_id for live in lives).items()})
