"""What moves of jobs and attempts come to in numbers, by queue: AWS Batch's job metrics.

It is gathered with the events, from the same decisions, and undone with them; whoever measures
counts it once the transaction has committed. An array's parent counts nowhere, its children do,
also before they have a record. A multi-node job counts as one, and its nodes do not.
"""

from datetime import datetime
from enum import Enum, StrEnum
from typing import NamedTuple

from longshore.domain.job.job import JobStatus


class Stage(Enum):
    """A stretch of a job's or an attempt's life whose length is measured."""

    SUBMITTED_TO_RUNNABLE = "SUBMITTED_TO_RUNNABLE"
    SUBMITTED_TO_FIRST_STARTING = "SUBMITTED_TO_FIRST_STARTING"
    RUNNABLE_TO_STARTING = "RUNNABLE_TO_STARTING"
    STARTING_TO_RUNNING = "STARTING_TO_RUNNING"
    #: From when it runs to when it stopped.
    EXECUTION = "EXECUTION"
    #: From STARTING to its end.
    ATTEMPT = "ATTEMPT"


class StoppedBy(StrEnum):
    """Which request of a user made a job fail."""

    CANCEL = "cancel"
    TERMINATE = "terminate"


class Span(NamedTuple):
    """How long a stage took."""

    stage: Stage
    seconds: float


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


def span(stage: Stage, since: datetime, until: datetime) -> Span:
    """A stage from one time to another; none is shorter than nothing, whatever clocks say."""
    return Span(stage, max((until - since).total_seconds(), 0.0))


def stopped_by(*, cancelled: bool, terminated: bool) -> StoppedBy | None:
    """By which request something ends that was marked with it."""
    if terminated:
        return StoppedBy.TERMINATE
    return StoppedBy.CANCEL if cancelled else None
