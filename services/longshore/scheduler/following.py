"""What follows from jobs that became final, for parents, dependents and waiting children.

The decisions are `longshore.domain.job.life`'s; here what they need is read and what they say is
written. Each round takes what happened, moves what depends on it, and goes on with what became
final thereby, as far as the tick's allowance goes: the rest is kept in a table, and the next tick
begins with it. A parent ends in the transaction of its last child whatever is left.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from longshore.domain.job.arrays import ArrayRules, ranges
from longshore.domain.job.job import (
    ARRAY_CHILD_FAILED,
    DEPENDENCY_FAILED,
    WHOLE,
    JobKey,
    JobStatus,
)
from longshore.domain.job.life import (
    Allowance,
    Child,
    Dependency,
    Ended,
    Happening,
    Spawned,
    Waits,
    decide,
    outlook,
)
from longshore.scheduler.changes import Changes
from longshore.state.pool import Connection
from longshore.state.scheduler import array_job, job_dependency, job_transition, ready
from longshore.state.scheduler.array_job import ChildCounts, NewArray
from longshore.state.scheduler.job_dependency import Dependent
from longshore.state.scheduler.job_transition import JobMove, JobRow
from longshore.state.scheduler.ready import NewEntry

#: Least dependents read of one ended job at a time. One may come three times.
PAGE_LEAST = 8
#: Dependents of one ended job that are looked at each by itself.
PARTS = 200
#: Behind every dependent.
_LAST = uuid.UUID(int=2**128 - 1)


async def follow(conn: Connection, changes: Changes, allowance: Allowance) -> None:
    """Writes the gathered changes, and what follows as far as the allowance goes."""
    while True:
        await write(conn, changes)
        if not changes.happenings or allowance.spent:
            return
        await _follow_once(conn, changes, allowance)


async def write(conn: Connection, changes: Changes) -> None:
    """Writes the gathered changes, and the ends of parents whose last child ended with them."""
    while counts := await changes.flush(conn):
        _finish_arrays(changes, counts)


def _finish_arrays(changes: Changes, counts: Iterable[ChildCounts]) -> None:
    """Ends parents whose last child has ended."""
    for array in counts:
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
            )


async def _follow_once(conn: Connection, changes: Changes, allowance: Allowance) -> None:
    """One round: moves what depends on what happened."""
    allowance.rounds -= 1
    happenings, changes.happenings = changes.happenings, []
    followed, rules = await _choose(conn, happenings)
    most = max(allowance.steps // PAGE_LEAST, 1)
    batch, rest = followed[:most], followed[most:]
    allowance.take(len(batch))
    ended = [h for h in batch if isinstance(h, Ended)]
    children: set[JobKey] = set()
    if ended:
        children |= await _move_dependents(conn, changes, allowance, ended)
        children |= await _next_in_sequence(conn, allowance, ended, rules)
    await _look_at(conn, changes, allowance, [h.job_id for h in batch if isinstance(h, Waits)])
    for spawned in (h for h in batch if isinstance(h, Spawned)):
        if allowance.steps > 0:
            children |= await _reached(conn, changes, allowance, spawned)
        else:
            changes.happenings.append(spawned)
    await _move_children(conn, changes, allowance, children)
    changes.happenings[:0] = rest


async def _choose(
    conn: Connection, happenings: Sequence[Happening]
) -> tuple[list[Happening], dict[uuid.UUID, ArrayRules]]:
    """Those from which anything follows, and the rules of the arrays whose children ended."""
    ended = [h for h in happenings if isinstance(h, Ended)]
    upstream = await job_dependency.depended_on(conn, {h.key.job_id for h in ended})
    arrays = {h.key.job_id for h in ended if h.key.is_child}
    rules = await job_dependency.rules(conn, arrays) if arrays else {}
    sequential = {job_id for job_id, rule in rules.items() if rule.sequential}
    return [
        h
        for h in happenings
        if not isinstance(h, Ended)
        or h.key.job_id in upstream
        or (h.key.is_child and h.key.job_id in sequential)
    ], rules


async def _move_dependents(
    conn: Connection, changes: Changes, allowance: Allowance, ended: Sequence[Ended]
) -> set[JobKey]:
    """Moves those who wait for whole jobs; returns the children that wait for children."""
    page = max(allowance.steps // (4 * len(ended)), PAGE_LEAST)
    found = await job_dependency.dependents(conn, ended, page)
    allowance.take(len(found))
    edges: list[Dependent] = []
    for this, read in zip(ended, _by_position(found, len(ended)), strict=True):
        whole_read = read
        if len(read) == page:
            # The last one may go on behind the page.
            whole_read = [edge for edge in read if edge.job_id != read[-1].job_id]
            changes.happenings.append(Ended(this.key, this.succeeded, whole_read[-1].job_id))
        edges += whole_read
    rows = await job_transition.load(conn, {JobKey(edge.job_id) for edge in edges})
    whole: set[uuid.UUID] = set()
    children: set[JobKey] = set()
    for edge in edges:
        row = rows.get(JobKey(edge.job_id))
        if row is None or row.status is not JobStatus.PENDING:
            continue
        key = ended[edge.position].key
        if row.dependencies_left > 0:
            # The children of an array are looked at when they exist.
            if not (edge.paired and key.is_child):
                whole.add(edge.job_id)
        elif edge.paired and row.array_size is not None:
            if key.is_child:
                children.add(JobKey(edge.job_id, key.array_index))
            else:
                changes.happenings.append(Spawned(edge.job_id))
    await _settle_whole(
        conn, changes, allowance, {job_id: rows[JobKey(job_id)] for job_id in whole}
    )
    return children


def _by_position(found: Iterable[Dependent], number: int) -> list[list[Dependent]]:
    edges: list[list[Dependent]] = [[] for _ in range(number)]
    for edge in found:
        edges[edge.position].append(edge)
    return edges


async def _look_at(
    conn: Connection, changes: Changes, allowance: Allowance, job_ids: Sequence[uuid.UUID]
) -> None:
    """Looks at waiting jobs, each by itself: not at those that wait for them."""
    rows = await job_transition.load(conn, [JobKey(job_id) for job_id in job_ids])
    allowance.take(len(rows))
    waiting = {
        key.job_id: row
        for key, row in rows.items()
        if row.status is JobStatus.PENDING and row.dependencies_left > 0
    }
    await _settle_whole(conn, changes, allowance, waiting, is_alone=True)


async def parts_of(conn: Connection, ended: Ended) -> list[Happening]:
    """The same as what happened, for each of the dependents by itself, and for the rest.

    Empty if it has no parts.
    """
    if ended.after == _LAST:
        return []
    found = await job_dependency.dependents(conn, [ended], PARTS)
    if not found:
        return []
    rows = await job_transition.load(conn, {JobKey(edge.job_id) for edge in found})
    parts: dict[Happening, None] = {}
    for edge in found:
        row = rows.get(JobKey(edge.job_id))
        if row is None or row.status is not JobStatus.PENDING:
            continue
        if row.dependencies_left > 0:
            parts[Waits(edge.job_id)] = None
        elif edge.paired and row.array_size is not None:
            parts[Spawned(edge.job_id, max(ended.key.array_index, 0))] = None
    after = found[-1].job_id if len(found) == PARTS else _LAST
    if after != _LAST or ended.key.is_child:
        parts[replace(ended, after=after)] = None
    return list(parts)


async def _settle_whole(
    conn: Connection,
    changes: Changes,
    allowance: Allowance,
    rows: Mapping[uuid.UUID, JobRow],
    *,
    is_alone: bool = False,
) -> None:
    """Fails dependents of failed jobs, and makes those ready whose dependencies all succeeded.

    With those that fail all that wait for them, unless each is looked at by itself.
    """
    if not rows:
        return
    edges: dict[uuid.UUID, list[Dependency]] = defaultdict(list)
    for edge in await job_dependency.of_jobs(conn, rows):
        edges[edge.job_id].append(edge)
    looks = {job_id: outlook(edges[job_id]) for job_id in rows}
    failing = {row.key: row for job_id, row in rows.items() if looks[job_id].failed}
    if not is_alone:
        failing |= await _downstream(conn, allowance, {key.job_id for key in failing})
    for key, row in failing.items():
        changes.fail(key, _failure(row), row.attempt)
    waiting = {job_id: row for job_id, row in rows.items() if row.key not in failing}
    await job_transition.set_dependencies(
        conn, [(job_id, looks[job_id].left) for job_id in waiting]
    )
    await make_ready(
        conn, changes, [row for job_id, row in waiting.items() if not looks[job_id].left]
    )


async def _downstream(
    conn: Connection, allowance: Allowance, failing: set[uuid.UUID]
) -> dict[JobKey, JobRow]:
    """Those who fail with some jobs because they wait for them through others: a chain of them.

    They need no round for each link. Behind the bound the last ones' own ends go on.
    """
    if not failing:
        return {}
    found = await job_dependency.downstream(conn, failing, max(allowance.steps // 4, 1))
    allowance.take(len(found))
    return await job_transition.load(conn, [JobKey(job_id) for job_id in found])


def _failure(row: JobRow) -> str:
    return row.request_reason if row.is_cancelled and row.request_reason else DEPENDENCY_FAILED


async def _next_in_sequence(
    conn: Connection,
    allowance: Allowance,
    ended: Iterable[Ended],
    rules: Mapping[uuid.UUID, ArrayRules],
) -> set[JobKey]:
    """The children of SEQUENTIAL arrays to look at.

    Behind one that succeeded the next; behind one that failed all that wait, up to the next that
    does not: those behind that one are its own to fail. Of a long run the last one goes on.
    """
    succeeded: set[JobKey] = set()
    failed: set[JobKey] = set()
    for this in ended:
        rule = rules.get(this.key.job_id)
        if this.key.is_child and rule is not None and rule.sequential:
            following = JobKey(this.key.job_id, this.key.array_index + 1)
            if following.array_index < rule.size:
                (succeeded if this.succeeded else failed).add(following)
    failed -= {this.key for this in ended}
    settled = await job_transition.next_settled(conn, sorted(failed))
    most = max(allowance.steps // (2 * len(failed)), 1) if failed else 0
    children = succeeded
    for key in failed:
        end = min(settled.get(key, rules[key.job_id].size), key.array_index + most)
        children |= {JobKey(key.job_id, index) for index in range(key.array_index, end)}
    return children


async def _reached(
    conn: Connection, changes: Changes, allowance: Allowance, spawned: Spawned
) -> set[JobKey]:
    """The children of an array of which any that they wait for is over; the rest waits on."""
    pairs = [e for e in await job_dependency.of_jobs(conn, [spawned.job_id]) if e.type == "N_TO_N"]
    rules = await job_dependency.rules(conn, [spawned.job_id])
    if spawned.job_id not in rules:
        return set()
    size = rules[spawned.job_id].size
    most = max(allowance.steps // (2 + len(pairs)), 1)
    if any(edge.never for edge in pairs):
        indexes = list(range(spawned.first, min(spawned.first + most, size)))
    else:
        upstream = [edge.depends_on for edge in pairs if edge.depends_on is not None]
        indexes = await job_transition.finished_indexes(conn, upstream, spawned.first, most)
    if len(indexes) == most and indexes[-1] + 1 < size:
        changes.happenings.append(Spawned(spawned.job_id, indexes[-1] + 1))
    return {JobKey(spawned.job_id, index) for index in indexes if index < size}


async def _move_children(
    conn: Connection, changes: Changes, allowance: Allowance, keys: set[JobKey]
) -> None:
    """Moves those of some children that wait, as what they wait for says."""
    if not keys:
        return
    job_ids = {key.job_id for key in keys}
    rules = await job_dependency.rules(conn, job_ids)
    pairs = await _pairs(conn, [job_id for job_id in job_ids if rules[job_id].n_to_n])
    children = [Child(key, _waits_for(key, rules, pairs)) for key in keys]
    others = {key for child in children for key in child.waits_for}
    allowance.take(len(keys | others))
    rows = await job_transition.load(conn, keys | others | {k.parent for k in keys | others})
    # What is waited for may be over for so long that it is history.
    if past := {key for key in others if key.parent not in rows}:
        rows |= await job_transition.load_past(conn, past | {key.parent for key in past})
    runnable = await ready.containing(conn, [key for key in keys if key not in rows])
    decided = decide(
        [
            child
            for child in children
            if child.key not in runnable
            and (child.key not in rows or rows[child.key].status is JobStatus.PENDING)
        ],
        {key: status for key in others if (status := _final(key, rows)) is not None},
    )
    await fail_waiting(conn, changes, set(decided.failed), DEPENDENCY_FAILED, rows)
    await _make_children_ready(conn, changes, decided.ready, rows)


async def _pairs(
    conn: Connection, job_ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, list[uuid.UUID]]:
    """The arrays whose children those of some arrays wait for, index by index."""
    pairs: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    if job_ids:
        for edge in await job_dependency.of_jobs(conn, job_ids):
            if edge.type == "N_TO_N" and edge.depends_on is not None:
                pairs[edge.job_id].append(edge.depends_on)
    return pairs


def _waits_for(
    key: JobKey,
    rules: Mapping[uuid.UUID, ArrayRules],
    pairs: Mapping[uuid.UUID, Sequence[uuid.UUID]],
) -> tuple[JobKey, ...]:
    others = [JobKey(job_id, key.array_index) for job_id in pairs.get(key.job_id, ())]
    if rules[key.job_id].sequential and key.array_index > 0:
        others.append(JobKey(key.job_id, key.array_index - 1))
    return tuple(others)


def _final(key: JobKey, rows: Mapping[JobKey, JobRow]) -> JobStatus | None:
    """How a child ended, if it has; one that never comes to be has failed."""
    if key in rows:
        return rows[key].status if rows[key].status.final else None
    parent = rows.get(key.parent)
    return JobStatus.FAILED if parent is None or parent.status.final else None


async def _make_children_ready(
    conn: Connection, changes: Changes, keys: Iterable[JobKey], rows: Mapping[JobKey, JobRow]
) -> None:
    """Makes children dispatchable. What was cancelled fails, also with its whole array."""
    free: dict[uuid.UUID, list[int]] = defaultdict(list)
    over: dict[uuid.UUID, set[JobKey]] = defaultdict(set)
    for key in keys:
        parent = rows[key.parent]
        if parent.is_cancelled or parent.is_terminated:
            over[key.job_id].add(key)
        elif key in rows and rows[key].is_cancelled:
            changes.count(key, JobStatus.PENDING, JobStatus.FAILED)
            changes.fail(key, rows[key].request_reason or DEPENDENCY_FAILED, 0)
        else:
            free[key.job_id].append(key.array_index)
    for job_id, failing in over.items():
        parent = rows[JobKey(job_id)]
        await fail_waiting(
            conn,
            changes,
            failing,
            parent.request_reason or DEPENDENCY_FAILED,
            rows,
            cancelled=parent.is_cancelled,
            terminated=parent.is_terminated,
        )
    for job_id, indexes in free.items():
        row = rows[JobKey(job_id)]
        changes.count(
            JobKey(job_id, indexes[0]), JobStatus.PENDING, JobStatus.RUNNABLE, len(indexes)
        )
        for first, end in ranges(indexes):
            changes.make_ready(NewEntry(row.job_queue, job_id, row.shape_id, row.seq, first, end))


async def make_ready(conn: Connection, changes: Changes, rows: Iterable[JobRow]) -> None:
    """Makes jobs dispatchable whose dependencies are met; arrays spawn, cancelled ones fail."""
    arrays = []
    for row in rows:
        if row.is_cancelled:
            changes.fail(row.key, row.request_reason or DEPENDENCY_FAILED, 0)
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
    changes.happenings += [Spawned(row.key.job_id) for row in rows if rules[row.key.job_id].n_to_n]


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
            changes.happenings.append(Ended(key, succeeded=False))
