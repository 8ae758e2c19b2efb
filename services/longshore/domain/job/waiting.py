"""Jobs and children that wait: when they fail, and when they may run.

A job that waits for others may run once all of them have ended as it asks, with success as a rule,
and fails with the first that has ended otherwise; the children of an array wait likewise. What was
cancelled meanwhile fails when its turn comes.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable

from longshore.domain.job.arrays import ranges
from longshore.domain.job.changes import Changes
from longshore.domain.job.dependency import Child, decide, final_status, outlook, waits_for
from longshore.domain.job.happening import Ended, Spawned
from longshore.domain.job.job import (
    ARRAY_CHILD_FAILED,
    DEPENDENCY_FAILED,
    QUEUE_DELETED,
    TOO_MANY_TAGS,
    WHOLE,
    JobKey,
    JobStatus,
)
from longshore.domain.job.record import ChildCounts, JobFacts, JobMove, NewArray, NewChild, NewEntry
from longshore.domain.job.snapshot import JobsSnapshot
from longshore.domain.job.tally import Moved, Stage, StoppedBy, span, stopped_by


def admit(jobs: JobsSnapshot, changes: Changes, row: JobFacts) -> None:
    """A job's first step: it waits, may run, or fails."""
    look = outlook(jobs.edges.get(row.key.job_id, ()))
    if row.status is not JobStatus.SUBMITTED:
        return
    if row.job_queue not in jobs.queues:
        _fail(changes, row, QUEUE_DELETED)
    elif look.unmet is not None:
        _fail(changes, row, look.unmet)
    elif row.key.job_id in jobs.tagged:
        _fail(changes, row, TOO_MANY_TAGS)
    else:
        if look.left or row.array_size is not None:
            changes.admitted.append((row.key.job_id, look.left))
            # Of an array that waits for nothing, its children wait for each other, or not at all.
            waits = Moved(row.job_queue, JobStatus.PENDING, row.array_size or 1)
            changes.event(row.key, 0, JobStatus.PENDING, waits if look.left else None)
        if not look.left:
            _make_ready(jobs, changes, row)


def look_at(jobs: JobsSnapshot, changes: Changes, row: JobFacts) -> None:
    """A waiting job whose dependencies have moved."""
    if row.status is not JobStatus.PENDING or row.key.job_id in jobs.spawned:
        return
    look = outlook(jobs.edges.get(row.key.job_id, ()))
    if look.unmet is not None:
        _give_up(changes, row, look.unmet)
        return
    changes.left.append((row.key.job_id, look.left))
    if not look.left:
        _make_ready(jobs, changes, row)


def doom(_: JobsSnapshot, changes: Changes, row: JobFacts) -> None:
    """A waiting job can never run: one whose success it needs fails with this step."""
    if row.status is JobStatus.PENDING:
        _give_up(changes, row, DEPENDENCY_FAILED)


def _give_up(changes: Changes, row: JobFacts, unmet: str) -> None:
    asked = row.request_reason if row.is_cancelled else None
    _fail(changes, row, asked or unmet, StoppedBy.CANCEL if row.is_cancelled else None)


def _fail(changes: Changes, row: JobFacts, reason: str, by: StoppedBy | None = None) -> None:
    """Fails a whole job; an array that has no children yet, for all of them."""
    changes.fail(row.key, reason, row.attempt, row.job_queue, by, number=row.array_size or 1)


def _make_ready(jobs: JobsSnapshot, changes: Changes, row: JobFacts) -> None:
    """Lets a job run whose dependencies are met; an array spawns, a cancelled job fails."""
    if row.is_cancelled:
        _fail(changes, row, row.request_reason or DEPENDENCY_FAILED, StoppedBy.CANCEL)
    elif row.array_size is not None:
        _spawn(jobs, changes, row)
    else:
        changes.make_ready(NewEntry(row.job_queue, row.key.job_id, row.shape_id, row.seq, WHOLE, 0))
        moved = _runnable(changes, row)
        changes.move(JobMove(row.key, JobStatus.RUNNABLE), row.attempt, moved)


def _runnable(changes: Changes, row: JobFacts, number: int = 1) -> Moved:
    """So many jobs, or children of an array, may run for the first time."""
    took = span(Stage.SUBMITTED_TO_RUNNABLE, row.created_at, changes.now)
    return Moved(row.job_queue, JobStatus.RUNNABLE, number, (took,))


def _spawn(jobs: JobsSnapshot, changes: Changes, row: JobFacts) -> None:
    """Lets the children of an array exist: those that wait for nothing are ready as one range."""
    rule = jobs.rules[row.key.job_id]
    first, end = rule.ready_at_spawn
    changes.spawned.append(NewArray(row.key.job_id, rule.size, end - first, rule.sequential))
    if row.status is JobStatus.SUBMITTED and rule.size > end - first:
        waits = Moved(row.job_queue, JobStatus.PENDING, rule.size - (end - first))
        changes.tally.count(waits)
    if end > first:
        changes.tally.count(_runnable(changes, row, end - first))
        changes.make_ready(
            NewEntry(row.job_queue, row.key.job_id, row.shape_id, row.seq, first, end)
        )
        changes.tell_runnable(row.key.job_id, first, end)
    if rule.n_to_n:
        changes.happenings.append(Spawned(row.key.job_id))


def move_children(jobs: JobsSnapshot, changes: Changes, keys: Iterable[JobKey]) -> None:
    """Moves those of some children that wait, as what they wait for says."""
    rows = jobs.rows
    children = [
        Child(key, waits_for(key, jobs.rules[key.job_id], jobs.edges.get(key.job_id, ())))
        for key in keys
        if key not in jobs.runnable and (key not in rows or rows[key].status is JobStatus.PENDING)
    ]
    others = {key for child in children for key, _ in child.waits_for}
    found = {key: status for key in others if (status := final_status(key, rows)) is not None}
    decided = decide(children, found)
    for unmet, failed in decided.failed.items():
        fail_children(jobs, changes, failed, unmet)
    _make_children_ready(jobs, changes, decided.ready)


def _make_children_ready(jobs: JobsSnapshot, changes: Changes, keys: Iterable[JobKey]) -> None:
    """Lets children run. What was cancelled fails, also with its whole array."""
    rows = jobs.rows
    free: dict[uuid.UUID, list[int]] = defaultdict(list)
    over: dict[uuid.UUID, list[JobKey]] = defaultdict(list)
    for key in keys:
        parent = rows[key.parent]
        if parent.is_cancelled or parent.is_terminated:
            over[key.job_id].append(key)
        elif key in rows and rows[key].is_cancelled:
            changes.count(key, JobStatus.PENDING, JobStatus.FAILED)
            reason = rows[key].request_reason or DEPENDENCY_FAILED
            changes.fail(key, reason, 0, parent.job_queue, StoppedBy.CANCEL)
        else:
            free[key.job_id].append(key.array_index)
    for job_id, failing in over.items():
        parent = rows[JobKey(job_id)]
        fail_children(
            jobs,
            changes,
            failing,
            parent.request_reason or DEPENDENCY_FAILED,
            cancelled=parent.is_cancelled,
            terminated=parent.is_terminated,
        )
    for job_id, indexes in free.items():
        row = rows[JobKey(job_id)]
        changes.tally.count(_runnable(changes, row, len(indexes)))
        changes.count(
            JobKey(job_id, indexes[0]), JobStatus.PENDING, JobStatus.RUNNABLE, len(indexes)
        )
        for first, end in ranges(indexes):
            changes.make_ready(NewEntry(row.job_queue, job_id, row.shape_id, row.seq, first, end))
            changes.tell_runnable(job_id, first, end)


def fail_children(
    jobs: JobsSnapshot,
    changes: Changes,
    keys: Iterable[JobKey],
    reason: str,
    *,
    cancelled: bool = False,
    terminated: bool = False,
) -> None:
    """Fails PENDING children; those without a record get one, marked as asked for."""
    by = stopped_by(cancelled=cancelled, terminated=terminated)
    for key in sorted(keys):
        queue = jobs.rows[key.parent].job_queue
        changes.count(key, JobStatus.PENDING, JobStatus.FAILED)
        if key in jobs.rows:
            changes.fail(key, reason, jobs.rows[key].attempt, queue, by)
        else:
            changes.children.append(NewChild(key, JobStatus.FAILED, reason, cancelled, terminated))
            moved = Moved(queue, JobStatus.FAILED, by=by)
            changes.event(key, 0, JobStatus.FAILED, moved, reason)
            changes.ended.append(key)
            changes.happenings.append(Ended(key, succeeded=False))


def finish_array(changes: Changes, array: ChildCounts) -> None:
    """Ends a parent whose last child has ended."""
    if array.finished:
        failed = array.counts[JobStatus.FAILED] > 0
        changes.move(
            JobMove(
                JobKey(array.job_id),
                JobStatus.FAILED if failed else JobStatus.SUCCEEDED,
                ARRAY_CHILD_FAILED if failed else None,
                stopped_at=changes.now,
            ),
            0,
            None,
        )
