"""Shares of queues that have a policy: what they use, as the scheduler keeps it.

What attempts hold counts from their placement to their end. The mirror collects the differences of
a transaction, and they are settled at its one moment; the record follows within a second, and what
it has is true until the next change, so that a successor goes on from there.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from longshore.domain.fair_share import SharePolicy, Standing, Usage, standing
from longshore.state.pool import Connection
from longshore.state.scheduler import share_usage
from longshore.state.scheduler.attempt import LiveAttempt
from longshore.state.scheduler.share_usage import Share
from longshore.state.scheduler.topology import Topology

STORE_INTERVAL = timedelta(seconds=1)
FORGET_INTERVAL = timedelta(seconds=60)


@dataclass(slots=True)
class Shares:
    """What shares use and used lately."""

    usages: dict[Share, Usage] = field(default_factory=dict)
    #: vCPUs, in thousandths, that attempts took and gave back and that are not settled yet.
    _differences: Counter[Share] = field(default_factory=Counter)
    #: Those whose record is not up to date.
    _unstored: set[Share] = field(default_factory=set)
    _stored_at: datetime | None = None
    _forgot_at: datetime | None = None

    @classmethod
    def recorded(cls, usages: Mapping[Share, Usage]) -> "Shares":
        """Shares as they are on record, to be told of all attempts that are live."""
        shares = cls(dict(usages))
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
                usage = self.usages.setdefault(share, Usage(now))
                usage.change(milli, now, queue.policy.window_seconds)
                self._unstored.add(share)

    def advance(self, topology: Topology, now: datetime) -> None:
        """Brings all up to date, before their policies may change."""
        self.settle(topology, now)
        for share, usage in self.usages.items():
            queue = topology.queues.get(share[0])
            if queue is not None and queue.policy is not None:
                usage.advance(now, queue.policy.window_seconds)
                self._unstored.add(share)

    def standings(
        self, queue: str, policy: SharePolicy, shares: Iterable[str], now: datetime
    ) -> dict[str, Standing]:
        """Where shares of a queue stand."""
        return {
            share: standing(share, self.usages.get((queue, share)), policy, now) for share in shares
        }

    def usable(
        self,
        queue: str,
        policy: SharePolicy,
        most_milli: int,
        waiting: Collection[str],
        now: datetime,
    ) -> int:
        """vCPUs, in thousandths, that may be taken before what is reserved for shares to come.

        Active are those of which jobs are RUNNABLE or live, or were live lately. One whose jobs
        wait for others could not use what it gave free.
        """
        of_queue = {share: usage for (name, share), usage in self.usages.items() if name == queue}
        recent = {
            share
            for share, usage in of_queue.items()
            if usage.is_recent(now, policy.window_seconds)
        }
        used = sum(usage.running_milli for usage in of_queue.values())
        return policy.usable(most_milli, len(recent | set(waiting))) - used

    async def keep(self, conn: Connection, topology: Topology, now: datetime) -> None:
        """Puts changes on record, and forgets what no longer counts."""
        self.settle(topology, now)
        if self._unstored and _is_due(self._stored_at, STORE_INTERVAL, now):
            self._stored_at = now
            await share_usage.store(conn, {share: self.usages[share] for share in self._unstored})
            self._unstored.clear()
        if self.usages and _is_due(self._forgot_at, FORGET_INTERVAL, now):
            self._forgot_at = now
            over = [share for share in self.usages if self._is_over(share, topology, now)]
            for share in over:
                del self.usages[share]
                self._unstored.discard(share)
            await share_usage.forget(conn, over)

    def _is_over(self, share: Share, topology: Topology, now: datetime) -> bool:
        queue = topology.queues.get(share[0])
        if queue is None or queue.policy is None:
            return True
        return self.usages[share].is_negligible(now, queue.policy.window_seconds)


def _is_due(before: datetime | None, interval: timedelta, now: datetime) -> bool:
    return before is None or now - before >= interval
