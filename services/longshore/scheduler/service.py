"""The scheduler's work: it leads, ticks, and listens to agents."""

import time
from collections.abc import Callable
from datetime import timedelta

from prometheus_client import Histogram

from longshore.domain.catalogue import Catalogue
from longshore.scheduler.agents import Agents
from longshore.scheduler.details import DetailsCache
from longshore.scheduler.inbox import Inbox, Report
from longshore.scheduler.instances import Silence
from longshore.scheduler.leading import Lead
from longshore.scheduler.tick import Tick, TickOutcome
from longshore.scheduler.tracing import JobTraces
from longshore.scheduler.wire.session import Session
from longshore.state.leadership import Leadership
from longshore.state.pool import Pool
from longshore.state.scheduler.agent import Health, Notice, Registration
from longshore.v1 import agent_service_pb2 as pb

#: Changes applied in one transaction.
REPORT_LIMIT = 2_000

TICKS = Histogram(
    "longshore_scheduler_tick_seconds",
    "Time of ticks that did something.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)


class Scheduler:
    """Holds a scheduling domain and schedules it.

    All changes take their turn: a tick or a registration at a time.
    """

    def __init__(  # noqa: PLR0913 - as many settings as it has
        self,
        pool: Pool,
        *,
        domain: str,
        holder: str,
        catalogue: Catalogue,
        lease_seconds: float = 10.0,
        lost_seconds: float = 30.0,
        unmanaged_lost_seconds: float | None = None,
        cool_down: timedelta = timedelta(seconds=60),
        traced: float | None = None,
    ) -> None:
        """Makes a scheduler that holds nothing yet.

        Args:
            pool: connections to PostgreSQL.
            domain: the scheduling domain to hold.
            holder: name of this process in the lease.
            catalogue: instance types, to tell jobs that no instance can hold.
            lease_seconds: how long a silent holder keeps the domain.
            lost_seconds: silence after which an instance is lost that the scaler replaces.
            unmanaged_lost_seconds: the same of a machine that joined by itself; None: as long.
            cool_down: how long the scaler does not ask again for what the provider was short of.
            traced: which share of jobs' traces is kept; None: none are made.
        """
        self.lead = Lead(Leadership(pool, domain, holder, lease_seconds), cool_down)
        self.inbox = Inbox()
        details = DetailsCache()
        self.agents = Agents(self.lead, details, self.inbox, traced)
        self.traces = JobTraces(pool, traced)

        def lost() -> None:
            self.agents.clear()
            details.clear()

        self.lead.on_lost = lost
        self.lead.on_loaded = self.agents.doubt
        silence = Silence(
            lost_seconds,
            lost_seconds if unmanaged_lost_seconds is None else unmanaged_lost_seconds,
        )
        self._tick = Tick(self.lead, self.agents, details, catalogue, silence)
        self.wake: Callable[[], None] = lambda: None

    # ------------------------------------------------------------------ lease

    async def hold_lease(self) -> bool:
        """Takes or prolongs the lease; True if it is held afterwards."""
        before = self.lead.held
        after = await self.lead.hold()
        if after and not before:
            self.wake()
        return after

    async def release_lease(self) -> None:
        """Gives the domain back, so that a successor need not wait."""
        await self.lead.release()

    # ------------------------------------------------------------------ tick

    def note_topology(self) -> None:
        """Queues or environments changed: they are read again."""
        self.lead.topology_changed = True
        self.wake()

    def note_capacity(self) -> None:
        """Instances may be on their way out: their records are read again."""
        self.lead.capacity_changed = True
        self.wake()

    def note_consumables(self) -> None:
        """There is more, or less, of consumable resources: who waits for some tries again."""
        self.lead.consumables_changed = True
        self.wake()

    async def tick(self) -> bool:
        """One pass over everything; True if it changed something."""
        if not self.lead.held:
            return False
        async with self.lead.turn:
            reports = await self.inbox.take(REPORT_LIMIT)
            started = time.perf_counter()
            try:
                outcome = await self._tick.run([c for r in reports for c in r.changes])
            except BaseException:
                # How much of it a pass changed that came to nothing is not known.
                self.lead.discard()
                self.inbox.put_back(reports)
                raise
            taken = _taken(reports, outcome.left)
            self.inbox.put_back(reports[len(taken) :])
            self._send(taken, outcome)
        if outcome.busy:
            TICKS.observe(time.perf_counter() - started)
        if outcome.more or not self.inbox.empty():
            self.wake()
        return outcome.busy

    def _send(self, reports: list[Report], outcome: TickOutcome) -> None:
        """After the commit: acknowledges, assigns, drains, stops."""
        for report in reports:
            if report.session is not None:
                report.session.acknowledge(report.sequence)
        self.traces.add(outcome.ended)
        self.agents.assign(outcome.placed.attempts)
        self.agents.use_slots(outcome.placed.slots)
        self.agents.drain(outcome.drained)
        self.agents.stop(outcome.stops)
        self.agents.register_anew(outcome.astray)
        self.agents.settle_doubts()

    # ------------------------------------------------------------------ agents

    async def register(
        self, registration: Registration, session: Session
    ) -> tuple[list[pb.Assignment], list[pb.AttemptStop], bool]:
        """Takes an agent in: see `Agents.register`."""
        answer = await self.agents.register(registration, session)
        self.wake()
        return answer

    async def report(self, report: Report) -> None:
        """Takes a batch of changes; waits while too many are waiting already."""
        await self.inbox.put(report)
        self.wake()

    def health(self, instance_id: str, health: Health) -> None:
        """An agent said how its instance fares: stored with the next tick if that is news.

        Whoever takes over before hears it from the agent again.
        """
        if self.agents.health(instance_id, health):
            self.wake()

    def notice(self, notice: Notice) -> None:
        """An agent was told that its instance will be taken away: nothing new goes there.

        It is stored with the next tick. Whoever takes over before hears it from the agent again.
        """
        self.agents.notice(notice)
        self.wake()


def _taken(reports: list[Report], left: int) -> list[Report]:
    """The first reports, of which no change is among the last ones that are left."""
    taken = sum(len(report.changes) for report in reports) - left
    for number, report in enumerate(reports):
        taken -= len(report.changes)
        if taken < 0:
            return reports[:number]
    return reports
