"""What is decided of jobs: gathered first, written in few statements by whoever keeps them."""

import uuid
from collections import Counter
from copy import copy
from dataclasses import dataclass, field, fields, replace
from datetime import datetime

from longshore.domain.job.happening import Altered, Ended, Following
from longshore.domain.job.job import WHOLE, JobKey, JobStatus, Stop
from longshore.domain.job.record import (
    AttemptMove,
    AttemptRef,
    ImageStart,
    JobEvent,
    JobFlag,
    JobMove,
    LiveAttempt,
    NewArray,
    NewChild,
    NewEntry,
)
from longshore.domain.job.tally import Moved, StoppedBy, Tally

#: Members that are gathered in order.
_LISTS = (
    "events",
    "ready",
    "flags",
    "new_stops",
    "admitted",
    "left",
    "spawned",
    "children",
    "unready",
    "held",
    "happenings",
    "released",
    "returned",
    "revived",
    "reshaped",
    "altered",
    "ended",
    "image_starts",
)


@dataclass(slots=True)
class Changes:
    """What a transaction is going to write.

    `moves` and `attempt_moves` hold the last word on each job and attempt; `demand` and `arrays`
    are differences, `settled` the part of `demand` that the mirror knows of.
    """

    now: datetime
    moves: dict[JobKey, JobMove] = field(default_factory=dict)
    attempt_moves: dict[AttemptRef, AttemptMove] = field(default_factory=dict)
    events: list[JobEvent] = field(default_factory=list)
    ready: list[NewEntry] = field(default_factory=list)
    stops: dict[AttemptRef, tuple[LiveAttempt, Stop]] = field(default_factory=dict)
    #: Those of the stops that are not written yet.
    new_stops: list[tuple[LiveAttempt, Stop]] = field(default_factory=list)
    flags: list[JobFlag] = field(default_factory=list)
    #: SUBMITTED jobs that wait from now on, with the number of dependencies that they wait for.
    admitted: list[tuple[uuid.UUID, int]] = field(default_factory=list)
    #: How many dependencies PENDING jobs still wait for.
    left: list[tuple[uuid.UUID, int]] = field(default_factory=list)
    spawned: list[NewArray] = field(default_factory=list)
    #: Children that get a record of their own, having had none.
    children: list[NewChild] = field(default_factory=list)
    #: RUNNABLE jobs and children that are not to be placed.
    unready: list[JobKey] = field(default_factory=list)
    #: Arrays of which no child is to be placed that never was: the RUNNABLE of them are PENDING.
    held: list[uuid.UUID] = field(default_factory=list)
    #: What is still to be followed.
    happenings: list[Following] = field(default_factory=list)
    #: Nodes that may start now that their main node runs.
    released: list[LiveAttempt] = field(default_factory=list)
    #: Attempts that were none: they never reached what runs containers.
    returned: list[LiveAttempt] = field(default_factory=list)
    #: Attempts that had ended and are live again.
    revived: list[LiveAttempt] = field(default_factory=list)
    #: Jobs and children that have another shape from their next attempt on.
    reshaped: list[tuple[JobKey, int]] = field(default_factory=list)
    #: Users' changes of jobs that wait.
    altered: list[Altered] = field(default_factory=list)
    #: What all that comes to in numbers, for the whole transaction.
    tally: Tally = field(default_factory=Tally)
    #: Jobs, children and parents that became final, in the whole transaction.
    ended: list[JobKey] = field(default_factory=list)
    #: How attempts that began to run came by their images, with their instances.
    image_starts: list[tuple[str, ImageStart]] = field(default_factory=list)
    demand: Counter[int] = field(default_factory=Counter)
    settled: Counter[int] = field(default_factory=Counter)
    #: Whether the event log says anything of this transaction.
    is_told: bool = False
    arrays: dict[uuid.UUID, Counter[JobStatus]] = field(default_factory=dict)

    def move(self, move: JobMove, attempt_number: int, moved: Moved | None) -> None:
        """Moves a job, with its event; what follows from final ones is to be followed.

        Args:
            move: the job's new status.
            attempt_number: its last attempt's.
            moved: as what it counts; None: as nothing, as the parent of an array.
        """
        self.moves[move.key] = move
        self.event(move.key, attempt_number, move.status, moved, move.status_reason)
        if move.status.final:
            self.ended.append(move.key)
            self.happenings.append(Ended(move.key, move.status is JobStatus.SUCCEEDED))

    def event(
        self,
        key: JobKey,
        attempt_number: int,
        status: JobStatus,
        moved: Moved | None,
        reason: str | None = None,
    ) -> None:
        """Adds to the event log, and to what is counted."""
        self.events.append(JobEvent(key, attempt_number, status, reason, self.now))
        if moved is not None:
            self.tally.count(moved)

    def tell_runnable(self, job_id: uuid.UUID, first: int, end: int) -> None:
        """Adds children that become RUNNABLE for the first time to the event log, in one row."""
        event = JobEvent(JobKey(job_id, first), 0, JobStatus.RUNNABLE, None, self.now, end)
        self.events.append(event)

    def fail(
        self,
        key: JobKey,
        reason: str,
        attempt_number: int,
        job_queue: str,
        by: StoppedBy | None = None,
        *,
        number: int = 1,
    ) -> None:
        """Moves a job that is not running to FAILED.

        Args:
            key: the job or child.
            reason: its status reason.
            attempt_number: its last attempt's.
            job_queue: its queue.
            by: the request that makes it fail, if one does.
            number: as how many it counts: as all its children, if it is an array that has none yet.
        """
        self.moves[key] = JobMove(key, JobStatus.FAILED, reason, stopped_at=self.now)
        moved = Moved(job_queue, JobStatus.FAILED, number, by=by)
        self.event(key, attempt_number, JobStatus.FAILED, moved, reason)
        self.ended.append(key)
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

    def add(self, later: "Changes") -> None:
        """Adds what was decided later."""
        self.moves |= later.moves
        self.attempt_moves |= later.attempt_moves
        self.stops |= later.stops
        for name in _LISTS:
            getattr(self, name).extend(getattr(later, name))
        self.tally.add(later.tally)
        self.demand.update(later.demand)
        for job_id, counts in later.arrays.items():
            self.arrays.setdefault(job_id, Counter()).update(counts)

    def save(self) -> "Changes":
        """What is gathered so far, to go back to."""
        saved = replace(self, **{f.name: copy(getattr(self, f.name)) for f in fields(self)})
        saved.tally = self.tally.copy()
        saved.arrays = {job_id: Counter(counts) for job_id, counts in self.arrays.items()}
        return saved

    def restore(self, saved: "Changes") -> None:
        """Goes back to what was gathered then; to be done once with what was saved."""
        for member in fields(self):
            setattr(self, member.name, getattr(saved, member.name))

    def settle_demand(self) -> dict[int, int]:
        """The differences in demand since the last call."""
        differences = {shape_id: diff for shape_id, diff in self.demand.items() if diff}
        self.demand.clear()
        for shape_id, diff in differences.items():
            self.settled[shape_id] += diff
        return differences
