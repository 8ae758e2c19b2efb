"""Whether who calls may do what he asks for with jobs."""

import uuid
from collections.abc import Iterable, Sequence

from longshore.domain.errors import InvalidRequest
from longshore.domain.job.job import JobKey
from longshore.rpc.permission import SUBMIT, by, current_user, demand, of_job, permits
from longshore.state.pool import Connection, Pool, connection
from longshore.state.views import job_reading


async def check_jobs(pool: Pool, texts: Iterable[str]) -> None:
    """Checks each of some jobs; what is no job's id, or is not there, is left to others.

    Raises:
        PermissionDenied: the caller may not do this with one of them.
    """
    user = current_user()
    if user is None:
        return
    keys = [key for text in texts if (key := _key(text))]
    ids: list[uuid.UUID] = list({key.job_id: None for key in keys})
    async with connection(pool) as conn:
        found = await job_reading.submitters(conn, ids)
    for key in keys:
        if key.job_id in found:
            job = found[key.job_id]
            demand(of_job(user.arns, str(key), job.job_queue), by(job.submitted_by))


async def check_again(pool: Pool, text: str) -> None:
    """As `check_jobs` of one, for what submits it again to its queue.

    Raises:
        PermissionDenied: the caller may not, or may not submit to that queue.
    """
    await check_jobs(pool, [text])
    user, key = current_user(), _key(text)
    if user is None or key is None:
        return
    async with connection(pool) as conn:
        job = (await job_reading.submitters(conn, [key.job_id])).get(key.job_id)
    if job is not None:
        demand((user.arns.job_queue(job.job_queue),), action=SUBMIT)


async def allowed_jobs(
    conn: Connection, job_ids: Sequence[uuid.UUID]
) -> tuple[list[uuid.UUID], int] | None:
    """Those of some jobs with which the caller may do this, and how many children they have.

    None: nobody was asked who calls, and all are.
    """
    user = current_user()
    if user is None:
        return None
    found = await job_reading.submitters(conn, job_ids)
    allowed = [
        job_id
        for job_id, job in found.items()
        if permits(of_job(user.arns, str(job_id), job.job_queue), by(job.submitted_by))
    ]
    return allowed, sum(found[job_id].children for job_id in allowed)


def _key(text: str) -> JobKey | None:
    try:
        return JobKey.parse(text)
    except InvalidRequest:
        return None
