"""What users ask of jobs that are there: recorded as requests, which the scheduler acts on."""

from collections.abc import Sequence

from longshore.domain.job.job import JobKey
from longshore.state.pool import Connection
from longshore.state.queries import load_history_queries, load_queries

_SQL = load_queries("job_control")
_ALL = load_history_queries("job_control")

CANCEL = "CANCEL"
TERMINATE = "TERMINATE"


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
