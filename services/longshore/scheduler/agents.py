"""The agents that are connected: who registered, who was heard, and what each is told."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from uuid import UUID

import structlog

from longshore.domain.checks import TAGS_MAX
from longshore.domain.errors import Unavailable
from longshore.domain.job.changes import Changes
from longshore.domain.job.ending import failed_report
from longshore.domain.job.job import FAILED_TO_START, TOO_MANY_TAGS
from longshore.domain.job.record import LiveAttempt
from longshore.scheduler.apart import note
from longshore.scheduler.details import DetailsCache
from longshore.scheduler.inbox import Inbox, Report
from longshore.scheduler.instances import OVER, Checked, check_instance
from longshore.scheduler.leading import Lead
from longshore.scheduler.measuring import measure, measure_boot
from longshore.scheduler.memory import Memory
from longshore.scheduler.returning import hold_again, take_back
from longshore.scheduler.wire import convert
from longshore.scheduler.wire.session import Session
from longshore.state import listen
from longshore.state.scheduler import agent, topology
from longshore.state.scheduler.agent import Health, Notice, Registration
from longshore.state.scheduler.job_transition import JobDetails
from longshore.v1 import agent_service_pb2 as pb

log = structlog.get_logger()

#: Reason of an attempt that no agent can be told of.
UNSENDABLE = "AssignmentError: the job's properties cannot be read"
#: Seconds of silence after which another process of the same name takes an agent's place.
COPY_SECONDS = 15.0


class Agents:
    """The registry of the agents that are connected to this scheduler while it leads."""

    def __init__(
        self, lead: Lead, details: DetailsCache, inbox: Inbox, traced: float | None = None
    ) -> None:
        """Makes an empty registry.

        Args:
            lead: the lease and the mirror.
            details: of the jobs whose attempts agents are told of.
            inbox: takes that an attempt failed of which no agent can be told.
            traced: which share of jobs' traces is kept; None: none are made.
        """
        self._lead = lead
        self._details = details
        self._inbox = inbox
        self._traced = traced
        self.sessions: dict[str, Session] = {}
        self._notices: dict[str, Notice] = {}
        self._healths: dict[str, Health] = {}
        #: Instances that drain, whose agents are told once they know of all that is placed there.
        self._to_drain: set[str] = set()
        #: Instances whose agents may not know of something that is on record.
        self._in_doubt: set[str] = set()
        self._seen_stored = time.monotonic()

    def clear(self) -> None:
        """Lets all agents look for the next leader."""
        self._notices.clear()
        self._healths.clear()
        self._to_drain.clear()
        self._in_doubt.clear()
        for session in self.sessions.values():
            session.close()
        self.sessions.clear()

    # ------------------------------------------------------------------ what they say

    async def register(
        self, registration: Registration, session: Session
    ) -> tuple[list[pb.Assignment], list[pb.AttemptStop], bool]:
        """Takes an agent in.

        Returns all that should be live on it, its stops, and whether it drains.

        Raises:
            NotFound: the compute environment does not exist, or the instance is not on record yet.
            PreconditionFailed: the instance is over on record, or belongs elsewhere.
            Unavailable: this scheduler does not lead, or another process of the same agent is
                connected and alive.
        """
        self._refuse_copies(session)
        # Already now: with many agents at one time, as after a takeover, the turn may come late.
        self.seen(session)
        lead = self._lead
        instance_id = registration.instance_id
        async with lead.turn:
            self._refuse_copies(session)
            checked = Checked(draining=True)
            changes = Changes(datetime.now(UTC))
            returned: list[LiveAttempt] = []
            try:
                async with lead.transaction() as (conn, memory):
                    environments = memory.topology.environments
                    name = registration.compute_environment
                    if lead.topology_changed or name not in environments:
                        memory.topology = await topology.load(conn)
                    checked = await check_instance(conn, memory, registration)
                    await agent.register(conn, registration, draining=checked.draining)
                    returned = await take_back(
                        conn,
                        changes,
                        memory,
                        instance_id,
                        registration.attempts,
                    )
                    lives = [*memory.told_of(instance_id), *returned]
                    known = await self._details.get(conn, {live.key.job_id for live in lives})
                    await listen.notify(conn, listen.DEMAND)
            except asyncio.CancelledError:
                # Perhaps it was stored: then it is on record until it is lost.
                if returned:
                    lead.discard()
                elif lead.memory is not None and instance_id not in lead.memory.instances:
                    self._mirror(lead.memory, registration, draining=checked.draining)
                raise
            measure(changes.tally)
            if checked.instance_type is not None and checked.boot_seconds is not None:
                name = registration.compute_environment
                measure_boot(name, checked.instance_type, checked.boot_seconds)
            # The mirror follows once all went well: a registration that fails costs no reload.
            draining = checked.draining
            self._mirror(memory, registration, draining=draining)
            hold_again(memory, returned)
            holds_back = memory.holds_back(instance_id)
        # When its attempts are to be stopped is read with the next tick.
        lead.capacity_changed = True
        # Nothing is awaited from the commit on: a stream that breaks meanwhile leaves no session.
        old = self.sessions.pop(registration.instance_id, None)
        if old is not None:
            old.close()
        self.sessions[registration.instance_id] = session
        self._in_doubt.discard(registration.instance_id)
        if draining and holds_back:
            self._to_drain.add(registration.instance_id)
        log.info(
            "agent.registered",
            instance_id=registration.instance_id,
            compute_environment=registration.compute_environment,
            live=len(lives),
        )
        assignments = self._assignments((live, known[live.key.job_id]) for live in lives)
        return assignments, convert.stops(lives), draining and not holds_back

    def _refuse_copies(self, session: Session) -> None:
        """Of two that call themselves the same, the one that is here stays: both would run all."""
        other = self.sessions.get(session.instance_id)
        if other is None or other.closed or "" in (other.process_id, session.process_id):
            return
        silent = time.monotonic() - other.seen
        if other.process_id != session.process_id and silent < COPY_SECONDS:
            log.warning("agent.copy_refused", instance_id=session.instance_id)
            raise Unavailable(
                f"Another agent is connected as {session.instance_id}. Where that is a copy of "
                "this machine, give this one a data directory of its own."
            )

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
            health=registration.health,
        )

    def health(self, instance_id: str, health: Health) -> bool:
        """An agent said how its instance fares; whether that is news."""
        memory = self._lead.memory
        known = None if memory is None else memory.instances.get(instance_id)
        if known is None or (instance_id not in self._healths and health == known.health):
            return False
        self._healths[instance_id] = health
        return True

    def healths(self) -> dict[str, Health]:
        """What was not stored yet, by instance."""
        return dict(self._healths)

    def settle_healths(self, healths: Mapping[str, Health]) -> None:
        """Drops what was stored, unless the agents have said something else since."""
        for instance_id, health in healths.items():
            if self._healths.get(instance_id) is health:
                del self._healths[instance_id]

    def notice(self, notice: Notice) -> None:
        """An agent was told that its instance will be taken away."""
        self._notices[notice.instance_id] = notice

    def notices(self) -> list[Notice]:
        """Those that were not stored yet."""
        return list(self._notices.values())

    def settle_notices(self, notices: Iterable[Notice]) -> None:
        """Drops those that were stored, unless their agents have said something else since."""
        for notice in notices:
            if self._notices.get(notice.instance_id) is notice:
                del self._notices[notice.instance_id]

    def forget(self, session: Session) -> None:
        """A stream ended; the instance is lost only if it stays silent."""
        if self.sessions.get(session.instance_id) is session:
            del self.sessions[session.instance_id]
        self.seen(session)

    def seen(self, session: Session) -> None:
        """An agent gave a sign of life."""
        session.seen = time.monotonic()
        if self._lead.memory is None:
            return
        instance = self._lead.memory.instances.get(session.instance_id)
        # One that is over stays so: a sign of life may come while a pass is about to give it up.
        if instance is not None and instance.seen != OVER:
            instance.seen = time.monotonic()

    async def store_seen(self) -> None:
        """Stores which agents gave a sign of life since this was done before."""
        if not self._lead.held or self._lead.memory is None:
            return
        since, now = self._seen_stored, time.monotonic()
        alive = [i.instance_id for i in self._lead.memory.instances.values() if i.seen >= since]
        async with self._lead.leadership.transaction() as conn:
            await agent.seen(conn, alive)
        self._seen_stored = now

    # ------------------------------------------------------------------ what they are told

    def assign(self, attempts: Iterable[tuple[LiveAttempt, JobDetails]]) -> None:
        """Tells agents of new attempts.

        One that would have too many tags, as some were added since its job was admitted, fails.
        """
        assigned: dict[str, list[pb.Assignment]] = defaultdict(list)
        for live, job in attempts:
            if len(job.tags or ()) > TAGS_MAX:
                self._inbox.put_back([Report([failed_report(live, TOO_MANY_TAGS)])])
            elif live.instance_id in self.sessions:
                assigned[live.instance_id] += self._assignments([(live, job)])
        for instance_id, assignments in assigned.items():
            self.sessions[instance_id].assign(assignments)

    def _assignments(
        self, attempts: Iterable[tuple[LiveAttempt, JobDetails]]
    ) -> list[pb.Assignment]:
        """What agents are told of attempts.

        One of which nobody can be told has failed, by the next pass.
        """
        told = []
        for live, job in attempts:
            try:
                told.append(convert.assignment(live, job, self._environment_id(live), self._traced))
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to this one
                note(
                    "assignment",
                    error,
                    job_id=str(live.key),
                    attempt=live.attempt,
                    instance_id=live.instance_id,
                )
                self._inbox.put_back([Report([failed_report(live, FAILED_TO_START, UNSENDABLE)])])
        return told

    def _environment_id(self, live: LiveAttempt) -> UUID | None:
        memory = self._lead.memory
        if memory is None or live.compute_environment not in memory.topology.environments:
            return None
        return memory.topology.environments[live.compute_environment].environment_id

    def use_slots(self, instance_ids: Iterable[str]) -> None:
        """Tells slots that they take no other attempt: their agents exit after the one."""
        for instance_id in instance_ids:
            if instance_id in self.sessions:
                self.sessions[instance_id].drain("The slot is for one attempt.")

    def drain(self, instance_ids: Iterable[str]) -> None:
        """Tells agents to drain. They exit once they know of no attempt: not before they may."""
        self._to_drain.update(instance_ids)
        memory = self._lead.memory
        for instance_id in list(self._to_drain):
            if memory is not None and memory.holds_back(instance_id):
                continue
            self._to_drain.discard(instance_id)
            if instance_id in self.sessions:
                self.sessions[instance_id].drain("The instance is being terminated.")

    def stop(self, lives: Iterable[LiveAttempt]) -> None:
        """Tells agents to stop attempts."""
        stopped: dict[str, list[LiveAttempt]] = defaultdict(list)
        for live in lives:
            stopped[live.instance_id].append(live)
        for instance_id, theirs in stopped.items():
            if instance_id in self.sessions:
                self.sessions[instance_id].stop(convert.stops(theirs))

    def doubt(self, memory: Memory) -> None:
        """The mirror is a new one: of what was stored last some agents may never have been told.

        Where the answer to a commit is lost, so is what was to be sent after it.
        """
        self._in_doubt |= memory.maybe_untold() & self.sessions.keys()

    def settle_doubts(self) -> None:
        """Lets agents register anew that may not know of all: they are told then."""
        self.register_anew(self._in_doubt)
        self._in_doubt.clear()

    def register_anew(self, instance_ids: set[str]) -> None:
        """Lets agents register anew, as those that run what is over on record: it is stopped."""
        for instance_id in instance_ids & self.sessions.keys():
            self.sessions.pop(instance_id).close()
