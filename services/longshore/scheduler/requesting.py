"""Requests to cancel and to terminate, and the end of a queue's jobs when the queue is deleted.

What becomes of the jobs is `longshore.domain.job.asking`'s to decide; here what it needs is read,
of large arrays so many children a tick.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from longshore.domain.job.changes import Changes
from longshore.domain.job.happening import StopAsked
from longshore.domain.job.job import QUEUE_DELETED, WHOLE, JobKey
from longshore.domain.job.life import advance
from longshore.domain.job.record import JobFacts
from longshore.domain.job.snapshot import JobsSnapshot
from longshore.scheduler.isolating import Pass
from longshore.scheduler.memory import Memory
from longshore.state.pool import Connection
from longshore.state.scheduler import array_job, job_request, job_transition, ready
from longshore.state.scheduler.job_request import JobRequest
from longshore.state.submission import queue_deletion

#: Most requests acted on in one transaction.
REQUEST_LIMIT = 500
#: Most children of arrays that were asked for as a whole, acted on in one transaction.
CHILDREN_LIMIT = 2_000


@dataclass(slots=True)
class _Wish:
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
    limit = REQUEST_LIMIT + len(paused)
    found = await this.part("requests", lambda: job_request.pending(this.conn, limit), ())
    requests = [one for one in found if one.request_id not in paused][:REQUEST_LIMIT]
    asked = _choose(requests)
    goes_on = sum(len(one.ids) for one in asked) < len(requests) or len(requests) == REQUEST_LIMIT

    async def act(part: Sequence[_Wish]) -> None:
        unique = {one.request.key: one.request for one in part}
        keys = [key for one in unique for key in (one, one.parent)]
        rows = await job_transition.load(this.conn, keys)
        left = await act_on(this.conn, this.changes, memory, unique, rows)
        await job_request.done(this.conn, [request_id for one in part for request_id in one.ids])
        await job_request.keep(this.conn, left)
        nonlocal goes_on
        goes_on = goes_on or bool(left)

    tried = await this.act(asked, act, lambda one: memory.refs_of(one.job_id))
    for one, error in tried.failed:
        for request_id in one.ids:
            memory.aside.add("request", request_id, error, job_id=str(one.request.key))
    return goes_on or bool(tried.left)


def _choose(requests: Iterable[JobRequest]) -> list[_Wish]:
    """What can be acted on together: of one job either the whole or children.

    Terminate beats cancel. The rest waits for the next transaction.
    """
    chosen: dict[JobKey, _Wish] = {}
    whole: dict[uuid.UUID, bool] = {}
    deferred: set[uuid.UUID] = set()
    for request in requests:
        key = request.key
        is_whole = key.array_index == WHOLE
        if key.job_id in deferred or whole.setdefault(key.job_id, is_whole) is not is_whole:
            deferred.add(key.job_id)
            continue
        asked = chosen.setdefault(key, _Wish(request))
        asked.ids.append(request.request_id)
        if _goes_further(request, asked.request):
            asked.request = request
    return list(chosen.values())


def _goes_further(request: JobRequest, other: JobRequest) -> bool:
    """Whether a request asks for all that another one still asks for, and more."""
    if request.terminate is not other.terminate:
        return request.terminate
    return request.first_index < other.first_index


async def act_on(
    conn: Connection,
    changes: Changes,
    memory: Memory,
    requests: dict[JobKey, JobRequest],
    rows: dict[JobKey, JobFacts],
) -> list[JobRequest]:
    """Acts on requests; returns what is left of those on large arrays."""
    arrays = await array_job.load(
        conn, [key.job_id for key in requests if _row_is_array(rows.get(key.parent))]
    )
    asked: list[StopAsked] = []
    left: list[JobRequest] = []
    known, allowed = dict(rows), CHILDREN_LIMIT
    for key, request in requests.items():
        row = rows.get(key)
        first = end = 0
        if key.job_id in arrays and key.array_index == WHOLE and row and not row.status.final:
            size = row.array_size or 0
            first, end = request.first_index, min(request.first_index + allowed, size)
            allowed -= end - first
            if end < size:
                left.append(replace(request, first_index=end))
            if end <= first:
                continue
            known |= await job_transition.load_children(conn, key.job_id, first, end)
        asked.append(StopAsked(key, request.terminate, request.reason, first, end))
    runnable = await ready.containing(conn, [key for key in requests if key.is_child])
    jobs = JobsSnapshot(rows=known, runnable=runnable, spawned=arrays, attempts=memory)
    changes.add(advance(jobs, asked, changes.now))
    return left


def _row_is_array(row: JobFacts | None) -> bool:
    return row is not None and row.array_size is not None


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
    limit = REQUEST_LIMIT + len(paused)
    found = await this.part(
        "deletions", lambda: job_transition.unfinished_of_queue(this.conn, queue, limit), None
    )
    if found is None:
        return False
    rows = [row for row in found if row.key not in paused][:REQUEST_LIMIT]
    goes_on = len(rows) == REQUEST_LIMIT

    async def end(part: Sequence[JobFacts]) -> None:
        requests = {
            row.key: JobRequest(0, row.key, terminate=True, reason=QUEUE_DELETED) for row in part
        }
        keyed = {row.key: row for row in part}
        left = await act_on(this.conn, this.changes, memory, requests, keyed)
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
