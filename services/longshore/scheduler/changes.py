"""The changes of one transaction, gathered first and written in few statements."""

import uuid
from collections import Counter
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, fields, replace
from datetime import datetime

from longshore.domain.job.job import WHOLE, JobKey, JobStatus, Stop
from longshore.domain.job.life import Ended, Happening
from longshore.state.pool import Connection
from longshore.state.scheduler import array_job, attempt, demand, job_event, job_transition, ready
from longshore.state.scheduler.array_job import ChildCounts
from longshore.state.scheduler.attempt import AttemptMove, LiveAttempt
from longshore.state.scheduler.job_event import JobEvent
from longshore.state.scheduler.job_transition import JobFlag, JobMove
from longshore.state.scheduler.ready import NewEntry


@dataclass(slots=True)
class Changes:
    """What a transaction is going to write.

    `moves` and `attempt_moves` hold the last word on each job and attempt; `demand` and `arrays`
    are differences, `settled` the part of `demand` that the mirror knows of.
    """

    now: datetime
    moves: dict[JobKey, JobMove] = field(default_factory=dict)
    attempt_moves: dict[tuple[JobKey, int], AttemptMove] = field(default_factory=dict)
    events: list[JobEvent] = field(default_factory=list)
    ready: list[NewEntry] = field(default_factory=list)
    stops: dict[tuple[JobKey, int], tuple[LiveAttempt, Stop]] = field(default_factory=dict)
    #: Those of the stops that are not written yet.
    new_stops: list[tuple[LiveAttempt, Stop]] = field(default_factory=list)
    flags: list[JobFlag] = field(default_factory=list)
    #: What is still to be followed.
    happenings: list[Happening] = field(default_factory=list)
    #: Nodes that may start now that their main node runs.
    released: list[LiveAttempt] = field(default_factory=list)
    #: Attempts that were none: they never reached what runs containers.
    returned: list[LiveAttempt] = field(default_factory=list)
    demand: Counter[int] = field(default_factory=Counter)
    settled: Counter[int] = field(default_factory=Counter)
    #: Whether the event log says anything of this transaction.
    is_told: bool = False
    arrays: dict[uuid.UUID, Counter[JobStatus]] = field(default_factory=dict)

    def move(self, move: JobMove, attempt_number: int) -> None:
        """Moves a job, with its event; what follows from final ones is to be followed."""
        self.moves[move.key] = move
        self.event(move.key, attempt_number, move.status, move.status_reason)
        if move.status.final:
            self.happenings.append(Ended(move.key, move.status is JobStatus.SUCCEEDED))

    def event(
        self, key: JobKey, attempt_number: int, status: JobStatus, reason: str | None = None
    ) -> None:
        """Adds to the event log."""
        self.events.append(JobEvent(key, attempt_number, status, reason, self.now))

    def fail(self, key: JobKey, reason: str, attempt_number: int) -> None:
        """Moves a job that is not running to FAILED."""
        self.moves[key] = JobMove(key, JobStatus.FAILED, reason, stopped_at=self.now)
        self.event(key, attempt_number, JobStatus.FAILED, reason)
        self.happenings.append(Ended(key, succeeded=False))

    def stop(self, live: LiveAttempt, why: Stop) -> None:
        """Tells an attempt to stop; its agent hears of it after the commit."""
        self.stops[live.key, live.attempt] = (live, why)
        self.new_stops.append((live, why))

    def count(self, key: JobKey, before: JobStatus, after: JobStatus, number: int = 1) -> None:
        """Counts children of an array from one status to another; nothing for a single job."""
        if key.array_index != WHOLE and before is not after:
            differences = self.arrays.setdefault(key.job_id, Counter())
            differences[before] -= number
            differences[after] += number

    def make_ready(self, entry: NewEntry) -> None:
        """Makes jobs dispatchable and counts them as demand."""
        self.ready.append(entry)
        self.demand[entry.shape_id] += entry.end_index - entry.next_index

    def save(self) -> "Changes":
        """What is gathered so far, to go back to."""
        saved = replace(self, **{f.name: copy(getattr(self, f.name)) for f in fields(self)})
        saved.arrays = {job_id: Counter(counts) for job_id, counts in self.arrays.items()}
        return saved

    def restore(self, saved: "Changes") -> None:
        """Goes back to what was gathered then; to be done once with what was saved."""
        for member in fields(self):
            setattr(self, member.name, getattr(saved, member.name))

    async def flush(self, conn: Connection) -> list[ChildCounts]:
        """Writes everything but demand and what is still to be followed.

        Returns the counts of arrays that changed.
        """
        await attempt.remove(conn, self.returned)
        await job_transition.take_attempt_back(conn, [live.key for live in self.returned])
        self.returned.clear()
        await attempt.move(conn, list(self.attempt_moves.values()))
        self.attempt_moves.clear()
        await attempt.stop(conn, self.new_stops)
        self.new_stops.clear()
        await job_transition.move(conn, list(self.moves.values()))
        self.moves.clear()
        await job_event.insert(conn, self.events)
        self.is_told = self.is_told or bool(self.events)
        self.events.clear()
        await job_transition.flag(conn, self.flags)
        self.flags.clear()
        await ready.add(conn, self.ready, self.now)
        self.ready.clear()
        arrays: dict[uuid.UUID, Mapping[JobStatus, int]] = dict(self.arrays)
        self.arrays.clear()
        return await array_job.change(conn, arrays, self.now)

    def settle_demand(self) -> dict[int, int]:
        """The differences in demand since the last call."""
        differences = {shape_id: diff for shape_id, diff in self.demand.items() if diff}
        self.demand.clear()
        for shape_id, diff in differences.items():
            self.settled[shape_id] += diff
        return differences

    async def close(self, conn: Connection) -> None:
        """Writes what is written once, at the end."""
        await demand.change(conn, self.settled)
