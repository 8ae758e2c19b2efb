"""Changes on their way to the scheduler: folded, numbered, journaled, sent until acknowledged."""

import asyncio
from collections.abc import Callable, Iterator

import structlog

from longshore.agent.attempts.attempt import AttemptKey
from longshore.agent.reporting.journal import Journal
from longshore.rpc.batch import fitting
from longshore.v1 import agent_service_pb2 as pb

log = structlog.get_logger()

#: Most changes in one report, whatever their bytes.
BATCH_CHANGES = 1000
#: How long a change waits for company, in seconds.
GATHER_SECONDS = 0.003
#: Between two tries to make a report durable, in seconds.
RETRY_SECONDS = 1.0


class Outbox:
    """Takes changes in, and lets reports out once they are durable.

    Until it is taken into a report a change stands for its attempt: a later one takes its place.
    Both tell all that is known, so an attempt that starts and ends within a batch costs one change.
    """

    def __init__(self, journal: Journal, acknowledged: Callable[[pb.AttemptChange], None]) -> None:
        """Makes an outbox.

        Args:
            journal: keeps reports; those it holds already are sent first.
            acknowledged: called with every change that the scheduler has stored.
        """
        self._journal = journal
        self._acknowledged = acknowledged
        self._pending: dict[AttemptKey, pb.AttemptChange] = {}
        self._waiting: dict[AttemptKey, asyncio.Event] = {}
        self._arrived = asyncio.Event()
        self._durable_sequence = journal.sequence
        #: Set when there may be something to send.
        self.ready = asyncio.Event()
        if journal.reports:
            self.ready.set()

    @property
    def empty(self) -> bool:
        """Whether the scheduler has all there is."""
        return not self._pending and not self._journal.reports

    def add(self, change: pb.AttemptChange, journaled: asyncio.Event | None = None) -> None:
        """Takes a change; the event is set once the change is in the journal for good."""
        key = AttemptKey.of(change.key)
        self._pending[key] = change
        if journaled is not None:
            self._waiting[key] = journaled
        self._arrived.set()

    def unsent(self, sequence: int) -> Iterator[pb.AgentReport]:
        """The durable reports after a sequence number, in order."""
        # A copy: acknowledgements take reports away while these are being sent.
        for number, report in list(self._journal.reports.items()):
            if sequence < number <= self._durable_sequence:
                yield report

    def acknowledge(self, sequence: int) -> None:
        """Lets all reports up to a sequence number go."""
        for report in self._journal.acknowledged(min(sequence, self._durable_sequence)):
            for change in report.changes:
                self._acknowledged(change)

    async def run(self) -> None:
        """Makes reports of changes until cancelled."""
        while True:
            await self._arrived.wait()
            await asyncio.sleep(GATHER_SECONDS)
            while self._pending:
                await self._seal()
            self._arrived.clear()

    async def _seal(self) -> None:
        keys = list(self._pending)[: fitting(self._pending.values(), BATCH_CHANGES)]
        report = pb.AgentReport(
            sequence=self._journal.sequence + 1,
            changes=[self._pending.pop(key) for key in keys],
        )
        events = [self._waiting.pop(key) for key in keys if key in self._waiting]
        self._journal.report(report)
        await self._make_durable()
        self._durable_sequence = report.sequence
        self.ready.set()
        for event in events:
            event.set()

    async def _make_durable(self) -> None:
        """Waits for a disk that is full or broken: attempts run on, nothing is told meanwhile."""
        while True:
            try:
                await self._journal.flush()
            except OSError as error:
                log.warning("journal.not_written", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return
