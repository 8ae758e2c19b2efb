"""One pass over everything, in its order of parts: one transaction of the holder."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prometheus_client import Counter, Gauge

from longshore.domain.catalogue import Catalogue
from longshore.domain.job.changes import Changes
from longshore.domain.job.job import JobKey
from longshore.domain.job.life import Allowance
from longshore.domain.job.record import AttemptReport, LiveAttempt
from longshore.scheduler.admission import admit
from longshore.scheduler.agents import Agents
from longshore.scheduler.blocking import end_overdue
from longshore.scheduler.counting import keep_unstored, store_demand
from longshore.scheduler.details import DetailsCache
from longshore.scheduler.ending import stop_overdue, take_reports
from longshore.scheduler.instances import (
    Silence,
    find_lost,
    store_healths,
    store_loads,
    take_notices,
)
from longshore.scheduler.isolating import Pass
from longshore.scheduler.leading import Lead
from longshore.scheduler.measuring import measure
from longshore.scheduler.memory import Memory
from longshore.scheduler.placing import Placed, may_place_more, place
from longshore.scheduler.requesting import apply_deletions, apply_requests
from longshore.scheduler.resuming import resume, suspend
from longshore.scheduler.updating import apply_updates
from longshore.state import listen
from longshore.state.scheduler.job_transition import JobDetails

#: Seconds after which all that has arrived was read, also where this process stood still before.
LISTEN_SECONDS = 1.0

PLACED = Counter(
    "longshore_scheduler_attempts_placed_total", "Attempts that were placed on instances."
)
ENDED = Counter(
    "longshore_scheduler_attempts_reported_total", "Changes of attempts that agents reported."
)
LIVE = Gauge("longshore_scheduler_attempts_live", "Attempts that have not ended.")
INSTANCES = Gauge("longshore_scheduler_instances", "Instances whose agent is not lost.")


@dataclass(slots=True)
class TickOutcome:
    """What a tick did and what is to be sent after its commit."""

    stops: list[LiveAttempt] = field(default_factory=list)
    placed: Placed = field(default_factory=Placed)
    #: Instances that take no more attempts from now on.
    drained: list[str] = field(default_factory=list)
    #: Instances whose agents run what is over on record.
    astray: set[str] = field(default_factory=set)
    #: How many of the reported changes are left for the next tick: the last ones.
    left: int = 0
    #: Whether there is something to do for the next tick at once.
    more: bool = False
    #: Whether something changed.
    busy: bool = False
    #: Jobs, children and parents that became final.
    ended: list[JobKey] = field(default_factory=list)


class Tick:
    """The parts of a pass, with what they keep from one to the next."""

    def __init__(
        self,
        lead: Lead,
        agents: Agents,
        details: DetailsCache,
        catalogue: Catalogue,
        silence: Silence,
    ) -> None:
        """Makes a tick.

        Args:
            lead: the lease and the mirror.
            agents: who is connected.
            details: of the jobs whose attempts move.
            catalogue: instance types, to tell jobs that no instance can hold.
            silence: how long agents may be silent.
        """
        self._lead = lead
        self._agents = agents
        self._details = details
        self._catalogue = catalogue
        self._silence = silence
        self._seed = 0
        #: When silence was looked for at last, and the time before.
        self._looked = self._looked_before = time.monotonic()

    async def run(self, moved: Sequence[AttemptReport]) -> TickOutcome:
        """Takes in what agents said, and whatever else there is to do.

        Raises:
            Unavailable: the database is away, or this process does not lead.
        """
        outcome = TickOutcome()
        sessions = self._agents.sessions
        async with self._lead.transaction() as (conn, memory):
            changes, allowance = Changes(datetime.now(UTC)), Allowance()
            this = Pass(conn, changes, memory, allowance)
            await resume(this)
            notices = self._agents.notices()
            noticed, outcome.drained, late = await take_notices(conn, memory, notices)
            # When attempts on machines that joined by themselves are to be stopped is read now.
            self._lead.capacity_changed |= bool(noticed)
            outcome.drained += await self._lead.refresh(this)
            fared, healths = await store_healths(conn, memory, self._agents.healths())
            lost = await find_lost(this, sessions, self._silence, self._heard_until())
            taken = await take_reports(this, self._details, [*moved, *lost])
            outcome.astray = taken.astray
            outcome.left = max(len(taken.left) - len(lost), 0)
            memory.orphans += _not_ended(memory, lost, len(taken.left))
            await stop_overdue(this)
            outcome.more |= await admit(this)
            outcome.more |= await apply_requests(this)
            outcome.more |= await apply_updates(this, self._details)
            outcome.more |= await apply_deletions(this)
            await end_overdue(this, self._catalogue)
            short = memory.count_demand(changes.settle_demand())
            outcome.placed = await place(this, self._details, self._catalogue, self._seed, sessions)
            self._seed += 1
            memory.count_demand(changes.settle_demand())
            outcome.more |= await suspend(this)
            outcome.more |= outcome.placed.more or may_place_more(memory, self._catalogue)
            outcome.more |= bool(memory.orphans)
            outcome.placed.attempts += await self._released(this)
            outcome.stops = [live for live, _ in changes.stops.values()]
            outcome.busy = bool(
                changes.is_told or changes.stops or lost or noticed or fared or allowance.taken
            )
            outcome.more |= await store_demand(this)
            await keep_unstored(this)
            await store_loads(conn, memory, changes.now)
            await memory.shares.keep(conn, memory.topology, changes.now)
            await memory.consuming.keep(conn)
            if short or outcome.placed.short or lost or noticed or fared:
                await this.part("notify", lambda: listen.notify(conn, listen.DEMAND), None)
        self._agents.settle_notices(notice for notice in notices if notice not in late)
        self._agents.settle_healths(healths)
        measure(changes.tally)
        outcome.ended = changes.ended
        ENDED.inc(len(moved))
        PLACED.inc(len(outcome.placed.attempts))
        LIVE.set(len(memory.live))
        INSTANCES.set(len(memory.instances))
        return outcome

    async def _released(self, this: Pass) -> list[tuple[LiveAttempt, JobDetails]]:
        """Nodes that their agents are told of now: their main node runs."""
        memory, conn = this.memory, this.conn
        lives = [
            node
            for node in (*memory.untold, *this.changes.released)
            if (node.key, node.attempt) in memory.live
        ]
        memory.untold = []
        if not lives:
            return []
        job_ids = {live.key.job_id for live in lives}
        known = await this.part("details", lambda: self._details.get(conn, job_ids), None)
        if known is None:
            memory.untold = lives
            return []
        return [(live, known[live.key.job_id]) for live in lives]

    def _heard_until(self) -> float:
        """Up to when all that agents said was read: since then this process may have stood still.

        That is the last look but one, as looks are apart for as long as reading may take.
        """
        now = time.monotonic()
        if now - self._looked >= LISTEN_SECONDS:
            self._looked_before, self._looked = self._looked, now
        return self._looked_before


def _not_ended(memory: Memory, lost: Sequence[AttemptReport], left: int) -> list[LiveAttempt]:
    """Attempts on lost instances that are still to be ended: reports of them are the last ones."""
    return [
        live
        for report in lost[max(len(lost) - left, 0) :]
        if (live := memory.live.get((report.key, report.attempt))) is not None
    ]
