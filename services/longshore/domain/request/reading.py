"""Jobs as they are read: what DescribeJobs and ListJobs show, before it is given AWS's shape."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Self

from longshore.domain.checks import Json
from longshore.domain.consumable import Units
from longshore.domain.job.job import JobKey, JobStatus


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt of a job."""

    attempt: int
    attempt_id: str
    instance_id: str
    compute_environment: str
    #: None if the compute environment is gone.
    environment_id: uuid.UUID | None
    log_stream_name: str
    started_at: datetime | None
    stopped_at: datetime | None
    exit_code: int | None
    reason: str | None
    status_reason: str | None
    #: Under which other nodes of a multi-node job reach it, while known.
    address: str | None = None
    memory_mib: int | None = None
    #: Where its instance is; empty of machines that are in none.
    zone: str = ""
    #: Of a multi-container job, by name: `started`, and once it ended `exitCode` and `reason`.
    containers: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChildStatusCounts:
    """How many children of an array job are in each status."""

    by_status: Mapping[str, int]
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class NodeCount:
    """How many nodes a multi-node job has, and which of them decides how it ends."""

    num_nodes: int
    main_node: int


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A single job, a multi-node job, an array parent, a child or a node."""

    key: JobKey
    #: Position in order of submission; children and nodes have their parent's.
    seq: int
    name: str
    job_queue: str
    definition_name: str
    definition_revision: int
    status: JobStatus
    status_reason: str | None
    #: Of the array, for a parent and its children.
    array_size: int | None
    counts: ChildStatusCounts | None
    #: Of the multi-node job, for it and its nodes.
    nodes: NodeCount | None
    is_cancelled: bool
    is_terminated: bool
    exit_code: int | None
    reason: str | None
    created_at: datetime
    started_at: datetime | None
    stopped_at: datetime | None
    #: In queues with a scheduling policy; children and nodes have their parent's.
    share: str | None = None
    #: Of an array parent: the array whose failed children these are.
    rerun_of: uuid.UUID | None = None
    #: The user who has submitted it; empty for who is none.
    submitted_by: str = ""

    @property
    def is_child(self) -> bool:
        """Whether this is a child of an array job."""
        return self.key.is_child


@dataclass(frozen=True, slots=True)
class DescribedJob:
    """A job with all that is known of it."""

    job: JobRecord
    #: The members stored with the job's submission.
    detail: Json
    tags: Mapping[str, str]
    #: Of a multi-node job those of its main node.
    attempts: tuple[AttemptRecord, ...]
    #: Of a child of an array that runs another one's again: the index that it sees.
    rerun_index: int | None = None
    #: Of such an array: those that its children see, in words.
    rerun_indexes: tuple[str, ...] = ()
    #: Of the present or next attempt, where that may be more than of the first.
    memory_mib: int | None = None


@dataclass(frozen=True, slots=True)
class NeedingJob:
    """A job that needs a consumable resource."""

    job: JobRecord
    #: Of that resource.
    quantity: int
    #: All that it needs.
    units: Units


class NamePlace(NamedTuple):
    """Where a job stands in a listing by name: the latest revision and the newest job first."""

    name: str
    definition_name: str
    definition_revision: int
    seq: int

    @classmethod
    def of(cls, job: JobRecord) -> Self:
        """Where a job stands."""
        return cls(job.name, job.definition_name, job.definition_revision, job.seq)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What ListJobs asks of the jobs of a queue; None asks nothing."""

    statuses: tuple[str, ...]
    #: LIKE patterns; the name's is in lower case, and with it the order is by name.
    name_pattern: str | None = None
    definition_pattern: str | None = None
    definition_revision: int | None = None
    created_before: datetime | None = None
    created_after: datetime | None = None
    share: str | None = None
    submitted_by: str | None = None
