"""Changes of jobs that wait: recorded for the scheduler, their outcomes taken away."""

import uuid

from longshore.domain.job.altering import Alteration
from longshore.domain.job.job import JobStatus
from longshore.domain.request.update import Change, WaitingJob
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("job_update_request")


async def find(conn: Connection, job_id: uuid.UUID) -> WaitingJob | None:
    """A job as it is now, None if it is not among the live ones."""
    for row in await conn.fetch(_SQL["find_waiting"], job_id):
        return WaitingJob(
            job_queue=row["job_queue"],
            share=row["share_identifier"],
            status=JobStatus(row["status"]),
            is_multi_node=row["num_nodes"] is not None,
            detail=row["detail"],
        )
    return None


async def claim(conn: Connection, job_id: uuid.UUID) -> int | None:
    """Begins to record a change, before what it is made from is read.

    Returns:
        Its id; None while another change of the job is under way.
    """
    update_id: int | None = await conn.fetchval(_SQL["claim_update"], job_id)
    return update_id


async def fill(conn: Connection, update_id: int, change: Change) -> None:
    """Records a change, and wakes the scheduler to decide it."""
    needs = change.needs
    await conn.execute(
        _SQL["fill_update"],
        update_id,
        change.job_queue,
        change.share,
        change.priority,
        needs.vcpu_milli if needs else None,
        needs.memory_mib if needs else None,
        needs.gpus if needs else None,
        change.timeout_seconds,
        change.detail,
        change.container,
    )
    await conn.execute(_SQL["notify_jobs"])


async def outcome(conn: Connection, update_id: int) -> Alteration | None:
    """Takes away what became of a change; None while it is not decided."""
    found = await conn.fetchval(_SQL["take_outcome"], update_id)
    return None if found is None else Alteration(found)


async def withdraw(conn: Connection, update_id: int) -> bool:
    """Takes back a change that is not decided; False if it is."""
    return await conn.fetchval(_SQL["withdraw_update"], update_id) is not None


async def prune(conn: Connection, seconds: float) -> int:
    """Forgets outcomes that nobody took for so long; returns how many."""
    return int(await conn.fetchval(_SQL["prune_updates"], seconds))
