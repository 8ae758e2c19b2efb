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
from longshore.domain.job.dependency import Dependency
from longshore.domain.job.happening import Submitted
from longshore.domain.job.life import advance
from longshore.domain.job.record import JobFacts
from longshore.domain.job.snapshot import JobsSnapshot
from longshore.scheduler.isolating import Pass
from longshore.scheduler.reading import read_topology
from longshore.state.pool import Connection
from longshore.state.scheduler import job_dependency, job_transition

#: Most jobs admitted in one transaction.
ADMISSION_LIMIT = 1_000
#: The same of their dependencies, of one job at least.
DEPENDENCIES_LIMIT = 20_000


async def admit(this: Pass) -> bool:
    """Admits the oldest SUBMITTED jobs; True if there may be more."""
    memory = this.memory
    paused = memory.aside.paused("job")
    limit = ADMISSION_LIMIT + len(paused)
    found = await this.part("submitted", lambda: job_transition.submitted(this.conn, limit), ())
    due = [row for row in found if row.key not in paused][:ADMISSION_LIMIT]
    rows: Sequence[JobFacts] = due
    if len(due) > 1:
        rows = await this.part("dependencies", lambda: _bounded(this.conn, due), ())
    goes_on = bool(rows) and (len(rows) < len(due) or len(due) == ADMISSION_LIMIT)
    queues = memory.topology.queues
    # A queue may be younger than what is known of queues: word of it may come after its jobs.
    if any(row.job_queue not in queues for row in rows) and not await read_topology(this):
        rows = [row for row in rows if row.job_queue in queues]

    async def act(part: Sequence[JobFacts]) -> None:
        await _admit(this, part)

    tried = await this.act(rows, act)
    for row, error in tried.failed:
        memory.aside.add("job", row.key, error, job_id=str(row.key))
    return bool(tried.left) or goes_on


async def _bounded(conn: Connection, rows: list[JobFacts]) -> list[JobFacts]:
    """The first of some jobs that together have no more dependencies than are looked at."""
    widths = await job_dependency.widths(conn, [row.key.job_id for row in rows])
    total = 0
    for number, row in enumerate(rows):
        total += widths.get(row.key.job_id, 0)
        if number and total > DEPENDENCIES_LIMIT:
            return rows[:number]
    return rows


async def _admit(this: Pass, rows: Sequence[JobFacts]) -> None:
    conn, changes = this.conn, this.changes
    edges: dict[uuid.UUID, list[Dependency]] = defaultdict(list)
    for edge in await job_dependency.of_jobs(conn, [row.key.job_id for row in rows]):
        edges[edge.job_id].append(edge)
    tagged = await job_transition.with_more_tags(conn, [row.key.job_id for row in rows], TAGS_MAX)
    arrays = [row.key.job_id for row in rows if row.array_size is not None]
    jobs = JobsSnapshot(
        rows={row.key: row for row in rows},
        edges=edges,
        rules=await job_dependency.rules(conn, arrays) if arrays else {},
        queues={q.name for q in this.memory.topology.queues.values() if not q.deleting},
        tagged=tagged,
    )
    changes.add(advance(jobs, [Submitted(row.key) for row in rows], changes.now))
