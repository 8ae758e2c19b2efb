"""Agents that come back after their instance was given up as lost.

What was lost with it ended, as far as anyone could know. A job that is final stays so, and one that
was started again goes on where it is: the agent is told to stop what it has of those. But where the
job still waits for its next attempt, the last one was not over: it is live again, on the instance
that it never left, and how it ends, or has ended, decides.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from longshore.domain.job.job import JobKey, JobStatus
from longshore.scheduler.apart import apart, note
from longshore.scheduler.changes import Changes
from longshore.scheduler.memory import AttemptRef, Memory
from longshore.state.pool import Connection
from longshore.state.scheduler import attempt
from longshore.state.scheduler.attempt import LiveAttempt
from longshore.state.scheduler.job_transition import JobMove

log = structlog.get_logger()


async def take_back(
    conn: Connection,
    changes: Changes,
    memory: Memory,
    instance_id: str,
    known: Sequence[tuple[JobKey, int]],
) -> list[LiveAttempt]:
    """Takes up again, in the tables, what an agent knows of and nobody has started again.

    Nodes of multi-node jobs are not: the others of their try have ended. Nor is what the database
    refuses: it goes on from where it is, and its agent is told to stop it.
    """
    lost = [
        (key, number)
        for key, number in known
        if not key.is_node and (key, number) not in memory.live
    ]
    lives: list[LiveAttempt] = []

    async def act(part: Sequence[AttemptRef]) -> None:
        found = await attempt.take_back(conn, instance_id, part)
        await memory.learn_shapes(conn, {live.shape_id for live in found})
        for live in found:
            changes.count(live.key, JobStatus.RUNNABLE, _status(live))
            move = JobMove(live.key, _status(live), started_at=live.started_at)
            changes.move(move, live.attempt)
            changes.demand[live.shape_id] -= 1
        await changes.flush(conn)
        lives.extend(found)

    def save(_: Sequence[AttemptRef]) -> Callable[[], None]:
        return partial(changes.restore, changes.save())

    tried = await apart(conn, lost, act, save)
    for (key, number), error in tried.failed:
        note("return", error, job_id=str(key), attempt=number, instance_id=instance_id)
    if not lives:
        return []
    log.info("attempts.taken_back", instance_id=instance_id, attempts=len(lives))
    changes.settle_demand()
    await changes.close(conn)
    return lives


def hold_again(memory: Memory, lives: Sequence[LiveAttempt]) -> None:
    """The same in the mirror, once that is stored and the instance is there again."""
    for live in lives:
        memory.hold(live)
        memory.watch_deadline(live)
        # The shape's first job is another one now.
        memory.parking.parked.pop(live.shape_id, None)
    memory.count_demand({s: -n for s, n in Counter(live.shape_id for live in lives).items()})


def _status(live: LiveAttempt) -> JobStatus:
    return JobStatus.RUNNING if live.running else JobStatus.STARTING
