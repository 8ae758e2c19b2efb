"""What users ask of jobs that are there, as submission recorded it: taken, or kept for later."""

from collections.abc import Sequence
from dataclasses import dataclass

from longshore.domain.job.job import JobKey
from longshore.state.pool import Connection
from longshore.state.queries import load_queries
from longshore.state.submission.job_control import CANCEL, TERMINATE

_SQL = load_queries("job_request")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A request; `terminate` is False for a cancel."""

    request_id: int
    key: JobKey
    terminate: bool
    reason: str
    #: On an array: from which child on it is still to be acted on.
    first_index: int = 0


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
