"""The set of attempts on this instance, each driven by a task of its own."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from datetime import UTC

import structlog

from longshore.agent import metrics
from longshore.agent.attempts.attempt import Attempt, AttemptKey, Phase, now
from longshore.agent.attempts.controller import Controller
from longshore.agent.attempts.ensemble import Ensemble
from longshore.agent.attempts.parts import divide
from longshore.agent.health import HealthWatch
from longshore.agent.logs import naming
from longshore.agent.reporting.journal import Journal, JournalEntry
from longshore.agent.reporting.outbox import Outbox
from longshore.agent.runtime import Found, Runtime
from longshore.v1 import agent_service_pb2 as pb

log = structlog.get_logger()

#: What an attempt ends with.
_LAST = (pb.ATTEMPT_STATUS_ENDED, pb.ATTEMPT_STATUS_RETURNED)


class Crew:
    """Takes attempts on, brings them to their end, and forgets them when nobody needs them."""

    def __init__(
        self,
        runtime: Runtime,
        health: HealthWatch,
        journal: Journal,
        concurrent_starts: int,
        group: asyncio.TaskGroup,
    ) -> None:
        self._runtime = runtime
        self._journal = journal
        self._controller = Controller(runtime, health, concurrent_starts)
        self._group = group
        self._attempts: dict[AttemptKey, Attempt] = {}
        self._tasks: dict[AttemptKey, asyncio.Task[None]] = {}
        self._found: dict[AttemptKey, Found] = {}
        self._unconfirmed: set[AttemptKey] = set()
        self.outbox = Outbox(journal, self._acknowledged)
        #: Set once it is known what an earlier life of this agent left.
        self.recovered = asyncio.Event()
        #: Set when an attempt was forgotten.
        self.changed = asyncio.Event()

    def known_keys(self) -> list[AttemptKey]:
        """Every attempt that is known or was found, for the registration."""
        if not self.recovered.is_set():
            return list(self._journal.entries.keys() | self._attempts.keys())
        return list(dict.fromkeys([*self._attempts, *(key.whole() for key in self._found)]))

    def live(self) -> int:
        """How many attempts have not ended."""
        return sum(attempt.live for attempt in self._attempts.values())

    @property
    def empty(self) -> bool:
        """Whether there is nothing left to do or to tell."""
        return not self._attempts and self.outbox.empty

    async def recover(self) -> None:
        """Goes on where an earlier life of this agent ended.

        Attempts that have something running are watched at once. Attempts that never started wait
        until the scheduler has confirmed that they are still wanted.

        Raises:
            RuntimeAway: what runs cannot be found out yet; nothing is done.
        """
        self._found = await self._runtime.find()
        unacknowledged = {
            AttemptKey.of(change.key)
            for report in self._journal.reports.values()
            for change in report.changes
        }
        for key, entry in list(self._journal.entries.items()):
            attempt = _recovered(key, entry, self._found)
            attempt.acknowledged = not attempt.live and key not in unacknowledged
            self._attempts[key] = attempt
            for one in attempt.parts or (attempt,):
                self._runtime.adopt(one)
            if attempt.phase is Phase.RUNNING and (
                entry.change is None or entry.change.status != pb.ATTEMPT_STATUS_RUNNING
            ):
                self.outbox.add(attempt.started(attempt.started_at or now()))
            if attempt.phase is Phase.REMOVED:
                # Given back: there is nothing to do but to tell, if that.
                self._forget_if_done(attempt)
            elif attempt.phase is Phase.ACCEPTED:
                self._unconfirmed.add(key)
            else:
                self._drive(attempt)
        if self._attempts or self._found:
            log.info("agent.recovered", attempts=len(self._attempts), unknown=len(self._found))
        self.recovered.set()

    def apply_set(
        self, assignments: Iterable[pb.Assignment], stops: Iterable[pb.AttemptStop]
    ) -> None:
        """Makes the complete set of a registration the set of this agent."""
        wanted = {AttemptKey.of(assignment.key) for assignment in assignments}
        for key, attempt in list(self._attempts.items()):
            if key not in wanted and attempt.live:
                log.info("attempt.unwanted", job_id=key.job_id, attempt=key.attempt)
                attempt.stop("The attempt is over on record")
        stops = list(stops)
        for stop in stops:
            self.stop(stop)
        for key in self._unconfirmed:
            self._drive(self._attempts[key])
        self._unconfirmed.clear()
        self.assign(assignments, on_record=True)
        for stop in stops:
            self.stop(stop)
        for key, found in self._found.items():
            log.warning("container.unknown", job_id=key.job_id, attempt=key.attempt)
            self._group.create_task(self._runtime.discard(key, found))
        self._found.clear()

    def assign(self, assignments: Iterable[pb.Assignment], *, on_record: bool = False) -> None:
        """Takes attempts on; those that are known already are left as they are.

        Args:
            assignments: what to run.
            on_record: they are all that is live on record, so that the end of one is not.
        """
        for assignment in assignments:
            key = AttemptKey.of(assignment.key)
            if key not in self._attempts and key not in self._journal.past:
                self._take_on(key, assignment)
            elif on_record:
                self._say_again(key, assignment)

    def _take_on(self, key: AttemptKey, assignment: pb.Assignment) -> None:
        attempt = self._attempts[key] = Attempt(key, assignment)
        divide(attempt)
        self._journal.assigned(assignment)
        found = self._found.pop(key, None)
        if attempt.parts:
            _recover_parts(attempt, {}, self._found)
            for part in attempt.parts:
                self._runtime.adopt(part)
        elif found is not None:
            attempt.handle, attempt.address = found.handle, found.address
            if found.started_at is not None:
                self.outbox.add(attempt.started(found.started_at))
            self._runtime.adopt(attempt)
        metrics.ASSIGNED.inc()
        self._drive(attempt)

    def _say_again(self, key: AttemptKey, assignment: pb.Assignment) -> None:
        """Says an end once more that was acknowledged and yet is not on record.

        It could not be stored; now it may be.
        """
        attempt = self._attempts.get(key)
        if attempt is None:
            attempt = self._attempts[key] = Attempt(key, assignment)
            attempt.phase, attempt.acknowledged = Phase.REMOVED, True
            self._journal.assigned(assignment)
        change = self._journal.entries[key].change
        if attempt.acknowledged and change is not None:
            attempt.acknowledged = False
            self.outbox.add(change, attempt.journaled)

    def stop(self, stop: pb.AttemptStop) -> None:
        """Asks for the end of an attempt; of one that is not known there is nothing to end."""
        attempt = self._attempts.get(AttemptKey.of(stop.key))
        if attempt is not None and attempt.live and attempt.stop_reason is None:
            self._journal.stop_wanted(stop)
            attempt.stop(stop.status_reason)

    def stop_all(self, status_reason: str) -> None:
        """Asks for the end of all attempts."""
        for attempt in self._attempts.values():
            attempt.stop(status_reason)
        for key in self._unconfirmed:
            self._drive(self._attempts[key])
        self._unconfirmed.clear()

    def log_names(self) -> set[str]:
        """The logs of all attempts."""
        return {
            naming.name_of(one.assignment)
            for attempt in self._attempts.values()
            for one in (attempt.parts or (attempt,))
        }

    def tasks(self) -> list[asyncio.Task[None]]:
        """What drives the attempts."""
        return list(self._tasks.values())

    async def told(self, seconds: float) -> None:
        """Waits until the scheduler has all reports, for at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.outbox.empty:
                    self.changed.clear()
                    await self.changed.wait()

    async def wait_until_over(self) -> None:
        """Waits until nothing is left on the instance, whether acknowledged or not."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    def _drive(self, attempt: Attempt) -> None:
        task = self._group.create_task(self._run(attempt))
        self._tasks[attempt.key] = task

    async def _run(self, attempt: Attempt) -> None:
        metrics.LIVE.inc()
        try:
            while attempt.phase is not Phase.REMOVED:
                was_live = attempt.live
                try:
                    change = await self._step(attempt)
                except Exception:
                    # A mistake of ours in one attempt is not to end the others with the agent.
                    log.exception(
                        "attempt.step_failed",
                        job_id=attempt.key.job_id,
                        attempt=attempt.key.attempt,
                        phase=attempt.phase.name,
                    )
                    change = await self._controller.recover(attempt)
                if change is None:
                    continue
                if attempt.live:
                    self.outbox.add(change)
                elif was_live:
                    metrics.ENDED.inc()
                    self.outbox.add(change, attempt.journaled)
        finally:
            metrics.LIVE.dec()
            del self._tasks[attempt.key]
        self._forget_if_done(attempt)

    async def _step(self, attempt: Attempt) -> pb.AttemptChange | None:
        if attempt.parts and attempt.live:
            return await Ensemble(self._controller, attempt, self.outbox.add, self._keep).run()
        return await self._controller.step(attempt)

    def _keep(self, attempt: Attempt) -> None:
        self._journal.progress(attempt.progress())

    def _acknowledged(self, change: pb.AttemptChange) -> None:
        attempt = self._attempts.get(AttemptKey.of(change.key))
        if attempt is not None and change.status in _LAST:
            attempt.acknowledged = True
            self._forget_if_done(attempt)
        self.changed.set()

    def _forget_if_done(self, attempt: Attempt) -> None:
        if attempt.acknowledged and attempt.phase is Phase.REMOVED:
            del self._attempts[attempt.key]
            self._journal.forgotten(attempt.key)
            self.changed.set()


def _recovered(key: AttemptKey, entry: JournalEntry, others: dict[AttemptKey, Found]) -> Attempt:
    """An attempt as far as the journal and what was found say that it is.

    What was found of it is taken from what was found in all.
    """
    attempt = Attempt(key, entry.assignment)
    divide(attempt)
    found = others.pop(key, None)
    if entry.stop is not None:
        attempt.stop(entry.stop.status_reason)
    if found is not None and not attempt.parts:
        attempt.handle, attempt.started_at = found.handle, found.started_at
        attempt.address = found.address
    change = entry.change
    if change is not None and change.HasField("start_time"):
        # What was said once stays said, even where the engine knows it more exactly.
        attempt.started_at = change.start_time.ToDatetime(UTC)
        attempt.address = change.address
    if change is not None and change.status == pb.ATTEMPT_STATUS_RETURNED:
        attempt.phase, attempt.given_back = Phase.REMOVED, True
    elif change is not None and change.status == pb.ATTEMPT_STATUS_ENDED:
        attempt.phase = Phase.ENDED
        attempt.journaled.set()
    elif attempt.started_at is not None:
        # If nothing of it is left, watching it will say so.
        attempt.phase = Phase.RUNNING
    if attempt.parts:
        known = {} if entry.progress is None else {c.name: c for c in entry.progress.containers}
        _recover_parts(attempt, known, others)
    return attempt


def _recover_parts(
    attempt: Attempt,
    known: Mapping[str, pb.ContainerChange],
    others: dict[AttemptKey, Found],
) -> None:
    """Sets how far the several containers of an attempt are."""
    for part in attempt.parts:
        change = part.change = pb.ContainerChange(name=part.container_name)
        if part.container_name in known:
            change.CopyFrom(known[part.container_name])
        if (found := others.pop(part.key, None)) is not None:
            part.handle, part.address = found.handle, found.address
            if found.started_at is not None and not change.HasField("start_time"):
                change.start_time.FromDatetime(found.started_at)
        if change.HasField("start_time"):
            part.started_at = change.start_time.ToDatetime(UTC)
        if change.HasField("stop_time") or not attempt.live:
            part.phase = Phase.ENDED
        elif part.started_at is not None:
            part.phase = Phase.RUNNING
