"""Writes what was decided of jobs, in few statements."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping

from longshore.domain.job.changes import Changes
from longshore.domain.job.job import WHOLE, JobKey, JobStatus
from longshore.domain.job.record import ChildCounts, NewChild, NewEntry
from longshore.state.pool import Connection
from longshore.state.scheduler import (
    array_job,
    attempt,
    consumable,
    image_start,
    job_event,
    job_transition,
    job_update,
    ready,
)
from longshore.state.scheduler.ready import Waiter


async def flush(conn: Connection, changes: Changes) -> list[ChildCounts]:
    """Writes everything but demand and what is still to be followed.

    Returns the counts of arrays that changed.
    """
    await attempt.remove(conn, changes.returned)
    await consumable.give_back(conn, changes.returned)
    await job_transition.take_attempt_back(conn, [live.key for live in changes.returned])
    changes.returned.clear()
    await attempt.move(conn, list(changes.attempt_moves.values()))
    changes.attempt_moves.clear()
    await image_start.add(conn, changes.image_starts, changes.now)
    changes.image_starts.clear()
    await attempt.stop(conn, changes.new_stops)
    changes.new_stops.clear()
    await _take_off(conn, changes)
    await job_transition.admit(
        conn, [(job_id, JobStatus.PENDING, left) for job_id, left in changes.admitted]
    )
    changes.admitted.clear()
    await array_job.insert(conn, changes.spawned, changes.now)
    changes.spawned.clear()
    await _insert_children(conn, changes)
    await job_transition.set_dependencies(conn, changes.left)
    changes.left.clear()
    # Requests are noted on unfinished jobs: before the moves that finish them.
    await job_transition.flag(conn, changes.flags)
    changes.flags.clear()
    await job_update.apply(conn, changes.altered)
    changes.altered.clear()
    await job_transition.reshape(conn, changes.reshaped)
    changes.reshaped.clear()
    await job_transition.move(conn, list(changes.moves.values()))
    changes.moves.clear()
    await job_event.insert(conn, changes.events)
    changes.is_told = changes.is_told or bool(changes.events)
    changes.events.clear()
    await ready.add(conn, changes.ready, changes.now)
    changes.ready.clear()
    arrays: dict[uuid.UUID, Mapping[JobStatus, int]] = dict(changes.arrays)
    changes.arrays.clear()
    return await array_job.change(conn, arrays, changes.now)


async def _take_off(conn: Connection, changes: Changes) -> None:
    """Takes jobs and children off the dispatch queue."""
    if whole := [key.job_id for key in changes.unready if key.array_index == WHOLE]:
        for shape_id, count in (await ready.remove_jobs(conn, whole)).items():
            changes.demand[shape_id] -= count
    for job_id in changes.held:
        for shape_id, count in (await ready.remove_new(conn, job_id)).items():
            changes.demand[shape_id] -= count
            changes.count(JobKey(job_id, 0), JobStatus.RUNNABLE, JobStatus.PENDING, count)
    changes.held.clear()
    taken: dict[Waiter, list[int]] = defaultdict(list)
    children = [key for key in changes.unready if key.is_child]
    for key, waiter in (await ready.containing(conn, children)).items():
        taken[waiter].append(key.array_index)
    changes.unready.clear()
    await ready.take(conn, [(w.job_queue, w.entry, w.entry.end_index) for w in taken])
    for waiter, indexes in taken.items():
        _keep_others(changes, waiter, indexes)


def _keep_others(changes: Changes, waiter: Waiter, taken: Iterable[int]) -> None:
    """Puts back what is left of an entry without some children; it waits since when it did."""
    entry = waiter.entry
    changes.demand[entry.shape_id] -= entry.end_index - entry.next_index
    first = entry.next_index
    for index in [*sorted(taken), entry.end_index]:
        if first < index:
            changes.make_ready(
                NewEntry(
                    waiter.job_queue,
                    entry.job_id,
                    entry.shape_id,
                    entry.seq,
                    first,
                    index,
                    entry.rank,
                    entry.ready_at,
                )
            )
        first = index + 1


async def _insert_children(conn: Connection, changes: Changes) -> None:
    alike: dict[tuple[JobStatus, str, bool, bool], list[NewChild]] = defaultdict(list)
    for child in changes.children:
        alike[child.status, child.reason, child.cancelled, child.terminated].append(child)
    for (status, reason, cancelled, terminated), children in alike.items():
        await job_transition.insert_children(
            conn,
            [child.key for child in children],
            status,
            reason,
            cancelled=cancelled,
            terminated=terminated,
            now=changes.now,
        )
    changes.children.clear()
