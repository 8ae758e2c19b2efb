"""The scheduler's work: the lease, the tick, registrations of agents."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Counter, Gauge, Histogram

from longshore.domain.catalogue import Catalogue
from longshore.domain.errors import Unavailable
from longshore.domain.job.job import FAILED_TO_START
from longshore.domain.job.life import Allowance
from longshore.scheduler.admission import admit
from longshore.scheduler.apart import SET_ASIDE
from longshore.scheduler.changes import Changes
from longshore.scheduler.ending import (
    DetailsCache,
    failed_report,
    stop_overdue,
    take_reports,
)
from longshore.scheduler.following import follow, resume, suspend
from longshore.scheduler.inbox import Inbox, Report
from longshore.scheduler.instances import (
    OVER,
    Silence,
    check_instance,
    drain_leaving,
    find_lost,
    store_loads,
    take_notices,
)
from longshore.scheduler.memory import Memory
from longshore.scheduler.placing import Placed, place
from longshore.scheduler.requesting import apply_deletions, apply_requests
from longshore.scheduler.returning import hold_again, take_back
from longshore.scheduler.wire import convert
from longshore.scheduler.wire.session import Session
from longshore.state import listen
from longshore.state.leadership import Leadership
from longshore.state.pool import Connection, Pool
from longshore.state.scheduler import agent, topology
from longshore.state.scheduler.agent import Notice, Registration
from longshore.state.scheduler.attempt import LiveAttempt
from longshore.state.scheduler.job_transition import JobDetails
from longshore.v1 import agent_service_pb2 as pb

log = structlog.get_logger()

#: Changes applied in one transaction.
REPORT_LIMIT = 2_000
#: Seconds after which all that has arrived was read, also where this process stood still before.
LISTEN_SECONDS = 1.0
#: Reason of an attempt that no agent can be told of.
UNSENDABLE = "AssignmentError: the job's properties cannot be read"

TICKS = Histogram(
    "longshore_scheduler_tick_seconds",
    "Time of ticks that did something.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
PLACED = Counter("longshore_scheduler_attempts_placed_total", "Attempts placed.")
ENDED = Counter("longshore_scheduler_attempts_reported_total", "Changes of attempts reported.")
LIVE = Gauge("longshore_scheduler_attempts_live", "Attempts that have not ended.")
INSTANCES = Gauge("longshore_scheduler_instances", "Instances whose agent is not lost.")


@dataclass(slots=True)
class _Outcome:
    """What a tick did and what is to be sent after its commit."""

    stops: list[LiveAttempt] = field(default_factory=list)
    placed: Placed = field(default_factory=Placed)
    #: Instances that take no more attempts from now on.
    drained: list[str] = field(default_factory=list)
    #: Instances whose agents run what is over on record.
    astray: set[str] = field(default_factory=set)
    more: bool = False


class Scheduler:
    """Holds a scheduling domain and schedules it.

    All changes go through one lock: a tick or a registration at a time.
    """

    def __init__(
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
        """
        self._leadership = Leadership(pool, domain, holder, lease_seconds)
        self._catalogue = catalogue
        self._silence = Silence(
            lost_seconds,
            lost_seconds if unmanaged_lost_seconds is None else unmanaged_lost_seconds,
        )
        self._cool_down = cool_down
        self._lock = asyncio.Lock()
        self._inbox = Inbox()
        self._again: list[Report] = []
        self._memory: Memory | None = None
        self._details = DetailsCache()
        self._sessions: dict[str, Session] = {}
        self._notices: dict[str, Notice] = {}
        #: Instances that drain, whose agents are told once they know of all that is placed there.
        self._to_drain: set[str] = set()
        self._topology_changed = False
        self._capacity_changed = False
        self._seed = 0
        #: When silence was looked for at last, and the time before.
        self._looked = self._looked_before = time.monotonic()
        self._seen_stored = time.monotonic()
        self.wake: Callable[[], None] = lambda: None

    @property
    def leadership(self) -> Leadership:
        """The lease of the domain, for what is done besides the ticks."""
        return self._leadership

    @property
    def leading(self) -> bool:
        """Whether this process holds the domain, as far as it knows."""
        return self._leadership.held

    # ------------------------------------------------------------------ lease

    async def hold_lease(self) -> bool:
        """Takes or prolongs the lease; True if it is held afterwards."""
        before = self._leadership.held
        after = await self._leadership.hold()
        if before and not after:
            self._step_down()
        if after and not before:
            self.wake()
        return after

    async def release_lease(self) -> None:
        """Gives the domain back, so that a successor need not wait."""
        async with self._lock:
            self._step_down()
            await self._leadership.release()

    def _step_down(self) -> None:
        """Forgets what only the leader may trust, and lets agents look for the next one."""
        self._memory = None
        self._notices.clear()
        self._to_drain.clear()
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    @contextlib.asynccontextmanager
    async def _leading_transaction(self) -> AsyncIterator[tuple[Connection, Memory]]:
        """A transaction of the holder, with the mirror loaded.

        The mirror does not outlive the lease, nor a connection that broke.
        """
        try:
            async with self._leadership.transaction() as conn:
                if self._memory is None:
                    self._memory = await Memory.load(conn, time.monotonic())
                    self._capacity_changed = True
                    log.info(
                        "memory.loaded",
                        instances=len(self._memory.instances),
                        live=len(self._memory.live),
                    )
                yield conn, self._memory
        except Unavailable:
            self._memory = None
            if not self._leadership.held:
                self._step_down()
            raise

    # ------------------------------------------------------------------ tick

    def note_topology(self) -> None:
        """Queues or environments changed: they are read again."""
        self._topology_changed = True
        self.wake()

    def note_capacity(self) -> None:
        """Instances may be on their way out: their records are read again."""
        self._capacity_changed = True
        self.wake()

    async def report(self, report: Report) -> None:
        """Takes a batch of changes; waits while too many are waiting already."""
        await self._inbox.put(report)
        self.wake()

    async def tick(self) -> bool:
        """One pass over everything; True if it changed something."""
        if not self.leading:
            return False
        async with self._lock:
            reports = await self._take_reports()
            started = time.perf_counter()
            try:
                outcome, changed = await self._pass(reports)
            except BaseException:
                # How much of it a pass changed that came to nothing is not known.
                self._memory = None
                self._again = reports
                raise
            self._send(reports, outcome)
        if changed:
            TICKS.observe(time.perf_counter() - started)
        if outcome.more or self._again or not self._inbox.empty():
            self.wake()
        return changed

    async def _take_reports(self) -> list[Report]:
        reports, self._again = self._again, []
        count = sum(len(report.changes) for report in reports)
        return reports + await self._inbox.take(REPORT_LIMIT - count)

    async def _pass(self, reports: list[Report]) -> tuple[_Outcome, bool]:
        outcome = _Outcome()
        async with self._leading_transaction() as (conn, memory):
            changes, allowance = Changes(datetime.now(UTC)), Allowance()
            await resume(conn, changes, memory)
            await follow(conn, changes, allowance)
            outcome.drained += await self._refresh(conn, memory, changes.now)
            notices = list(self._notices.values())
            noticed, drained = await take_notices(conn, memory, notices)
            outcome.drained += drained
            lost = await find_lost(
                conn,
                memory,
                self._sessions,
                self._silence,
                self._heard_until(),
                changes.now,
            )
            moved = [change for report in reports for change in report.changes]
            outcome.astray = await take_reports(
                conn, changes, memory, self._details, allowance, [*moved, *lost]
            )
            stop_overdue(changes, memory)
            outcome.more |= await admit(conn, changes, memory)
            await follow(conn, changes, allowance)
            outcome.more |= await apply_requests(conn, changes, memory)
            await follow(conn, changes, allowance)
            outcome.more |= await apply_deletions(conn, changes, memory)
            await follow(conn, changes, allowance)
            short = await memory.add_demand(conn, changes.settle_demand())
            outcome.placed = await place(
                conn,
                changes,
                memory,
                self._details,
                self._catalogue,
                self._seed,
                self._sessions,
            )
            self._seed += 1
            await changes.flush(conn)
            await memory.add_demand(conn, changes.settle_demand())
            outcome.more |= await suspend(conn, changes, memory, allowance)
            outcome.more |= bool(memory.hungry() or memory.orphans)
            outcome.placed.attempts += await self._released(conn, changes, memory)
            outcome.stops = [live for live, _ in changes.stops.values()]
            busy = bool(changes.events or changes.stops or lost or noticed or allowance.taken)
            await changes.close(conn)
            await store_loads(conn, memory, changes.now)
            if short or outcome.placed.short or lost or noticed:
                await listen.notify(conn, listen.CAPACITY)
        for notice in notices:
            if self._notices.get(notice.instance_id) is notice:
                del self._notices[notice.instance_id]
        ENDED.inc(len(moved))
        PLACED.inc(len(outcome.placed.attempts))
        LIVE.set(len(memory.live))
        INSTANCES.set(len(memory.instances))
        return outcome, busy

    async def _released(
        self, conn: Connection, changes: Changes, memory: Memory
    ) -> list[tuple[LiveAttempt, JobDetails]]:
        """Nodes that their agents are told of now: their main node runs."""
        lives = [n for n in changes.released if (n.key, n.attempt) in memory.live]
        known = await self._details.get(conn, {live.key.job_id for live in lives})
        return [(live, known[live.key.job_id]) for live in lives]

    async def _refresh(self, conn: Connection, memory: Memory, now: datetime) -> list[str]:
        """Reads queues, environments, supply and leaving instances again if they changed.

        Returns the instances that drain from now on.
        """
        drained: list[str] = []
        if self._topology_changed:
            self._topology_changed = False
            memory.topology = await topology.load(conn)
            memory.parking.parked.clear()
        if self._capacity_changed:
            self._capacity_changed = False
            memory.see_supply(await topology.supply(conn, now, self._cool_down))
            drained = await drain_leaving(conn, memory)
        memory.forget_shortages(now)
        return drained

    def _heard_until(self) -> float:
        """Up to when all that agents said was read: since then this process may have stood still.

        That is the last look but one, as looks are apart for as long as reading may take.
        """
        now = time.monotonic()
        if now - self._looked >= LISTEN_SECONDS:
            self._looked_before, self._looked = self._looked, now
        return self._looked_before

    def _send(self, reports: list[Report], outcome: _Outcome) -> None:
        """After the commit: acknowledges, assigns, drains, stops.

        Agents whose attempts were ended without them register anew: what is over is stopped then.
        """
        for report in reports:
            if report.session is not None:
                report.session.acknowledge(report.sequence)
        self._send_placed(outcome.placed)
        self._to_drain.update(outcome.drained)
        self._send_drains()
        stopped: dict[str, list[LiveAttempt]] = defaultdict(list)
        for live in outcome.stops:
            stopped[live.instance_id].append(live)
        for instance_id, lives in stopped.items():
            if instance_id in self._sessions:
                self._sessions[instance_id].stop(convert.stops(lives))
        for instance_id in outcome.astray & self._sessions.keys():
            self._sessions.pop(instance_id).close()

    def _send_drains(self) -> None:
        """Tells agents to drain. They exit once they know of no attempt: not before they may."""
        for instance_id in list(self._to_drain):
            if self._memory is not None and self._memory.holds_back(instance_id):
                continue
            self._to_drain.discard(instance_id)
            if instance_id in self._sessions:
                self._sessions[instance_id].drain("The instance is being terminated.")

    def _send_placed(self, placed: Placed) -> None:
        """New attempts, and then that a slot takes no other: its agent exits after the one."""
        assigned: dict[str, list[pb.Assignment]] = defaultdict(list)
        for live, job in placed.attempts:
            if live.instance_id in self._sessions:
                assigned[live.instance_id] += self._assignments([(live, job)])
        for instance_id, assignments in assigned.items():
            self._sessions[instance_id].assign(assignments)
        for instance_id in placed.slots:
            if instance_id in self._sessions:
                self._sessions[instance_id].drain("The slot is for one attempt.")

    def _assignments(
        self, attempts: Iterable[tuple[LiveAttempt, JobDetails]]
    ) -> list[pb.Assignment]:
        """What agents are told of attempts.

        One of which nobody can be told has failed, by the next pass.
        """
        told = []
        for live, job in attempts:
            try:
                told.append(convert.assignment(live, job))
            except Exception:
                SET_ASIDE.labels("assignment").inc()
                log.exception(
                    "assignment.set_aside",
                    job_id=str(live.key),
                    attempt=live.attempt,
                    instance_id=live.instance_id,
                )
                self._again.append(Report([failed_report(live, FAILED_TO_START, UNSENDABLE)]))
        return told

    # ------------------------------------------------------------------ agents

    async def register(
        self, registration: Registration, session: Session
    ) -> tuple[list[pb.Assignment], list[pb.AttemptStop], bool]:
        """Takes an agent in.

        Returns all that should be live on it, its stops, and whether it drains.

        Raises:
            NotFound: the compute environment does not exist, or the instance is not on record yet.
            PreconditionFailed: the instance is over on record, or belongs elsewhere.
            Unavailable: this scheduler does not lead.
        """
        # Already now: with many agents at one time, as after a takeover, the turn may come late.
        self.seen(session)
        instance_id = registration.instance_id
        async with self._lock:
            draining = True
            returned: list[LiveAttempt] = []
            try:
                async with self._leading_transaction() as (conn, memory):
                    environments = memory.topology.environments
                    name = registration.compute_environment
                    if self._topology_changed or name not in environments:
                        memory.topology = await topology.load(conn)
                    draining = await check_instance(conn, memory, registration)
                    await agent.register(conn, registration, draining=draining)
                    returned = await take_back(
                        conn,
                        Changes(datetime.now(UTC)),
                        memory,
                        instance_id,
                        registration.attempts,
                    )
                    lives = [*memory.told_of(instance_id), *returned]
                    known = await self._details.get(conn, {live.key.job_id for live in lives})
                    await listen.notify(conn, listen.CAPACITY)
            except asyncio.CancelledError:
                # Perhaps it was stored: then it is on record until it is lost.
                if returned:
                    self._memory = None
                elif self._memory is not None and instance_id not in self._memory.instances:
                    self._mirror(self._memory, registration, draining=draining)
                raise
            # The mirror follows once all went well: a registration that fails costs no reload.
            self._mirror(memory, registration, draining=draining)
            hold_again(memory, returned)
            holds_back = memory.holds_back(instance_id)
        # When its attempts are to be stopped is read with the next tick.
        self._capacity_changed = True
        # Nothing is awaited from the commit on: a stream that breaks meanwhile leaves no session.
        old = self._sessions.pop(registration.instance_id, None)
        if old is not None:
            old.close()
        self._sessions[registration.instance_id] = session
        if draining and holds_back:
            self._to_drain.add(registration.instance_id)
        log.info(
            "agent.registered",
            instance_id=registration.instance_id,
            compute_environment=registration.compute_environment,
            live=len(lives),
        )
        self.wake()
        assignments = self._assignments((live, known[live.key.job_id]) for live in lives)
        return assignments, convert.stops(lives), draining and not holds_back

    @staticmethod
    def _mirror(memory: Memory, registration: Registration, *, draining: bool) -> None:
        memory.add_instance(
            registration.instance_id,
            registration.compute_environment,
            registration.runtime,
            registration.resources,
            draining=draining,
            seen=time.monotonic(),
            instance_type=registration.instance_type,
        )

    def notice(self, notice: Notice) -> None:
        """An agent was told that its instance will be taken away: nothing new goes there.

        It is stored with the next tick. Whoever takes over before hears it from the agent again.
        """
        self._notices[notice.instance_id] = notice
        self.wake()

    def forget(self, session: Session) -> None:
        """A stream ended; the instance is lost only if it stays silent."""
        if self._sessions.get(session.instance_id) is session:
            del self._sessions[session.instance_id]
        self.seen(session)

    def seen(self, session: Session) -> None:
        """An agent gave a sign of life."""
        if self._memory is None:
            return
        instance = self._memory.instances.get(session.instance_id)
        # One that is over stays so: a sign of life may come while a pass is about to give it up.
        if instance is not None and instance.seen != OVER:
            instance.seen = time.monotonic()

    async def store_seen(self) -> None:
        """Stores which agents gave a sign of life since this was done before."""
        if not self.leading or self._memory is None:
            return
        since, now = self._seen_stored, time.monotonic()
        alive = [i.instance_id for i in self._memory.instances.values() if i.seen >= since]
        async with self._leadership.transaction() as conn:
            await agent.seen(conn, alive)
        self._seen_stored = now
