"""Users' changes of jobs that wait.

What becomes of one is `longshore.domain.job.altering`'s to decide; here what it needs is read, and
those who asked are told.
"""

from collections.abc import Sequence
from uuid import UUID

from longshore.domain.job.altering import Alteration, judge
from longshore.domain.job.happening import Altered
from longshore.domain.job.job import JobKey
from longshore.domain.job.life import advance
from longshore.domain.job.record import NewEntry
from longshore.domain.job.snapshot import JobsSnapshot
from longshore.scheduler.details import DetailsCache
from longshore.scheduler.isolating import Pass
from longshore.state.scheduler import array_job, job_transition, job_update, ready
from longshore.state.scheduler.job_update import JobUpdate

#: Most changes acted on in one transaction.
UPDATE_LIMIT = 100


async def apply_updates(this: Pass, details: DetailsCache) -> bool:
    """Acts on the oldest changes; True if there may be more."""
    memory = this.memory
    paused = memory.aside.paused("update")
    limit = UPDATE_LIMIT + len(paused)
    found = await this.part("updates", lambda: job_update.undecided(this.conn, limit), ())
    updates = [one for one in found if one.update_id not in paused][:UPDATE_LIMIT]

    async def act(part: Sequence[JobUpdate]) -> None:
        await _act(this, details, part)

    tried = await this.act(updates, act)
    for one, error in tried.failed:
        memory.aside.add("update", one.update_id, error, job_id=str(one.job_id))
    return bool(tried.left) or len(updates) == UPDATE_LIMIT


async def _act(this: Pass, details: DetailsCache, updates: Sequence[JobUpdate]) -> None:
    conn, changes, memory = this.conn, this.changes, this.memory
    job_ids = [one.job_id for one in updates]
    rows = await job_transition.load(conn, [JobKey(job_id) for job_id in job_ids])
    counts = await array_job.load(conn, job_ids)
    open_queues = {q.name for q in memory.topology.queues.values() if not q.deleting}
    asked: list[Altered] = []
    outcomes: dict[int, Alteration] = {}
    shapes = await job_update.shapes(conn, updates)
    for one in updates:
        key = JobKey(one.job_id)
        outcome = judge(rows.get(key), counts.get(one.job_id), moves=one.moves)
        if one.job_queue is not None and one.job_queue not in open_queues:
            outcome = Alteration.OVER
        outcomes[one.update_id] = outcome
        if outcome is Alteration.APPLIED:
            asked.append(Altered(key, one.update_id, one.moves, shapes[one.update_id]))
            details.forget(one.job_id)
    entries: dict[UUID, list[NewEntry]] = {one.key.job_id: [] for one in asked}
    for waiter in await ready.of_jobs(conn, [one.key.job_id for one in asked]):
        entry = waiter.entry
        entries[entry.job_id].append(
            NewEntry(
                waiter.job_queue,
                entry.job_id,
                entry.shape_id,
                entry.seq,
                entry.next_index,
                entry.end_index,
                entry.rank,
                entry.ready_at,
            )
        )
    decided = advance(JobsSnapshot(rows=rows, counts=counts, entries=entries), asked, changes.now)
    for new in decided.ready:
        # The shape's first job may be another one now.
        memory.parking.parked.pop(new.shape_id, None)
    changes.add(decided)
    await job_update.decide(conn, outcomes)
