"""What users ask of jobs that are there: recorded here, acted on by the scheduler."""

from collections.abc import Sequence
from dataclasses import dataclass

from longshore.domain.job.job import JobKey
from longshore.state.pool import Connection
from longshore.state.queries import load_history_queries, load_queries

_SQL = load_queries("job_request")
_ALL = load_history_queries("job_request")

CANCEL = "CANCEL"
TERMINATE = "TERMINATE"


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A request; `terminate` is False for a cancel."""

    request_id: int
    key: JobKey
    terminate: bool
    reason: str
    #: On an array: from which child on it is still to be acted on.
    first_index: int = 0


async def find_targets(conn: Connection, keys: Sequence[JobKey]) -> dict[JobKey, bool]:
    """Those of the jobs that exist, and whether each is over."""
    found: dict[JobKey, bool] = {}
    for queries in (_SQL, _ALL):
        missing = [key for key in keys if key not in found]
        if missing:
            rows = await conn.fetch(
                queries["find_targets"],
                [key.job_id for key in missing],
                [key.array_index for key in missing],
            )
            found |= {JobKey(row["job_id"], row["array_index"]): row["is_final"] for row in rows}
    return found


async def insert_requests(conn: Connection, keys: Sequence[JobKey], kind: str, reason: str) -> None:
    """Records a request for each job, in order, and wakes the scheduler."""
    await conn.execute(
        _SQL["insert_requests"],
        [key.job_id for key in keys],
        [key.array_index for key in keys],
        kind,
        reason,
    )
    await conn.execute(_SQL["notify_jobs"])


async def pending(conn: Connection, limit: int) -> list[JobRequest]:
    """The oldest requests."""
    return [
        JobRequest(
            row["request_id"],
            JobKey(row["job_id"], row["array_index"]),
            row["kind"] == TERMINATE,
            row["reason"],
            row["first_index"],
        )
        for row in await conn.fetch(_SQL["pending"], limit)
    ]


async def done(conn: Connection, request_ids: Sequence[int]) -> None:
    """Deletes requests that were acted on."""
    if request_ids:
        await conn.execute(_SQL["done"], list(request_ids))


async def keep(conn: Connection, requests: Sequence[JobRequest]) -> None:
    """Keeps what is left of requests on arrays for a later tick."""
    if requests:
        await conn.execute(
            _SQL["keep"],
            [r.key.job_id for r in requests],
            [TERMINATE if r.terminate else CANCEL for r in requests],
            [r.reason for r in requests],
            [r.first_index for r in requests],
        )
