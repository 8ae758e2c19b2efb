"""What follows from jobs that became final, for parents, dependents and waiting children.

A worklist: each round looks at the jobs that became final, moves what depends on them, and goes on
with what became final thereby. Rounds are as many as a chain of dependencies is long; each is a
handful of statements.
"""

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from longshore.domain.arrays import ArrayRules, ranges
from longshore.domain.job import (
    ARRAY_CHILD_FAILED,
    DEPENDENCY_FAILED,
    WHOLE,
    JobKey,
    JobStatus,
)
from longshore.scheduler.changes import Changes, Finished
from longshore.state import array_job, job_dependency, job_transition
from longshore.state.array_job import ArrayCounts, NewArray
from longshore.state.job_dependency import Dependent
from longshore.state.job_transition import JobMove, JobRow
from longshore.state.pool import Connection
from longshore.state.ready import NewEntry


async def follow(conn: Connection, changes: Changes) -> None:
    """Writes the gathered changes and everything that follows from jobs that became final."""
    while True:
        counts = await changes.flush(conn)
        await _finish_arrays(conn, changes, counts)
        finished, changes.finished = changes.finished, []
        if not finished:
            return
        await _move_dependents(conn, changes, finished)


async def _finish_arrays(conn: Connection, changes: Changes, counts: Iterable[ArrayCounts]) -> None:
    """Ends parents whose last child has ended."""
    finished = [array for array in counts if array.finished]
    for array in finished:
        failed = array.counts[JobStatus.FAILED] > 0
        changes.move(
            JobMove(
                JobKey(array.job_id),
                JobStatus.FAILED if failed else JobStatus.SUCCEEDED,
                ARRAY_CHILD_FAILED if failed else None,
                stopped_at=changes.now,
            ),
            0,
        )
    # Those that failed while they still waited for others left what they waited for behind.
    await array_job.drop_all_waits(conn, [array.job_id for array in finished])


async def _move_dependents(conn: Connection, changes: Changes, finished: list[Finished]) -> None:
    by_key = {f.key: f for f in finished}
    children: dict[uuid.UUID, list[Finished]] = defaultdict(list)
    for f in finished:
        if f.key.array_index != WHOLE:
            children[f.key.job_id].append(f)
    edges = await job_dependency.dependents(conn, {key.job_id for key in by_key})
    rows = await job_transition.load(conn, {JobKey(edge.job_id) for edge in edges})
    whole: dict[uuid.UUID, Counter[bool]] = defaultdict(Counter)
    fired: Counter[JobKey] = Counter()
    failed: set[JobKey] = set()
    for edge in edges:
        _fire(edge, rows, by_key, children, whole, fired, failed)
    await _settle_whole(conn, changes, whole, rows)
    rules = await _rules_of(conn, children, fired, failed)
    for job_id, ended in children.items():
        if job_id in rules and rules[job_id].sequential:
            _fire_sequence(job_id, rules[job_id], ended, fired, failed)
    await move_children(conn, changes, rules, fired, failed)


def _fire(
    edge: Dependent,
    rows: Mapping[JobKey, JobRow],
    by_key: Mapping[JobKey, Finished],
    children: Mapping[uuid.UUID, list[Finished]],
    whole: dict[uuid.UUID, Counter[bool]],
    fired: Counter[JobKey],
    failed: set[JobKey],
) -> None:
    """Sorts what an edge means: for the whole dependent, or for single children of it."""
    target = by_key.get(JobKey(edge.depends_on, edge.depends_on_index))
    if target is None:
        parent = by_key.get(JobKey(edge.depends_on))
        if parent is not None and not parent.spawned:
            target = parent  # the child never comes to be
    if edge.type != "N_TO_N":
        if target is not None:
            whole[edge.job_id][target.succeeded] += 1
        return
    dependent = rows[JobKey(edge.job_id)]
    if target is not None and not target.spawned:
        if dependent.dependencies_left > 0:
            whole[edge.job_id][False] += 1
        else:  # spawned already: every child waits for one that never comes to be
            failed.update(JobKey(edge.job_id, i) for i in range(dependent.array_size or 0))
        return
    if dependent.dependencies_left > 0:
        return  # not spawned: the children's state is read when it is
    for child in children.get(edge.depends_on, ()):
        key = JobKey(edge.job_id, child.key.array_index)
        if child.succeeded:
            fired[key] += 1
        else:
            failed.add(key)


async def _settle_whole(
    conn: Connection,
    changes: Changes,
    whole: Mapping[uuid.UUID, Counter[bool]],
    rows: Mapping[JobKey, JobRow],
) -> None:
    """Fails dependents of failed jobs, and makes those ready whose last dependency succeeded."""
    left: list[tuple[uuid.UUID, int]] = []
    now_ready: list[JobRow] = []
    for job_id, outcomes in whole.items():
        row = rows[JobKey(job_id)]
        remaining = row.dependencies_left - outcomes[True]
        if outcomes[False]:
            changes.fail(row.key, _failure(row), row.attempt, spawned=False)
        elif remaining > 0:
            left.append((job_id, remaining))
        else:
            left.append((job_id, 0))
            now_ready.append(row)
    await job_transition.set_dependencies(conn, left)
    await make_ready(conn, changes, now_ready)


def _failure(row: JobRow) -> str:
    return row.request_reason if row.is_cancelled and row.request_reason else DEPENDENCY_FAILED


async def make_ready(conn: Connection, changes: Changes, rows: Iterable[JobRow]) -> None:
    """Makes jobs dispatchable whose dependencies are met; arrays spawn, cancelled ones fail."""
    arrays = []
    for row in rows:
        if row.is_cancelled:
            changes.fail(row.key, row.request_reason or DEPENDENCY_FAILED, 0, spawned=False)
        elif row.array_size is not None:
            arrays.append(row)
        else:
            changes.make_ready(
                NewEntry(row.job_queue, row.key.job_id, row.shape_id, row.seq, WHOLE, 0)
            )
            changes.move(JobMove(row.key, JobStatus.RUNNABLE), row.attempt)
    if arrays:
        await _spawn(conn, changes, arrays)


async def _spawn(conn: Connection, changes: Changes, rows: list[JobRow]) -> None:
    """Lets the children of arrays exist: those that wait for nothing are ready as one range."""
    rules = await job_dependency.rules(conn, [row.key.job_id for row in rows])
    spawned = []
    for row in rows:
        rule = rules[row.key.job_id]
        first, end = rule.ready_at_spawn
        spawned.append(NewArray(row.key.job_id, rule.size, end - first, rule.sequential))
        if end > first:
            changes.make_ready(
                NewEntry(row.job_queue, row.key.job_id, row.shape_id, row.seq, first, end)
            )
    await array_job.insert(conn, spawned, changes.now)
    paired = [row.key.job_id for row in rows if rules[row.key.job_id].n_to_n]
    if paired:
        await _catch_up(conn, changes, paired, rules)


async def _catch_up(
    conn: Connection,
    changes: Changes,
    job_ids: list[uuid.UUID],
    rules: Mapping[uuid.UUID, ArrayRules],
) -> None:
    """Fires the N_TO_N edges of new arrays whose other ends are final already."""
    edges = [edge for edge in await job_dependency.of_jobs(conn, job_ids) if edge.type == "N_TO_N"]
    upstream = [edge.depends_on for edge in edges if edge.depends_on is not None]
    ended = await job_transition.finished_children(conn, upstream)
    by_parent: dict[uuid.UUID, list[tuple[int, JobStatus]]] = defaultdict(list)
    for key, status in ended.items():
        by_parent[key.job_id].append((key.array_index, status))
    fired: Counter[JobKey] = Counter()
    failed: set[JobKey] = set()
    for edge in edges:
        if edge.depends_on is None:
            continue
        for index, status in by_parent[edge.depends_on]:
            key = JobKey(edge.job_id, index)
            if status is JobStatus.SUCCEEDED:
                fired[key] += 1
            else:
                failed.add(key)
    await move_children(conn, changes, rules, fired, failed)


async def _rules_of(
    conn: Connection,
    children: Mapping[uuid.UUID, list[Finished]],
    fired: Iterable[JobKey],
    failed: Iterable[JobKey],
) -> dict[uuid.UUID, ArrayRules]:
    job_ids = {*children, *(k.job_id for k in fired), *(k.job_id for k in failed)}
    return await job_dependency.rules(conn, job_ids) if job_ids else {}


def _fire_sequence(
    job_id: uuid.UUID,
    rule: ArrayRules,
    ended: list[Finished],
    fired: Counter[JobKey],
    failed: set[JobKey],
) -> None:
    """In a SEQUENTIAL array a child lets the next one go, or fails all that come after it."""
    for child in ended:
        following = child.key.array_index + 1
        if child.succeeded and following < rule.size:
            fired[JobKey(job_id, following)] += 1
        elif not child.succeeded:
            failed.update(JobKey(job_id, index) for index in range(following, rule.size))


async def move_children(
    conn: Connection,
    changes: Changes,
    rules: Mapping[uuid.UUID, ArrayRules],
    fired: Mapping[JobKey, int],
    failed: set[JobKey],
) -> None:
    """Moves waiting children.

    Those with a failed edge fail, those without a waiting one are ready.
    """
    rows = await job_transition.load(conn, {*fired, *failed})
    parents = await job_transition.load(conn, {key.parent for key in (*fired, *failed)})
    await fail_waiting(
        conn,
        changes,
        {k for k in failed if k not in rows or rows[k].status is JobStatus.PENDING},
        DEPENDENCY_FAILED,
        rows,
    )
    candidates = {
        key: count
        for key, count in fired.items()
        if key not in failed and (key not in rows or rows[key].status is JobStatus.PENDING)
    }
    waits = await array_job.load_waits(conn, candidates)
    left = {
        key: waits.get(key, rules[key.job_id].waits(key.array_index)) - count
        for key, count in candidates.items()
    }
    await array_job.set_waits(conn, {key: n for key, n in left.items() if n > 0 or key in waits})
    free: dict[uuid.UUID, list[int]] = defaultdict(list)
    for key in (key for key, n in left.items() if n <= 0):
        if key in rows and rows[key].is_cancelled:
            changes.count(key, JobStatus.PENDING, JobStatus.FAILED)
            changes.fail(key, rows[key].request_reason or DEPENDENCY_FAILED, 0)
        else:
            free[key.job_id].append(key.array_index)
    for job_id, indexes in free.items():
        row = parents[JobKey(job_id)]
        changes.count(
            JobKey(job_id, indexes[0]), JobStatus.PENDING, JobStatus.RUNNABLE, len(indexes)
        )
        for first, end in ranges(indexes):
            changes.make_ready(NewEntry(row.job_queue, job_id, row.shape_id, row.seq, first, end))


async def fail_waiting(
    conn: Connection,
    changes: Changes,
    keys: set[JobKey],
    reason: str,
    rows: Mapping[JobKey, JobRow],
    *,
    cancelled: bool = False,
    terminated: bool = False,
) -> None:
    """Fails PENDING children, giving rows to those that have none, marked as asked for."""
    new = sorted(key for key in keys if key not in rows)
    await job_transition.insert_children(
        conn,
        new,
        JobStatus.FAILED,
        reason,
        cancelled=cancelled,
        terminated=terminated,
        now=changes.now,
    )
    for key in sorted(keys):
        changes.count(key, JobStatus.PENDING, JobStatus.FAILED)
        if key in rows:
            changes.fail(key, reason, rows[key].attempt)
        else:
            changes.event(key, 0, JobStatus.FAILED, reason)
            changes.finished.append(Finished(key, succeeded=False))
