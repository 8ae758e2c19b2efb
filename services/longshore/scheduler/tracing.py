"""Traces of jobs that ended, made of what is on record of them, beside the ticks.

Which jobs ended is known from the ticks of this process and kept in memory: traces of jobs that
ended in the last moments of a scheduler that died are not made. So many wait at most; what is
beyond is dropped, counted and never waited for.
"""

from collections import deque
from collections.abc import Iterable

from prometheus_client import Counter

from longshore.domain.errors import Unavailable
from longshore.domain.job.job import JobKey
from longshore.domain.job.trace import spans
from longshore.runtime.tracing import export
from longshore.state.pool import Pool, connection
from longshore.state.views import job_trace

#: Jobs that wait, and that are read in one go.
WAITING_MOST = 50_000
BATCH = 500

DROPPED = Counter(
    "longshore_traces_dropped_total",
    "Ended jobs whose traces were not made because too many ended at one time.",
)


class JobTraces:
    """Makes the traces of jobs that ended."""

    def __init__(self, pool: Pool, ratio: float | None) -> None:
        """Makes one that has nothing to do.

        Args:
            pool: connections to PostgreSQL.
            ratio: which share of traces is kept; None: none are made.
        """
        self._pool = pool
        self._ratio = ratio
        self._ended: deque[JobKey] = deque()

    def add(self, keys: Iterable[JobKey]) -> None:
        """Notes jobs that ended, once that is committed."""
        if self._ratio is None:
            return
        self._ended.extend(keys)
        while len(self._ended) > WAITING_MOST:
            self._ended.popleft()
            DROPPED.inc()

    async def tick(self) -> None:
        """Makes the traces of all that ended.

        Raises:
            Unavailable: the database is away; what was not read waits.
        """
        while self._ended and self._ratio is not None:
            batch = [self._ended.popleft() for _ in range(min(BATCH, len(self._ended)))]
            try:
                async with connection(self._pool) as conn:
                    found = await job_trace.read(conn, batch, self._ratio)
            except Unavailable:
                self._ended.extendleft(reversed(batch))
                raise
            for job in found:
                for span in spans(job):
                    export(span)
