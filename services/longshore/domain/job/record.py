"""What is known of jobs and attempts while their life is decided, and what is decided of them."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from longshore.domain.consumable import Units
from longshore.domain.job.job import JobKey, JobStatus, Stop
from longshore.domain.resources import Resources

#: Names one attempt.
AttemptRef = tuple[JobKey, int]

#: Rank of what is placed before all others of its queue.
FRONT = -1


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A job as the scheduler sees it."""

    key: JobKey
    seq: int
    job_queue: str
    shape_id: int
    status: JobStatus
    array_size: int | None
    attempt: int
    attempts_max: int
    dependencies_left: int
    is_cancelled: bool
    is_terminated: bool
    request_reason: str | None
    created_at: datetime
    num_nodes: int | None = None
    main_node: int | None = None


@dataclass(frozen=True, slots=True)
class JobMove:
    """A job's new status and what goes with it."""

    key: JobKey
    status: JobStatus
    status_reason: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class JobFlag:
    """A request that is noted on a job."""

    key: JobKey
    cancelled: bool
    terminated: bool
    reason: str


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A job reached a status, or children did: from `key` up to an index, exclusive."""

    key: JobKey
    attempt: int
    status: JobStatus
    status_reason: str | None
    at: datetime
    end_index: int | None = None


@dataclass(frozen=True, slots=True)
class NewEntry:
    """Jobs that became dispatchable. FRONT puts them before the others.

    They wait since `ready_at`; None: from now on.
    """

    job_queue: str
    job_id: uuid.UUID
    shape_id: int
    seq: int
    next_index: int
    end_index: int
    rank: int = 0
    ready_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewArray:
    """An array whose children begin to exist."""

    job_id: uuid.UUID
    size: int
    runnable: int
    sequential: bool


@dataclass(frozen=True, slots=True)
class NewChild:
    """A child that differs from its siblings before it was placed: PENDING, or FAILED at once."""

    key: JobKey
    status: JobStatus
    reason: str
    cancelled: bool = False
    terminated: bool = False


@dataclass(frozen=True, slots=True)
class ChildCounts:
    """Children of an array by status."""

    job_id: uuid.UUID
    size: int
    counts: Mapping[JobStatus, int]

    @property
    def finished(self) -> bool:
        """Whether every child is final."""
        return self.counts[JobStatus.SUCCEEDED] + self.counts[JobStatus.FAILED] == self.size


@dataclass(slots=True)
class LiveAttempt:
    """An attempt that has not ended, as the scheduler keeps it in memory."""

    key: JobKey
    attempt: int
    attempt_id: str
    instance_id: str
    compute_environment: str
    held: Resources
    log_stream_name: str
    placed_at: datetime
    seq: int
    job_queue: str
    shape_id: int
    attempts_max: int
    timeout_seconds: int | None
    array_size: int | None
    running: bool = False
    #: As its agent says, within what can be.
    started_at: datetime | None = None
    #: When the scheduler learned that it runs, by its own clock.
    running_at: datetime | None = None
    stop: Stop | None = None
    #: Of nodes of multi-node jobs: how many there are, and which is the main one.
    num_nodes: int | None = None
    main_node: int | None = None
    #: Of a node, from RUNNING on: under which other nodes reach it.
    address: str | None = None
    #: A node that its agent does not know of yet: it starts once the main node runs, and is told
    #: under which address.
    held_back: bool = False
    main_address: str = ""
    #: Whose it is, in a queue with a scheduling policy.
    share: str = ""
    #: What its job holds of consumable resources; a multi-node job does until its last node ends.
    units: Units = ()
    #: For how long it waited for the slowest pull of its images, as far as that is news.
    pull_seconds: float | None = None

    @property
    def is_main(self) -> bool:
        """Whether it is the main node of a multi-node job."""
        return self.key.is_node and self.key.node_index == self.main_node


@dataclass(frozen=True, slots=True)
class ContainerState:
    """How far one container of a multi-container job is."""

    name: str
    #: Whether its main process ever started.
    started: bool
    exit_code: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ImageStart:
    """How an attempt came by an image: it waited for a pull, or the image was there."""

    image: str
    #: None: it was there.
    pull_seconds: float | None = None
    pulled_bytes: int = 0


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """An attempt moved on: it runs, or it ended. `started_at` is None if no process ever ran."""

    key: JobKey
    attempt: int
    ended: bool
    started_at: datetime | None
    stopped_at: datetime | None = None
    exit_code: int | None = None
    reason: str | None = None
    status_reason: str | None = None
    #: Under which other nodes reach it; with the start of a node of a multi-node job.
    address: str | None = None
    #: Whose agent says so; None: the scheduler itself.
    instance_id: str | None = None
    #: Its instance was given up: nobody knows how it ended, if it has.
    is_lost: bool = False
    #: It never reached what runs containers, and never will there: it was no attempt.
    returned: bool = False
    #: Of a multi-container job, how far its containers are.
    containers: tuple[ContainerState, ...] = ()
    images: tuple[ImageStart, ...] = ()


@dataclass(frozen=True, slots=True)
class AttemptMove:
    """An attempt's new status; `stopped_at` is set if it ended."""

    key: JobKey
    attempt: int
    status: str
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    exit_code: int | None = None
    reason: str | None = None
    status_reason: str | None = None
    address: str | None = None
    #: With RUNNING: when the scheduler learned of it.
    running_at: datetime | None = None
    #: With ENDED: its instance was given up, and nobody knows how it ended.
    is_lost: bool = False
    #: As far as something new is known of them.
    containers: tuple[ContainerState, ...] = ()
    #: For how long it waited for the slowest pull of its images; None: no news.
    pull_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class MainEnd:
    """How the main node of a multi-node job ended, kept until its last node has."""

    attempt: int
    started_at: datetime | None
    stopped_at: datetime
    exit_code: int | None
    reason: str | None
    status_reason: str
    stop: Stop | None
