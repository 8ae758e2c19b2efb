"""Jobs in virtual time: arrays, dependencies, retries, and the dispatch queue.

Simple meaning: what the scheduler keeps in tables. Jobs that wait are ranges of indexes in dispatch
order, shape by shape, so the cost is in ranges and attempts, never in the length of the backlog. A
submission of `count` jobs that are alike is one such range, as an array is.
"""

import bisect
import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from longshore.domain.job.arrays import ArrayRules
from longshore.domain.job.dependency import DependencyCondition
from longshore.domain.job.job import (
    ESSENTIAL_EXITED,
    AttemptEnd,
    JobStatus,
    host_terminated,
    judge,
)
from longshore.domain.job.retry import ExitRule
from longshore.domain.placing.capping import Caps
from longshore.domain.placing.shapes import Placement, QueueEntry, Shape
from longshore.simulation.clock import Clock
from longshore.simulation.workload import JobPart

#: Entries of one queue for one plan, as the scheduler reads them.
HEADS_LIMIT = 500


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "SUCCEEDED"
    #: With exit code 1.
    FAILED = "FAILED"
    #: Its instance was taken back or given up.
    HOST_TERMINATED = "HOST_TERMINATED"


@dataclass(slots=True, eq=False)
class Job:
    """What is submitted as one: a single job, `count` jobs that are alike, or an array."""

    part: JobPart
    job_id: uuid.UUID
    seq: int
    submit_us: int
    shape_id: int
    rules: tuple[ExitRule, ...]
    #: Microseconds that each child runs.
    durations: NDArray[np.int64]
    #: Names its stream of random numbers.
    stream: str
    #: Jobs that it waits for as a whole.
    waits: int = 0
    #: Jobs whose children of equal index its children wait for.
    n_to_n: int = 0
    dependents: list[tuple["Job", DependencyCondition]] = field(default_factory=list)
    n_to_n_dependents: list[tuple["Job", DependencyCondition]] = field(default_factory=list)
    #: Edges that each child still waits for; None while none does.
    edges: list[int] | None = None
    #: Children that have not ended.
    left: int = 0
    failed: int = 0
    is_spawned: bool = False
    #: Attempts of children that had more than one, or that had one fail.
    attempts: dict[int, int] = field(default_factory=dict)
    #: Edges that fired, and children that failed by one, before the job was spawned.
    early: list[tuple[int, bool]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Children, or jobs that are alike."""
        return self.part.size


class Backlog:
    """All jobs, and those of them that are RUNNABLE in dispatch order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.shapes: dict[int, Shape] = {}
        self.runnable: dict[int, int] = {}
        #: The caps of queues, and what runs.
        self.caps = Caps()
        #: Jobs by how they ended, and those whose end is yet to come.
        self.succeeded = 0
        self.failed = 0
        self.unfinished = 0
        self.waiting = 0
        self.retries = 0
        #: By queue: microseconds from RUNNABLE to the first attempt.
        self.waits: dict[str, list[int]] = {}
        self._ready: dict[int, list[QueueEntry]] = {}
        self._jobs: dict[uuid.UUID, Job] = {}
        self._risen: set[int] = set()

    def expect(self, job: Job) -> None:
        """Counts a job that will be submitted."""
        self._jobs[job.job_id] = job
        job.left = job.size
        self.unfinished += job.size

    def submit(self, job: Job) -> None:
        """Lets a job begin to wait, or to run when nothing stands before it."""
        job.waits -= 1  # for its submission
        self._spawn_if_free(job)

    def take_risen(self) -> set[int]:
        """Shapes of which more jobs are RUNNABLE than when last asked."""
        risen, self._risen = self._risen, set()
        return risen

    # ------------------------------------------------------------------ dispatch

    def heads(self, shape_ids: Sequence[int], fits: Mapping[int, int]) -> tuple[QueueEntry, ...]:
        """First entries of some shapes of one queue, together in dispatch order.

        No entry comes before one that is left out. Of a shape no more are given than could be
        placed, and one that tells that there are more.

        Args:
            shape_ids: the shapes.
            fits: how many jobs of each shape there is room for.
        """
        share = max(HEADS_LIMIT // len(shape_ids), 20)
        found: list[QueueEntry] = []
        bound: tuple[int, int, int] | None = None
        for shape_id in shape_ids:
            entries = self._ready[shape_id]
            found += entries[: min(share, fits[shape_id] + 1)]
            if len(entries) > share and fits[shape_id] >= share:
                last = _order(entries[share - 1])
                bound = last if bound is None else min(bound, last)
        if len(shape_ids) > 1:
            found.sort(key=_order)
        return tuple(found if bound is None else (e for e in found if _order(e) <= bound))

    def first(
        self, shape_ids: Sequence[int], fits: Mapping[int, int]
    ) -> tuple[tuple[QueueEntry, ...], frozenset[int]]:
        """First entries of each of some shapes, and the shapes of which more might be placed."""
        share = max(HEADS_LIMIT // max(len(shape_ids), 1), 1)
        found: list[QueueEntry] = []
        cut: set[int] = set()
        for shape_id in shape_ids:
            entries = self._ready[shape_id]
            found += entries[: min(share, fits[shape_id] + 1)]
            if len(entries) > share and fits[shape_id] >= share:
                cut.add(shape_id)
        return tuple(found), frozenset(cut)

    def take(self, placements: Sequence[Placement]) -> None:
        """Takes what was placed off the beginnings of entries."""
        lasts = {id(placement.entry): placement for placement in placements}
        for last in lasts.values():
            # The nodes of a job are one of what waits.
            entry, end = last.entry, _index(last) + 1
            self.runnable[entry.shape_id] -= end - entry.next_index
            self.waiting -= end - entry.next_index
            entries = self._ready[entry.shape_id]
            place = bisect.bisect_left(entries, _order(entry), key=_order)
            if end == entry.end_index:
                del entries[place]
            else:
                entries[place] = _entry(entry, end, entry.end_index)
        for shape_id in {last.entry.shape_id for last in lasts.values()}:
            if not self.runnable[shape_id]:
                del self.runnable[shape_id]

    def start(self, placement: Placement) -> tuple[Job, int, int]:
        """Notes the start of an attempt; of a multi-node job it is told of one node alone.

        Returns its job, which of what was submitted with it, and its number.
        """
        job, index = self._jobs[placement.entry.job_id], _index(placement)
        self.caps.running.count(job.shape_id, job.part.queue, 1)
        number = job.attempts.get(index, 0) + 1
        if number == 1:
            waited = self._clock.now - placement.entry.ready_at
            self.waits.setdefault(job.part.queue, []).append(
                (waited.days * 86_400 + waited.seconds) * 1_000_000 + waited.microseconds
            )
        return job, index, number

    def first_waiting(self) -> dict[int, datetime]:
        """Since when the first job of each shape waits."""
        return {shape_id: self._ready[shape_id][0].ready_at for shape_id in self.runnable}

    def first_rank(self, shape_id: int) -> int:
        """Rank of the first waiting job of a shape; 0 if none waits."""
        waiting = self._ready.get(shape_id)
        return waiting[0].rank if waiting else 0

    def dispatch_order(self) -> dict[str, list[QueueEntry]]:
        """By queue: the first entries of shapes with RUNNABLE jobs, in dispatch order."""
        found: dict[str, list[QueueEntry]] = {}
        for shape_id in sorted(self.runnable, key=lambda s: (_order(self._ready[s][0])[:2], s)):
            queue = self.shapes[shape_id].job_queue
            found.setdefault(queue, []).append(self._ready[shape_id][0])
        return found

    # ------------------------------------------------------------------ ends

    def fails(self, job: Job, index: int, number: int) -> bool:
        """Whether an attempt ends with exit code 1; decided by the seed alone."""
        rate = job.part.failure_rate
        if not rate:
            return False
        return random.Random(f"{job.stream}/{index}/{number}").random() < rate

    def end(
        self, job: Job, index: int, number: int, outcome: AttemptOutcome, instance_id: str
    ) -> None:
        """Ends an attempt: the job has ended too, or is tried again."""
        self.caps.running.count(job.shape_id, job.part.queue, -1)
        if outcome is AttemptOutcome.SUCCEEDED:
            self._finish(job, index, succeeded=True)
            return
        lost = outcome is AttemptOutcome.HOST_TERMINATED
        end = AttemptEnd(
            None if lost else 1, None, host_terminated(instance_id) if lost else ESSENTIAL_EXITED
        )
        verdict = judge(end, attempt=number, attempts_max=job.part.attempts, rules=job.rules)
        if verdict.status is JobStatus.RUNNABLE:
            job.attempts[index] = number
            self.retries += 1
            self._add(job, [(index, index + 1)], rank=-1)
        else:
            self._finish(job, index, succeeded=False)

    def _finish(self, job: Job, index: int, *, succeeded: bool) -> None:
        """A job or child has its final status; what waited for it goes on, or fails as well."""
        ends = [(job, index, succeeded)]
        while ends:
            job, index, succeeded = ends.pop()
            job.attempts.pop(index, None)
            self.unfinished -= 1
            job.left -= 1
            if succeeded:
                self.succeeded += 1
            else:
                self.failed += 1
                job.failed += 1
            status = JobStatus.SUCCEEDED if succeeded else JobStatus.FAILED
            if job.part.sequential and index + 1 < job.size:
                ends += self._fire(job, index + 1, job.part.sequential.holds(status) is True)
            for dependent, condition in job.n_to_n_dependents:
                ends += self._fire(dependent, index, condition.holds(status) is True)
            if not job.left:
                ends += self._job_ended(job)

    def _job_ended(self, job: Job) -> list[tuple[Job, int, bool]]:
        """Lets the dependents of a whole job go on; returns the children that fail with it."""
        ends: list[tuple[Job, int, bool]] = []
        status = JobStatus.FAILED if job.failed else JobStatus.SUCCEEDED
        for dependent, condition in job.dependents:
            if dependent.is_spawned:
                continue  # it failed with another one already
            if not condition.holds(status):
                dependent.is_spawned = True
                ends += _all_failed(dependent)
            else:
                dependent.waits -= 1
                self._spawn_if_free(dependent)
        return ends

    def _fire(self, job: Job, index: int, holds: bool) -> list[tuple[Job, int, bool]]:
        """One edge to a child: it may run once all hold, and fails with the first that does not."""
        if not job.is_spawned:
            job.early.append((index, holds))
            return []
        if job.edges is None or job.edges[index] < 0:
            return []  # it failed already
        if not holds:
            job.edges[index] = -1
            return [(job, index, False)]
        job.edges[index] -= 1
        if not job.edges[index]:
            self._add(job, [(index, index + 1)])
        return []

    def _spawn_if_free(self, job: Job) -> None:
        if job.waits or job.is_spawned:
            return
        job.is_spawned = True
        rules = ArrayRules(job.size, job.n_to_n, job.part.sequential is not None)
        if job.n_to_n or job.part.sequential:
            job.edges = [rules.waits(index) for index in range(job.size)]
        first, end = rules.ready_at_spawn
        if end > first:
            self._add(job, [(first, end)])
        early, job.early = job.early, []
        for index, holds in early:
            for failed, child, _ in self._fire(job, index, holds):
                self._finish(failed, child, succeeded=False)

    def _add(self, job: Job, ranges: Iterable[tuple[int, int]], rank: int = 0) -> None:
        """Makes jobs RUNNABLE; those of rank -1 come first."""
        entries = self._ready.setdefault(job.shape_id, [])
        for first, end in ranges:
            entry = QueueEntry(job.job_id, job.shape_id, rank, job.seq, first, end, self._clock.now)
            if entries and _order(entries[-1]) < _order(entry):
                entries.append(entry)
            else:
                bisect.insort(entries, entry, key=_order)
            self.runnable[job.shape_id] = self.runnable.get(job.shape_id, 0) + end - first
            self.waiting += end - first
        self._risen.add(job.shape_id)


def _index(placement: Placement) -> int:
    """Which of the jobs or children that were submitted as one."""
    return placement.entry.next_index if placement.key.is_node else placement.array_index


def _all_failed(job: Job) -> list[tuple[Job, int, bool]]:
    return [(job, index, False) for index in range(job.size)]


def _order(entry: QueueEntry) -> tuple[int, int, int]:
    return (entry.rank, entry.seq, entry.next_index)


def _entry(entry: QueueEntry, first: int, end: int) -> QueueEntry:
    """What is left of an entry."""
    return QueueEntry(
        entry.job_id, entry.shape_id, entry.rank, entry.seq, first, end, entry.ready_at
    )
