"""Reports of agents that wait for a tick, bounded by their bytes and their number."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from longshore.domain.job.record import AttemptReport
from longshore.scheduler.wire.session import Session

#: Most reports and bytes of reports that wait; more make the streams wait.
INBOX_LIMIT = 2_000
INBOX_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Report:
    """A batch of changes and where to acknowledge it.

    Without a session: made by the scheduler itself.
    """

    changes: list[AttemptReport]
    session: Session | None = None
    sequence: int = 0
    #: Bytes on the wire.
    size: int = 0


class Inbox:
    """What was reported, in order of arrival. Who brings more than there is room for waits."""

    def __init__(self, limit: int = INBOX_LIMIT, most_bytes: int = INBOX_BYTES) -> None:
        self._limit = limit
        self._most_bytes = most_bytes
        self._reports: deque[Report] = deque()
        self._bytes = 0
        self._taken = asyncio.Condition()

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._reports

    async def put(self, report: Report) -> None:
        """Adds a report once there is room for it; an empty inbox takes any."""
        async with self._taken:
            await self._taken.wait_for(lambda: self._has_room(report))
            self._reports.append(report)
            self._bytes += report.size

    async def take(self, changes: int) -> list[Report]:
        """Takes out the first reports, until they have so many changes or more."""
        taken: list[Report] = []
        async with self._taken:
            while self._reports and changes > 0:
                report = self._reports.popleft()
                self._bytes -= report.size
                changes -= len(report.changes)
                taken.append(report)
            self._taken.notify_all()
        return taken

    def put_back(self, reports: Sequence[Report]) -> None:
        """Adds reports that come before all others, whatever room there is."""
        self._reports.extendleft(reversed(reports))
        self._bytes += sum(report.size for report in reports)

    def _has_room(self, report: Report) -> bool:
        return not self._reports or (
            len(self._reports) < self._limit and self._bytes + report.size <= self._most_bytes
        )
