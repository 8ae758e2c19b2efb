"""Admission: the scheduler's first look at submitted jobs.

A job whose dependencies have all succeeded, or that has none, is RUNNABLE at once (an array is
spawned); one that still waits is PENDING; one with a failed dependency fails, and so does one that
propagates more tags than an attempt may have. Only the scheduler
ends jobs, so nothing can end between this look and the next time that ended jobs are followed.
"""

import uuid
from collections import defaultdict
from collections.abc import Sequence

from longshore.domain.checks import TAGS_MAX
from longshore.domain.job.job import (
    DEPENDENCY_FAILED,
    QUEUE_DELETED,
    TOO_MANY_TAGS,
    JobStatus,
)
from longshore.domain.job.life import Dependency, outlook
from longshore.scheduler.following import make_ready
from longshore.scheduler.isolating import Pass
from longshore.state.scheduler import job_dependency, job_transition, topology
from longshore.state.scheduler.job_transition import JobRow

#: Most jobs admitted in one transaction.
ADMISSION_LIMIT = 1_000


async def admit(this: Pass) -> bool:
    """Admits the oldest SUBMITTED jobs; True if there may be more."""
    memory = this.memory
    paused = memory.aside.paused("job")
    found = await job_transition.submitted(this.conn, ADMISSION_LIMIT + len(paused))
    rows = [row for row in found if row.key not in paused][:ADMISSION_LIMIT]
    if any(row.job_queue not in memory.topology.queues for row in rows):
        # A queue may be younger than what is known of queues: word of it may come after its jobs.
        memory.topology = await topology.load(this.conn)

    async def act(part: Sequence[JobRow]) -> None:
        await _admit(this, part)

    tried = await this.act(rows, act)
    for row, error in tried.failed:
        memory.aside.add("job", row.key, error, job_id=str(row.key))
    return bool(tried.left) or len(rows) == ADMISSION_LIMIT


async def _admit(this: Pass, rows: Sequence[JobRow]) -> None:
    conn, changes = this.conn, this.changes
    edges: dict[uuid.UUID, list[Dependency]] = defaultdict(list)
    for edge in await job_dependency.of_jobs(conn, [row.key.job_id for row in rows]):
        edges[edge.job_id].append(edge)
    tagged = await job_transition.with_more_tags(conn, [row.key.job_id for row in rows], TAGS_MAX)
    admitted: list[tuple[uuid.UUID, JobStatus, int]] = []
    now_ready: list[JobRow] = []
    for row in rows:
        queue = this.memory.topology.queues.get(row.job_queue)
        left, failed = outlook(edges[row.key.job_id])
        if queue is None or queue.deleting:
            changes.fail(row.key, QUEUE_DELETED, 0)
        elif failed:
            changes.fail(row.key, DEPENDENCY_FAILED, 0)
        elif row.key.job_id in tagged:
            changes.fail(row.key, TOO_MANY_TAGS, 0)
        elif left:
            admitted.append((row.key.job_id, JobStatus.PENDING, left))
            changes.event(row.key, 0, JobStatus.PENDING)
        elif row.array_size is not None:
            admitted.append((row.key.job_id, JobStatus.PENDING, 0))
            changes.event(row.key, 0, JobStatus.PENDING)
            now_ready.append(row)
        else:
            now_ready.append(row)
    await job_transition.admit(conn, admitted)
    await make_ready(conn, changes, now_ready)
