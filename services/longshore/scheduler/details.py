"""What assignments need to know of jobs, kept while it is used as far as it never changes."""

from collections import OrderedDict
from collections.abc import Iterable
from uuid import UUID

from longshore.state.pool import Connection
from longshore.state.scheduler import job_transition
from longshore.state.scheduler.job_transition import JobDetails

#: Bytes of jobs' unchanging details that are kept in memory.
DETAILS_BYTES = 64 * 1024 * 1024
#: What the details of a job take besides what it runs, about.
_DETAILS_LEAST = 2 * 1024


class DetailsCache:
    """Details of jobs, those used last kept as far as their bytes go.

    Tags may change at any time and are read when an attempt is made, as AWS has it: jobs that
    propagate some are not kept.
    """

    def __init__(self, most_bytes: int = DETAILS_BYTES) -> None:
        self._most_bytes = most_bytes
        self._known: OrderedDict[UUID, JobDetails] = OrderedDict()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """What is kept."""
        return self._bytes

    async def get(self, conn: Connection, job_ids: Iterable[UUID]) -> dict[UUID, JobDetails]:
        """Details of jobs by the id of the single job or parent."""
        wanted = set(job_ids)
        missing = wanted - self._known.keys()
        found = {job_id: self._known[job_id] for job_id in wanted - missing}
        for job_id in found:
            self._known.move_to_end(job_id)
        if missing:
            new = await job_transition.details(conn, missing)
            found |= new
            kept = {job_id: job for job_id, job in new.items() if job.tags is None}
            self._known.update(kept)
            self._bytes += sum(map(_size, kept.values()))
        while self._bytes > self._most_bytes:
            _, dropped = self._known.popitem(last=False)
            self._bytes -= _size(dropped)
        return found

    def forget(self, job_id: UUID) -> None:
        """Reads a job anew: its details have changed."""
        if (job := self._known.pop(job_id, None)) is not None:
            self._bytes -= _size(job)

    def clear(self) -> None:
        """Reads all anew: others may have changed them."""
        self._known.clear()
        self._bytes = 0


def _size(job: JobDetails) -> int:
    origins = 4 * len(job.origins.pairs) if job.origins else 0
    runs = sum(len(one or b"") for one in (job.container, job.nodes, job.task))
    return _DETAILS_LEAST + runs + origins
