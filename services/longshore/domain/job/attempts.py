"""The live attempts of jobs, and when they must end."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from uuid import UUID

from longshore.domain.job.job import JobKey
from longshore.domain.job.record import AttemptRef, LiveAttempt, MainEnd


@dataclass(frozen=True, slots=True)
class AttemptsCopy:
    """Attempts as they were before something was tried: themselves, and copies of then."""

    lives: list[tuple[LiveAttempt, LiveAttempt]]
    main_ends: dict[UUID, MainEnd | None]


@dataclass(slots=True, kw_only=True)
class Attempts:
    """Attempts that have not ended, one of a job or child, one of each node."""

    live: dict[AttemptRef, LiveAttempt] = field(default_factory=dict)
    by_job: dict[UUID, dict[JobKey, LiveAttempt]] = field(default_factory=dict)
    deadlines: list[tuple[datetime, JobKey, int]] = field(default_factory=list)
    #: How the main nodes ended of the multi-node jobs of which other nodes are live.
    main_ends: dict[UUID, MainEnd] = field(default_factory=dict)

    def hold(self, live: LiveAttempt) -> None:
        """Counts a new live attempt."""
        self.take_up(live)

    def take_up(self, live: LiveAttempt) -> None:
        """Counts a live attempt, which may have been counted before."""
        self.live[live.key, live.attempt] = live
        self.by_job.setdefault(live.key.job_id, {})[live.key] = live

    def release(self, live: LiveAttempt) -> None:
        """Counts an ended attempt no more."""
        del self.live[live.key, live.attempt]
        siblings = self.by_job[live.key.job_id]
        del siblings[live.key]
        if not siblings:
            del self.by_job[live.key.job_id]

    def live_of(self, key: JobKey) -> list[LiveAttempt]:
        """The live attempt of a job or child, if it has one; those of all nodes of a job."""
        lives = self.by_job.get(key.job_id, {})
        if key in lives:
            return [lives[key]]
        return [] if key.is_child else [live for live in lives.values() if live.key.job == key]

    def refs_of(self, job_id: UUID) -> list[AttemptRef]:
        """The live attempts of a job, its nodes or its children."""
        return [(live.key, live.attempt) for live in self.by_job.get(job_id, {}).values()]

    def watch_deadline(self, live: LiveAttempt) -> None:
        """Notes when a running attempt must end, if it has a timeout.

        It counts from when the scheduler learned that it runs, as agents' clocks may be wrong. The
        time of a multi-node job is its main node's.
        """
        if live.key.is_node and not live.is_main:
            return
        if live.timeout_seconds is not None and live.running_at is not None:
            deadline = live.running_at + timedelta(seconds=live.timeout_seconds)
            heapq.heappush(self.deadlines, (deadline, live.key, live.attempt))

    def overdue(self, now: datetime) -> Iterator[LiveAttempt]:
        """Takes out the attempts whose time is over and that were not told to stop yet."""
        while self.deadlines and self.deadlines[0][0] <= now:
            _, key, number = heapq.heappop(self.deadlines)
            live = self.live.get((key, number))
            # Of one whose start was undone the note stays.
            if live is not None and live.running and live.stop is None:
                yield live

    def save(self, refs: Iterable[AttemptRef]) -> "AttemptsCopy":
        """What attempts are like now, and the other nodes of their jobs."""
        lives: dict[AttemptRef, LiveAttempt] = {}
        jobs: set[UUID] = set()
        for ref in refs:
            live = self.live.get(ref)
            if live is None:
                continue
            if live.key.is_node:
                jobs.add(live.key.job_id)
            else:
                lives[ref] = live
        for job_id in jobs:
            lives |= {(one.key, one.attempt): one for one in self.live_of(JobKey(job_id))}
        return AttemptsCopy(
            [(live, replace(live)) for live in lives.values()],
            {job_id: self.main_ends.get(job_id) for job_id in jobs},
        )

    def restore(self, saved: "AttemptsCopy") -> None:
        """Makes attempts again what they were, also those that were released since.

        What only costs another look stays: shapes that try again, loads that are stored again.
        """
        for live, before in saved.lives:
            for member in fields(LiveAttempt):
                setattr(live, member.name, getattr(before, member.name))
            if (live.key, live.attempt) not in self.live:
                self.take_up(live)
        for job_id, end in saved.main_ends.items():
            self.main_ends.pop(job_id, None)
            if end is not None:
                self.main_ends[job_id] = end
