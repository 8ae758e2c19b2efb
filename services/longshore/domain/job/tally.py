"""What moves of jobs and attempts come to in numbers, by queue: AWS Batch's job metrics.

It is gathered with the events, from the same decisions, and undone with them; whoever measures
counts it once the transaction has committed. An array's parent counts nowhere, its children do,
also before they have a record. A multi-node job counts as one, and its nodes do not.
"""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import NamedTuple

from longshore.domain.job.job import JobStatus


class Stage(IntEnum):
    """A stretch of a job's or an attempt's life whose length is measured."""

    SUBMITTED_TO_RUNNABLE = 0
    SUBMITTED_TO_FIRST_STARTING = 1
    RUNNABLE_TO_STARTING = 2
    STARTING_TO_RUNNING = 3
    #: From when it runs to when it stopped.
    EXECUTION = 4
    #: From STARTING to its end.
    ATTEMPT = 5


class StoppedBy(StrEnum):
    """Which request of a user made a job fail."""

    CANCEL = "cancel"
    TERMINATE = "terminate"


#: How long a stage took, in seconds. There are several of each job: a plain tuple is made fastest.
Span = tuple[Stage, float]


class Moved(NamedTuple):
    """Jobs or children of a queue reached a status together."""

    job_queue: str
    status: JobStatus
    number: int = 1
    #: Stages that ended with it, of each of them.
    spans: tuple[Span, ...] = ()
    by: StoppedBy | None = None
    #: An attempt failed, and the next one follows.
    is_retry: bool = False


@dataclass(slots=True)
class QueueTally:
    """What moved in a queue."""

    moved: Counter[JobStatus] = field(default_factory=Counter)
    stopped: Counter[StoppedBy] = field(default_factory=Counter)
    retried: int = 0
    #: How long stages took, by stage, of each job; and of many that are alike.
    spans: list["array[float]"] = field(default_factory=lambda: [array("d") for _ in Stage])
    alike: list[tuple[Span, int]] = field(default_factory=list)

    def add(self, later: "QueueTally") -> None:
        """Adds what was counted later."""
        self.moved.update(later.moved)
        self.stopped.update(later.stopped)
        self.retried += later.retried
        for mine, theirs in zip(self.spans, later.spans, strict=True):
            mine.extend(theirs)
        self.alike += later.alike


@dataclass(slots=True)
class Tally:
    """The numbers of a transaction so far, by queue.

    There are thousands of jobs in one: what is known of each is added up at once, and nothing is
    kept for each but its seconds.
    """

    queues: dict[str, QueueTally] = field(default_factory=dict)

    def count(self, moved: Moved) -> None:
        """Counts jobs that reached a status together."""
        queue, status, number, spans, by, is_retry = moved
        of = self.queues.get(queue)
        if of is None:
            of = self.queues[queue] = QueueTally()
        of.moved[status] += number
        if number == 1:
            for stage, seconds in spans:
                of.spans[stage].append(seconds)
        else:
            of.alike += ((one, number) for one in spans)
        if by is not None:
            of.stopped[by] += number
        if is_retry:
            of.retried += number

    def add(self, later: "Tally") -> None:
        """Adds what was counted later."""
        for queue, of in later.queues.items():
            self.queues.setdefault(queue, QueueTally()).add(of)

    def copy(self) -> "Tally":
        """The same, to go back to."""
        copied = Tally()
        copied.add(self)
        return copied


def span(stage: Stage, since: datetime, until: datetime) -> Span:
    """A stage from one time to another."""
    return stage, (until - since).total_seconds()


def stopped_by(*, cancelled: bool, terminated: bool) -> StoppedBy | None:
    """By which request something ends that was marked with it."""
    if terminated:
        return StoppedBy.TERMINATE
    return StoppedBy.CANCEL if cancelled else None
