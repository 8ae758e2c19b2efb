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

from longshore.domain.job.arrays import ArrayRules
from longshore.domain.job.changes import Changes
from longshore.domain.job.dependency import Dependency, Dependent, behind, reach, waits_for
from longshore.domain.job.happening import (
    Counted,
    Doomed,
    Ended,
    Following,
    Reached,
    Spawned,
    Waits,
)
from longshore.domain.job.job import JobKey, JobStatus
from longshore.domain.job.life import Allowance, advance
from longshore.domain.job.record import JobFacts
from longshore.domain.job.snapshot import JobsSnapshot
from longshore.scheduler.changes import flush
from longshore.state.pool import Connection
from longshore.state.scheduler import job_dependency, job_transition, ready

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
    while counts := await flush(conn, changes):
        changes.add(advance(JobsSnapshot(), map(Counted, counts), changes.now))


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
        children |= await _next_in_sequence(conn, allowance.steps, ended, rules)
    waits = [h.key for h in batch if isinstance(h, Waits)]
    await _look_at(conn, changes, allowance, [key for key in waits if not key.is_child])
    children |= {key for key in waits if key.is_child}
    for spawned in (h for h in batch if isinstance(h, Spawned)):
        if allowance.steps > 0:
            reached, rest_of_it = await _reached(conn, allowance.steps, spawned)
            children |= reached
            changes.happenings += rest_of_it
        else:
            changes.happenings.append(spawned)
    await _move_children(conn, changes, allowance, children)
    changes.happenings[:0] = rest


async def _choose(
    conn: Connection, happenings: Sequence[Following]
) -> tuple[list[Following], dict[uuid.UUID, ArrayRules]]:
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
    reached = reach(edges, ended, rows)
    changes.happenings += reached.arrays
    changes.left += [(key.job_id, left) for key, left in reached.left.items()]
    await _move_whole(conn, changes, allowance, {key: rows[key] for key in reached.whole})
    return reached.children


def _by_position(found: Iterable[Dependent], number: int) -> list[list[Dependent]]:
    edges: list[list[Dependent]] = [[] for _ in range(number)]
    for edge in found:
        edges[edge.position].append(edge)
    return edges


async def _look_at(
    conn: Connection, changes: Changes, allowance: Allowance, keys: Sequence[JobKey]
) -> None:
    """Looks at waiting jobs, each by itself: not at those that wait for them."""
    rows = await job_transition.load(conn, keys)
    allowance.take(len(rows))
    waiting = {
        key: row
        for key, row in rows.items()
        if row.status is JobStatus.PENDING and row.dependencies_left > 0
    }
    await _move_whole(conn, changes, allowance, waiting, is_alone=True)


async def parts_of(conn: Connection, happening: Following) -> list[Following]:
    """The same as what happened, for each that it reaches by itself, and for the rest.

    Empty if it has no parts.
    """
    if isinstance(happening, Spawned):
        return await _parts_of_array(conn, happening)
    return [] if isinstance(happening, Waits) else await _parts_of_end(conn, happening)


async def _parts_of_array(conn: Connection, spawned: Spawned) -> list[Following]:
    children, rest = await _reached(conn, 3 * PARTS, spawned)
    return [*(Waits(key) for key in sorted(children)), *rest]


async def _parts_of_end(conn: Connection, ended: Ended) -> list[Following]:
    if ended.after == _LAST:
        return await _parts_behind(conn, ended)
    found = await job_dependency.dependents(conn, [ended], PARTS)
    if not found:
        return []
    rows = await job_transition.load(conn, {JobKey(edge.job_id) for edge in found})
    parts: dict[Following, None] = {}
    for edge in found:
        row = rows.get(JobKey(edge.job_id))
        if row is None or row.status is not JobStatus.PENDING:
            continue
        if row.dependencies_left > 0:
            parts[Waits(JobKey(edge.job_id))] = None
        elif edge.paired and row.array_size is not None:
            parts[Spawned(edge.job_id, max(ended.key.array_index, 0))] = None
    after = found[-1].job_id if len(found) == PARTS else _LAST
    if after != _LAST or ended.key.is_child:
        parts[replace(ended, after=after)] = None
    return list(parts)


async def _parts_behind(conn: Connection, ended: Ended) -> list[Following]:
    """Each child of a SEQUENTIAL array that an end reaches; the last one's own end goes on."""
    rules = await job_dependency.rules(conn, [ended.key.job_id])
    if not ended.key.is_child or ended.key.job_id not in rules:
        return []
    return [Waits(key) for key in sorted(await _next_in_sequence(conn, 2 * PARTS, [ended], rules))]


async def _move_whole(
    conn: Connection,
    changes: Changes,
    allowance: Allowance,
    rows: Mapping[JobKey, JobFacts],
    *,
    is_alone: bool = False,
) -> None:
    """Moves waiting jobs as what they wait for says, with those that fail who needs their success.

    A chain of them needs no round for each link, unless each is looked at by itself. Behind the
    bound the last ones' own ends go on.
    """
    if not rows:
        return
    edges = await _edges(conn, [key.job_id for key in rows])
    arrays = [key.job_id for key, row in rows.items() if row.array_size is not None]
    rules = await job_dependency.rules(conn, arrays) if arrays else {}
    moved = advance(
        JobsSnapshot(rows=rows, edges=edges, rules=rules), map(Reached, rows), changes.now
    )
    changes.add(moved)
    failing = {key.job_id for key, move in moved.moves.items() if move.status is JobStatus.FAILED}
    if is_alone or not failing:
        return
    found = await job_dependency.downstream(conn, failing, max(allowance.steps // 4, 1))
    allowance.take(len(found))
    doomed = await job_transition.load(conn, [JobKey(job_id) for job_id in found])
    changes.add(advance(JobsSnapshot(rows=doomed), map(Doomed, doomed), changes.now))


async def _edges(
    conn: Connection, job_ids: Iterable[uuid.UUID]
) -> dict[uuid.UUID, list[Dependency]]:
    edges: dict[uuid.UUID, list[Dependency]] = defaultdict(list)
    for edge in await job_dependency.of_jobs(conn, job_ids):
        edges[edge.job_id].append(edge)
    return edges


async def _next_in_sequence(
    conn: Connection,
    steps: int,
    ended: Sequence[Ended],
    rules: Mapping[uuid.UUID, ArrayRules],
) -> set[JobKey]:
    """The children of SEQUENTIAL arrays to look at. Of a long run the last one goes on."""
    met, failed = behind(ended, rules)
    settled = await job_transition.next_settled(conn, sorted(failed))
    most = max(steps // (2 * len(failed)), 1) if failed else 0
    children = met
    for key in failed:
        end = min(settled.get(key, rules[key.job_id].size), key.array_index + most)
        children |= {JobKey(key.job_id, index) for index in range(key.array_index, end)}
    return children


async def _reached(
    conn: Connection, steps: int, spawned: Spawned
) -> tuple[set[JobKey], list[Following]]:
    """The children of an array of which any that they wait for is over, and what goes on."""
    pairs = [e for e in await job_dependency.of_jobs(conn, [spawned.job_id]) if e.type == "N_TO_N"]
    rules = await job_dependency.rules(conn, [spawned.job_id])
    if spawned.job_id not in rules:
        return set(), []
    size = rules[spawned.job_id].size
    most = max(steps // (2 + len(pairs)), 1)
    if any(edge.never for edge in pairs):
        indexes = list(range(spawned.first, min(spawned.first + most, size)))
    else:
        upstream = [edge.depends_on for edge in pairs if edge.depends_on is not None]
        indexes = await job_transition.finished_indexes(conn, upstream, spawned.first, most)
    children = {JobKey(spawned.job_id, index) for index in indexes if index < size}
    if len(indexes) == most and indexes[-1] + 1 < size:
        return children, [Spawned(spawned.job_id, indexes[-1] + 1)]
    return children, []


async def _move_children(
    conn: Connection, changes: Changes, allowance: Allowance, keys: set[JobKey]
) -> None:
    """Moves those of some children that wait, as what they wait for says."""
    if not keys:
        return
    job_ids = {key.job_id for key in keys}
    rules = await job_dependency.rules(conn, job_ids)
    paired = [job_id for job_id in job_ids if rules[job_id].n_to_n]
    edges = await _edges(conn, paired) if paired else {}
    others = {
        k for key in keys for k, _ in waits_for(key, rules[key.job_id], edges.get(key.job_id, ()))
    }
    allowance.take(len(keys | others))
    rows = await job_transition.load(conn, keys | others | {k.parent for k in keys | others})
    # What is waited for may be over for so long that it is history.
    if past := {key for key in others if key.parent not in rows}:
        rows |= await job_transition.load_past(conn, past | {key.parent for key in past})
    runnable = await ready.containing(conn, [key for key in keys if key not in rows])
    jobs = JobsSnapshot(rows=rows, edges=edges, rules=rules, runnable=runnable)
    changes.add(advance(jobs, map(Reached, keys), changes.now))
