"""The clock: runs a prepared workload from event to event.

Events of one time are taken together, in this order: what befalls instances, submissions, ends of
attempts, then the scheduler's pass, then the scaler's if it is due. The scaler is due a moment
(`gather`) after it was woken, and at the latest an interval after its last pass, when an instance
has been idle for long enough, and when a shortage is forgotten; once nothing has changed since a
pass that changed nothing, and time alone would not change the next one either, it is left out.

It ends when every job has, and what is left of the instances is gone or is to stay; or when nothing
is left that could happen; or at `until`.
"""

import heapq
import itertools
from dataclasses import dataclass
from datetime import timedelta

from longshore.domain.catalogue import Catalogue
from longshore.domain.consumable import Stock
from longshore.domain.errors import LimitExceeded
from longshore.domain.order import SPOT
from longshore.domain.placing import words
from longshore.domain.placing.capping import Caps
from longshore.domain.placing.waiting import blocked
from longshore.domain.request.compute_environment import compute_resources
from longshore.domain.scaling.capacity import InstanceState
from longshore.simulation.backlog import AttemptOutcome, Backlog
from longshore.simulation.clock import Clock, since_epoch
from longshore.simulation.consuming import SimulatedConsuming
from longshore.simulation.duration import microseconds
from longshore.simulation.environment import EnvironmentState, facts
from longshore.simulation.fleet import SimulatedAttempt, SimulatedFleet, SimulatedInstance
from longshore.simulation.placing import Placer
from longshore.simulation.prepare import Prepared
from longshore.simulation.provider import Event, Happening, SimulatedProvider
from longshore.simulation.scaling import Patience, SimulatedScaler
from longshore.simulation.sharing import SimulatedShares
from longshore.simulation.timeline import Timeline

#: Most points in time that a simulation looks at.
STEPS_MAX = 20_000_000
#: From being asked to stop until it is killed: so much before the end of a notice jobs are stopped.
STOP_MARGIN_US = 30_000_000


@dataclass(slots=True)
class Blocked:
    """Jobs that wait at the end and can never run as things are."""

    queue: str
    jobs: int
    reason: str


class Simulation:
    """One run. Everything that is known afterwards is in its parts."""

    def __init__(self, prepared: Prepared, *, seed: int, until_us: int) -> None:
        self.prepared = prepared
        self.seed = seed
        self.until_us = until_us
        self.clock = Clock()
        names = list(prepared.environments)
        self.backlog = Backlog(self.clock)
        self.backlog.shapes = prepared.shapes
        self.backlog.caps = Caps(prepared.caps)
        market = prepared.workload.market
        self.fleet = SimulatedFleet(
            self.clock, names, microseconds(market.minimum_billed, "minimumBilled")
        )
        self.provider = SimulatedProvider(prepared.market, seed=seed, now=self.clock.read)
        catalogue = Catalogue()
        self.environments = {
            name: EnvironmentState(
                stored,
                catalogue.resolve(compute_resources(stored).get("instanceTypes") or ()),
                stored.status,
            )
            for name, stored in prepared.environments.items()
        }
        self.shares = SimulatedShares(
            self.clock,
            prepared.policies,
            {
                queue.name: sum(
                    (prepared.environments[name].maxv_cpus or 0) * 1000
                    for name in queue.compute_environments
                )
                for queue in prepared.queues
            },
        )
        self.consuming = SimulatedConsuming(Stock(dict(prepared.consumables)))
        settings = prepared.workload.settings
        self._interval_us = microseconds(settings.scale_interval, "scaleInterval")
        self._gather_us = microseconds(settings.gather, "gather")
        self._start_us = microseconds(settings.container_start, "containerStart")
        self.scaler = SimulatedScaler(
            self.clock,
            self.backlog,
            self.fleet,
            self.provider,
            self.environments,
            prepared.queues,
            patience=Patience(
                prepared.settings,
                timedelta(microseconds=microseconds(settings.cool_down, "coolDown")),
                prepared.market.price_step,
            ),
            shares=self.shares,
            consuming=self.consuming,
            seed=seed,
        )
        self.placer = Placer(
            self.clock,
            self.backlog,
            self.fleet,
            self.environments,
            self.scaler.supply,
            self.shares,
            self.consuming,
        )
        self.timeline = Timeline(names)
        self.last_end_us = 0
        self.blocked: list[Blocked] = []
        #: Whether every job has ended.
        self.is_complete = False
        self._numbers = itertools.count()
        self._ends: list[tuple[int, int, SimulatedAttempt]] = []
        self._drains: list[tuple[int, int, SimulatedInstance]] = []
        self._arrivals = iter(prepared.jobs)
        self._next_job = next(self._arrivals, None)
        self._pass_us: int | None = 0
        #: The last pass changed nothing, and by itself none will.
        self._is_quiet = False
        self._watches_prices = any(
            (state.stored.resource_type == SPOT) for state in self.environments.values()
        )
        for job in prepared.jobs:
            self.backlog.expect(job)

    async def run(self) -> None:
        """Runs it to its end.

        Raises:
            LimitExceeded: too much happens in it.
        """
        for _ in range(STEPS_MAX):
            at = self._next_us()
            if at is None:
                break
            if at > self.until_us:
                self.clock.set(self.until_us)
                break
            self.clock.set(at)
            await self._step()
            if self._is_over():
                break
        else:
            raise LimitExceeded(f"The simulation has more than {STEPS_MAX:,} events.")
        self._close()

    # ------------------------------------------------------------------ one point in time

    def _next_us(self) -> int | None:
        """When something happens next."""
        provider_at = self.provider.next_at()
        times = [
            self._ends[0][0] if self._ends else None,
            self._drains[0][0] if self._drains else None,
            self._next_job.submit_us if self._next_job is not None else None,
            None if provider_at is None else since_epoch(provider_at),
            self._pass_us,
        ]
        return min((max(at, self.clock.us) for at in times if at is not None), default=None)

    async def _step(self) -> None:
        now = self.clock.us
        changed = False
        for event in self.provider.take_due():
            changed = True
            await self._befall(event)
        while self._next_job is not None and self._next_job.submit_us <= now:
            self.backlog.submit(self._next_job)
            self._next_job = next(self._arrivals, None)
            changed = True
        while self._ends and self._ends[0][0] <= now:
            attempt = heapq.heappop(self._ends)[2]
            if attempt.is_live:
                await self._end(attempt, self._outcome(attempt))
                changed = True
        while self._drains and self._drains[0][0] <= now:
            await self._stop_attempts(heapq.heappop(self._drains)[2])
            changed = True
        if changed:
            self._is_quiet = False
        if changed and self.backlog.runnable:
            self._place()
        if self._pass_us is not None and self._pass_us <= now:
            await self._scale()
        elif changed:
            self._pass_no_later_than(now + self._interval_us + self._gather_us)
        self.timeline.note(now, self.fleet.gauges, self.backlog.waiting, self.fleet.running)

    async def _befall(self, event: Event) -> None:
        """Something happens to an instance."""
        member = self.fleet.members.get(event.instance_id)
        if member is None:
            return
        if event.happening is Happening.BOOTED:
            if member.state is InstanceState.BOOTING:
                self.fleet.register(member)
                self.environments[member.compute_environment].failures = 0
                self.placer.unpark(self.prepared.queues, member.compute_environment)
                self._wake()
        elif event.happening is Happening.NOTICE:
            self.fleet.bills[member.compute_environment].interruptions += 1
            self.fleet.drain(member)
            if member.attempts:
                notice_us = self.prepared.market.notice // timedelta(microseconds=1)
                self._drain_by(member, self.clock.us + max(notice_us - STOP_MARGIN_US, 0))
            else:
                await self._give_up(member)
            self._wake()
        else:
            for attempt in list(member.attempts):
                await self._release(attempt, AttemptOutcome.HOST_TERMINATED)
            self.fleet.remove(member)
            self._wake()

    def _place(self) -> None:
        attempts, short = self.placer.place(self.prepared.queues)
        for attempt in attempts:
            runs = int(attempt.job.durations[attempt.index])
            end = self.clock.us + self._start_us + runs
            heapq.heappush(self._ends, (end, next(self._numbers), attempt))
        if short:
            self._wake()

    async def _end(self, attempt: SimulatedAttempt, outcome: AttemptOutcome) -> None:
        """An attempt ends; an instance that was only kept for it goes."""
        await self._release(attempt, outcome)
        await self._give_up_if_left(attempt.member)

    async def _give_up_if_left(self, member: SimulatedInstance) -> None:
        if member.state is InstanceState.LEAVING and not member.attempts:
            await self._give_up(member)

    async def _give_up(self, member: SimulatedInstance) -> None:
        self.fleet.give_up(member)
        await self.provider.terminate([member.instance_id], force=False)

    def _give_back(self, attempt: SimulatedAttempt) -> None:
        """An attempt holds nothing any more."""
        shape = self.prepared.shapes[attempt.job.shape_id]
        self.shares.end(shape, attempt)
        if attempt.main is None:
            self.consuming.end(shape)
        self.fleet.release(attempt)

    async def _release(self, attempt: SimulatedAttempt, outcome: AttemptOutcome) -> None:
        """Ends an attempt; the other nodes of a job end with its main node, which decides."""
        self._give_back(attempt)
        self.placer.freed(attempt.member)
        if attempt.main is not None:
            return
        for other in attempt.others:
            if other.is_live:
                await self._end(other, outcome)
        self.backlog.end(
            attempt.job, attempt.index, attempt.number, outcome, attempt.member.instance_id
        )
        self.last_end_us = self.clock.us

    def _outcome(self, attempt: SimulatedAttempt) -> AttemptOutcome:
        fails = self.backlog.fails(attempt.job, attempt.index, attempt.number)
        return AttemptOutcome.FAILED if fails else AttemptOutcome.SUCCEEDED

    async def _stop_attempts(self, member: SimulatedInstance) -> None:
        """The time of a draining instance is over: what is live on it is stopped, and it ends."""
        for attempt in sorted(member.attempts, key=lambda a: (a.job.seq, a.index)):
            await self._release(attempt, AttemptOutcome.HOST_TERMINATED)
        if member.instance_id in self.fleet.members:
            await self._give_up(member)

    def _drain_by(self, member: SimulatedInstance, at_us: int) -> None:
        heapq.heappush(self._drains, (at_us, next(self._numbers), member))

    # ------------------------------------------------------------------ the scaler's turn

    def _wake(self) -> None:
        self._pass_no_later_than(self.clock.us + self._gather_us)

    def _pass_no_later_than(self, at_us: int) -> None:
        if self._pass_us is None or at_us < self._pass_us:
            self._pass_us = at_us

    async def _scale(self) -> None:
        self._pass_us = None
        applied = await self.scaler.evaluate()
        now = self.clock.us
        for member, at in applied.drains:
            self._drain_by(member, max(since_epoch(at), now))
        for name in applied.turned:
            self.placer.unpark(self.prepared.queues, name)
        # What is held for nodes that cannot be had is others'.
        if self.backlog.runnable and (applied.turned or self.placer.holds_for_nodes()):
            self._place()
        dues = [at for at in (applied.due, self.scaler.next_relief_at) if at is not None]
        boots = any(m.state is InstanceState.BOOTING for m in self.fleet.members.values())
        leaves = any(m.state is InstanceState.LEAVING for m in self.fleet.members.values())
        self._is_quiet = not (applied.changed or boots or leaves or dues)
        if applied.changed or boots or dues:
            self._pass_no_later_than(now + self._interval_us + self._gather_us)
        elif self._watches_prices and self.backlog.runnable:
            step = self.prepared.market.price_step // timedelta(microseconds=1)
            self._pass_no_later_than((now // step + 1) * step)
        for at in dues:
            self._pass_no_later_than(max(since_epoch(at), now + 1))

    # ------------------------------------------------------------------ the end

    def _is_over(self) -> bool:
        """Whether all jobs have ended, and nothing of the instances will change by itself."""
        return not self.backlog.unfinished and (not self.fleet.members or self._is_quiet)

    def _close(self) -> None:
        """Settles the bills of what is still there, and says why what waits does."""
        self.timeline.note(
            self.clock.us, self.fleet.gauges, self.backlog.waiting, self.fleet.running
        )
        capped = self.placer.capped(self.prepared.queues)
        for member in list(self.fleet.members.values()):
            for attempt in list(member.attempts):
                self._give_back(attempt)
            self.fleet.give_up(member)
        self.is_complete = not self.backlog.unfinished
        catalogue = Catalogue()
        found: dict[tuple[str, str], int] = {}
        for shape_id, jobs in self.backlog.runnable.items():
            shape = self.prepared.shapes[shape_id]
            queue = next(q for q in self.prepared.queues if q.name == shape.job_queue)
            block = blocked(
                shape,
                [facts(self.environments[name]) for name in queue.compute_environments],
                catalogue,
            )
            shortages = self.placer.shortages(shape_id)
            if block:
                reason = words.blocked(block)
            elif shape_id in capped:
                reason = words.capped(capped[shape_id])
            elif shortages is not None:
                reason = words.lacks_units(shortages)
            else:
                reason = "Still waiting for capacity."
            key = (queue.name, reason)
            found[key] = found.get(key, 0) + jobs
        self.blocked = [Blocked(name, jobs, why) for (name, why), jobs in found.items()]
