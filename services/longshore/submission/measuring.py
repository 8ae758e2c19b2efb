"""What was submitted, counted by queue once it is committed."""

from prometheus_client import Counter

from longshore.runtime.metrics import Departures
from longshore.state.pool import Pool, connection
from longshore.state.submission import job_queue

SUBMITTED = Counter(
    "longshore_jobs_submitted_total",
    "Jobs submitted, an array as its children and a multi-node job as one.",
    ["queue"],
)

#: Queues of which something was counted.
_seen: set[str] = set()
_gone = Departures()


def count_submitted(queue: str, size: int | None) -> None:
    """Counts a job, or an array as its children."""
    _seen.add(queue)
    SUBMITTED.labels(queue).inc(size or 1)


async def forget_queues(pool: Pool) -> None:
    """Shows no more what was counted of queues that are gone."""
    async with connection(pool) as conn:
        known = await job_queue.names(conn)
    for queue in _gone.gone(_seen, known):
        _seen.discard(queue)
        SUBMITTED.remove(queue)
