"""Requests to cancel and to terminate, and the end of a queue's jobs when the queue is deleted.

Cancel: a job that waits for capacity fails; one that waits for dependencies is marked and fails
when they are met; one that is placed runs on. Terminate: what waits fails at once, what is placed
is stopped. On an array parent both mean every child: so many a tick, and of the others none is
placed meanwhile. Final jobs stay as they are.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from longshore.domain.job.job import QUEUE_DELETED, WHOLE, JobKey, JobStatus, Stop, StopKind
from longshore.scheduler.changes import Changes
from longshore.scheduler.ending import stop
from longshore.scheduler.following import fail_waiting
from longshore.scheduler.isolating import Pass
from longshore.scheduler.memory import Memory
from longshore.state.pool import Connection
from longshore.state.scheduler import array_job, job_request, job_transition, ready
from longshore.state.scheduler.job_request import JobRequest
from longshore.state.scheduler.job_transition import JobFlag, JobRow
from longshore.state.scheduler.ready import NewEntry, Waiter
from longshore.state.submission import queue_deletion

#: Most requests acted on in one transaction.
REQUEST_LIMIT = 500
#: Most children of arrays that were asked for as a whole, acted on in one transaction.
CHILDREN_LIMIT = 2_000
_WAITING = (JobStatus.SUBMITTED, JobStatus.PENDING, JobStatus.RUNNABLE)


@dataclass(slots=True)
class _Asked:
    """What is asked of a job: the request that goes furthest, and the ids of all."""

    request: JobRequest
    ids: list[int] = field(default_factory=list)

    @property
    def job_id(self) -> uuid.UUID:
        return self.request.key.job_id


async def apply_requests(this: Pass) -> bool:
    """Acts on the oldest requests; True if there may be more."""
    memory = this.memory
    paused = memory.aside.paused("request")
    found = await job_request.pending(this.conn, REQUEST_LIMIT + len(paused))
    requests = [one for one in found if one.request_id not in paused][:REQUEST_LIMIT]
    asked = _choose(requests)
    goes_on = sum(len(one.ids) for one in asked) < len(requests) or len(requests) == REQUEST_LIMIT

    async def act(part: Sequence[_Asked]) -> None:
        unique = {one.request.key: one.request for one in part}
        keys = [key for one in unique for key in (one, one.parent)]
        rows = await job_transition.load(this.conn, keys)
        left = await _act(this.conn, this.changes, memory, unique, rows)
        await job_request.done(this.conn, [request_id for one in part for request_id in one.ids])
        await job_request.keep(this.conn, left)
        nonlocal goes_on
        goes_on = goes_on or bool(left)

    tried = await this.act(asked, act, lambda one: memory.refs_of(one.job_id))
    for one, error in tried.failed:
        for request_id in one.ids:
            memory.aside.add("request", request_id, error, job_id=str(one.request.key))
    return goes_on or bool(tried.left)


def _choose(requests: Iterable[JobRequest]) -> list[_Asked]:
    """What can be acted on together: of one job either the whole or children.

    Terminate beats cancel. The rest waits for the next transaction.
    """
    chosen: dict[JobKey, _Asked] = {}
    whole: dict[uuid.UUID, bool] = {}
    deferred: set[uuid.UUID] = set()
    for request in requests:
        key = request.key
        is_whole = key.array_index == WHOLE
        if key.job_id in deferred or whole.setdefault(key.job_id, is_whole) is not is_whole:
            deferred.add(key.job_id)
            continue
        asked = chosen.setdefault(key, _Asked(request))
        asked.ids.append(request.request_id)
        if _goes_further(request, asked.request):
            asked.request = request
    return list(chosen.values())


def _goes_further(request: JobRequest, other: JobRequest) -> bool:
    """Whether a request asks for all that another one still asks for, and more."""
    if request.terminate is not other.terminate:
        return request.terminate
    return request.first_index < other.first_index


async def _act(
    conn: Connection,
    changes: Changes,
    memory: Memory,
    requests: dict[JobKey, JobRequest],
    rows: dict[JobKey, JobRow],
) -> list[JobRequest]:
    """Acts on requests; returns what is left of those on large arrays."""
    arrays = await array_job.load(
        conn, [key.job_id for key in requests if _row_is_array(rows.get(key.parent))]
    )
    singles: list[tuple[JobRequest, JobRow]] = []
    whole: list[tuple[JobRequest, JobRow]] = []
    children: list[tuple[JobRequest, JobRow]] = []
    for key, request in requests.items():
        parent = rows.get(key.parent)
        if parent is None:
            continue
        if key.array_index != WHOLE:
            if key.job_id in arrays:
                children.append((request, parent))
        elif key.job_id in arrays:
            whole.append((request, parent))
        else:
            singles.append((request, parent))
    await _act_on_singles(conn, changes, memory, singles)
    await _act_on_children(conn, changes, memory, children, rows)
    return await _act_on_arrays(conn, changes, memory, whole)


def _row_is_array(row: JobRow | None) -> bool:
    return row is not None and row.array_size is not None


async def _act_on_singles(
    conn: Connection,
    changes: Changes,
    memory: Memory,
    requests: Iterable[tuple[JobRequest, JobRow]],
) -> None:
    """Single jobs, and arrays whose children do not exist yet."""
    failing: list[uuid.UUID] = []
    for request, row in requests:
        if row.status in _WAITING and (request.terminate or row.status is not JobStatus.PENDING):
            if row.status is JobStatus.RUNNABLE:
                failing.append(row.key.job_id)
            changes.flags.append(_flag(request))
            changes.fail(row.key, request.reason, row.attempt)
        elif row.status is JobStatus.PENDING:
            changes.flags.append(_flag(request))
        elif request.terminate:
            _stop_live(changes, memory, request)
    await _unready(conn, changes, failing)
    if changes.flags:
        # Flags are noted on unfinished rows: before the moves that finish them.
        await job_transition.flag(conn, changes.flags)
        changes.flags.clear()


def _flag(request: JobRequest) -> JobFlag:
    return JobFlag(request.key, not request.terminate, request.terminate, request.reason)


def _stop_live(changes: Changes, memory: Memory, request: JobRequest) -> None:
    for live in memory.live_of(request.key):
        changes.flags.append(_flag(request))
        stop(changes, memory, live, Stop(StopKind.TERMINATED, request.reason))


async def _unready(conn: Connection, changes: Changes, job_ids: list[uuid.UUID]) -> None:
    """Takes jobs off the dispatch queue."""
    if job_ids:
        for shape_id, count in (await ready.remove_jobs(conn, job_ids)).items():
            changes.demand[shape_id] -= count


async def _act_on_children(
    conn: Connection,
    changes: Changes,
    memory: Memory,
    requests: list[tuple[JobRequest, JobRow]],
    rows: dict[JobKey, JobRow],
) -> None:
    """Children of arrays whose children exist."""
    if not requests:
        return
    waiters = await ready.containing(conn, [request.key for request, _ in requests])
    taken: dict[Waiter, list[int]] = defaultdict(list)
    for request, parent in requests:
        key, row = request.key, rows.get(request.key)
        if parent.array_size is None or key.array_index >= parent.array_size:
            continue
        waiter = waiters.get(key)
        if waiter is not None:
            taken[waiter].append(key.array_index)
            await _fail_child(conn, changes, request, row, JobStatus.RUNNABLE)
        elif row is None or row.status is JobStatus.PENDING:
            if request.terminate:
                await _fail_child(conn, changes, request, row, JobStatus.PENDING)
            else:
                await job_transition.insert_children(
                    conn, [key], JobStatus.PENDING, request.reason, cancelled=True
                )
        elif request.terminate:
            _stop_live(changes, memory, request)
    await _cut(conn, changes, taken)


async def _fail_child(
    conn: Connection,
    changes: Changes,
    request: JobRequest,
    row: JobRow | None,
    before: JobStatus,
) -> None:
    if row is None:
        await job_transition.insert_children(
            conn,
            [request.key],
            JobStatus.PENDING,
            request.reason,
            cancelled=not request.terminate,
            terminated=request.terminate,
        )
    else:
        await job_transition.flag(conn, [_flag(request)])
    changes.count(request.key, before, JobStatus.FAILED)
    changes.fail(request.key, request.reason, 0 if row is None else row.attempt)


async def _cut(conn: Connection, changes: Changes, taken: Mapping[Waiter, Iterable[int]]) -> None:
    """Takes children out of the middle of an array's entries; the others wait as long as before."""
    await ready.take(conn, [(w.job_queue, w.entry, w.entry.end_index) for w in taken])
    for waiter, indexes in taken.items():
        entry = waiter.entry
        changes.demand[entry.shape_id] -= entry.end_index - entry.next_index
        first = entry.next_index
        for index in [*sorted(indexes), entry.end_index]:
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


async def _act_on_arrays(
    conn: Connection,
    changes: Changes,
    memory: Memory,
    requests: Iterable[tuple[JobRequest, JobRow]],
) -> list[JobRequest]:
    """Arrays whose children exist, child by child up to a bound; returns what is left."""
    allowed = CHILDREN_LIMIT
    left: list[JobRequest] = []
    for request, parent in requests:
        if parent.status.final or parent.array_size is None:
            continue
        end = min(request.first_index + allowed, parent.array_size)
        if end > request.first_index:
            await _act_on_array(conn, changes, memory, request, end)
            allowed -= end - request.first_index
        if end < parent.array_size:
            left.append(replace(request, first_index=end))
    return left


async def _act_on_array(
    conn: Connection, changes: Changes, memory: Memory, request: JobRequest, end: int
) -> None:
    """Some children of an array: those not placed fail, and on terminate those placed stop.

    From the first of them on no child of the array is placed that never was.
    """
    job_id = request.key.job_id
    await job_transition.flag(conn, [_flag(request)])
    for shape_id, count in (await ready.remove_new(conn, job_id)).items():
        changes.demand[shape_id] -= count
        changes.count(JobKey(job_id, 0), JobStatus.RUNNABLE, JobStatus.PENDING, count)
    rows = await job_transition.load_children(conn, job_id, request.first_index, end)
    keys = [JobKey(job_id, index) for index in range(request.first_index, end)]
    waiting = {key for key in keys if key not in rows or rows[key].status in _WAITING}
    retried = await ready.containing(
        conn, [k for k, row in rows.items() if row.status is JobStatus.RUNNABLE]
    )
    await _cut(conn, changes, {waiter: [key.array_index] for key, waiter in retried.items()})
    # Counted as PENDING first, so that all that fail are moved in one way.
    for key in retried:
        changes.count(key, JobStatus.RUNNABLE, JobStatus.PENDING)
    # Flags are noted on unfinished rows: before the moves that finish them.
    await job_transition.flag(
        conn, [_flag(replace(request, key=key)) for key in sorted(waiting & rows.keys())]
    )
    await fail_waiting(
        conn,
        changes,
        waiting,
        request.reason,
        rows,
        cancelled=not request.terminate,
        terminated=request.terminate,
    )
    if request.terminate:
        for key in keys:
            _stop_live(changes, memory, replace(request, key=key))


async def apply_deletions(this: Pass) -> bool:
    """Ends the jobs of queues that are being deleted, and removes those that are empty.

    True if more is to do.
    """
    more = False
    for queue in [q for q in this.memory.topology.queues.values() if q.deleting]:
        more |= await _end_jobs(this, queue.name)
    return more


async def _end_jobs(this: Pass, queue: str) -> bool:
    """Ends some jobs of a queue, or removes it if there are none; True if more is to do."""
    memory = this.memory
    paused = memory.aside.paused("deletion")
    found = await job_transition.unfinished_of_queue(this.conn, queue, REQUEST_LIMIT + len(paused))
    rows = [row for row in found if row.key not in paused][:REQUEST_LIMIT]
    goes_on = len(rows) == REQUEST_LIMIT

    async def end(part: Sequence[JobRow]) -> None:
        requests = {
            row.key: JobRequest(0, row.key, terminate=True, reason=QUEUE_DELETED) for row in part
        }
        keyed = {row.key: row for row in part}
        left = await _act(this.conn, this.changes, memory, requests, keyed)
        # An array that was not begun is found again.
        begun = [request for request in left if request.first_index > 0]
        await job_request.keep(this.conn, begun)
        nonlocal goes_on
        goes_on = goes_on or bool(left)

    async def remove(_: Sequence[str]) -> None:
        if await queue_deletion.delete_unused(this.conn, queue):
            del memory.topology.queues[queue]

    tried = await this.act(rows, end, lambda row: memory.refs_of(row.key.job_id))
    for row, error in tried.failed:
        memory.aside.add("deletion", row.key, error, job_id=str(row.key))
    if not found and queue not in paused:
        for name, error in (await this.act([queue], remove)).failed:
            memory.aside.add("deletion", name, error, job_queue=name)
    return goes_on or bool(tried.left)
