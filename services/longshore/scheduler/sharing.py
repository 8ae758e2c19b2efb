"""Shares of queues that have a policy: what they use, as the scheduler keeps it.

What attempts hold counts from their placement to their end. The mirror collects the differences of
a transaction, and they are settled at its one moment; the record follows within a second, and what
it has is true until the next change, so that a successor goes on from there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from longshore.domain.fair_share import Ledger, Share, Usage
from longshore.domain.job.record import LiveAttempt
from longshore.scheduler.apart import apart, note, nothing
from longshore.state.pool import Connection
from longshore.state.scheduler import share_usage
from longshore.state.scheduler.topology import Topology

STORE_INTERVAL = timedelta(seconds=1)
FORGET_INTERVAL = timedelta(seconds=60)


@dataclass(slots=True)
class Shares:
    """What shares use and used lately."""

    ledger: Ledger = field(default_factory=Ledger)
    #: vCPUs, in thousandths, that attempts took and gave back and that are not settled yet.
    _differences: Counter[Share] = field(default_factory=Counter)
    #: Those whose record is not up to date.
    _unstored: set[Share] = field(default_factory=set)
    _stored_at: datetime | None = None
    _forgot_at: datetime | None = None

    @classmethod
    def recorded(cls, usages: Mapping[Share, Usage]) -> "Shares":
        """Shares as they are on record, to be told of all attempts that are live."""
        shares = cls(Ledger(dict(usages)))
        for share, usage in usages.items():
            shares._differences[share] -= usage.running_milli
        return shares

    def hold(self, live: LiveAttempt) -> None:
        """An attempt takes what it holds."""
        if live.share:
            self._differences[live.job_queue, live.share] += live.held.vcpu_milli

    def release(self, live: LiveAttempt) -> None:
        """An attempt gives back what it held."""
        if live.share:
            self._differences[live.job_queue, live.share] -= live.held.vcpu_milli

    def settle(self, topology: Topology, now: datetime) -> None:
        """Counts what attempts took and gave back as of now."""
        differences, self._differences = self._differences, Counter()
        for share, milli in differences.items():
            queue = topology.queues.get(share[0])
            if milli and queue is not None and queue.policy is not None:
                self.ledger.change(share, milli, now, queue.policy)
                self._unstored.add(share)

    def advance(self, topology: Topology, now: datetime) -> None:
        """Brings all up to date, before their policies may change."""
        self.settle(topology, now)
        for share, usage in self.ledger.usages.items():
            queue = topology.queues.get(share[0])
            if queue is not None and queue.policy is not None:
                usage.advance(now, queue.policy.window_seconds)
                self._unstored.add(share)

    async def keep(self, conn: Connection, topology: Topology, now: datetime) -> None:
        """Puts changes on record, and forgets what no longer counts."""
        self.settle(topology, now)
        if self._unstored and _is_due(self._stored_at, STORE_INTERVAL, now):
            self._stored_at = now
            self._unstored = await self._store(conn, self._unstored)
        if self.ledger.usages and _is_due(self._forgot_at, FORGET_INTERVAL, now):
            self._forgot_at = now
            over = [share for share in self.ledger.usages if self._is_over(share, topology, now)]
            for share in over:
                del self.ledger.usages[share]
                self._unstored.discard(share)
            await self._forget(conn, over)

    async def _store(self, conn: Connection, shares: Iterable[Share]) -> set[Share]:
        """Puts shares on record; returns those that could not be."""

        async def store(part: Sequence[Share]) -> None:
            await share_usage.store(conn, {share: self.ledger.usages[share] for share in part})

        tried = await apart(conn, sorted(shares), store, nothing)
        for share, error in tried.failed:
            note("share", error, job_queue=share[0], share=share[1])
        return {*tried.left, *(share for share, _ in tried.failed)}

    @staticmethod
    async def _forget(conn: Connection, shares: Sequence[Share]) -> None:
        """Drops the record of shares. What stays does no harm: it is read by the next leader."""

        async def forget(part: Sequence[Share]) -> None:
            await share_usage.forget(conn, part)

        for share, error in (await apart(conn, shares, forget, nothing)).failed:
            note("share", error, job_queue=share[0], share=share[1])

    def _is_over(self, share: Share, topology: Topology, now: datetime) -> bool:
        queue = topology.queues.get(share[0])
        if queue is None or queue.policy is None:
            return True
        return self.ledger.usages[share].is_negligible(now, queue.policy.window_seconds)


def _is_due(before: datetime | None, interval: timedelta, now: datetime) -> bool:
    return before is None or now - before >= interval
