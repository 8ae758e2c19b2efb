"""What a decision about jobs sees of them."""

import uuid
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from longshore.domain.job.arrays import ArrayRules
from longshore.domain.job.attempts import Attempts
from longshore.domain.job.dependency import Dependency
from longshore.domain.job.job import JobKey
from longshore.domain.job.record import ChildCounts, JobFacts, NewEntry
from longshore.domain.job.retry import ExitRule


@dataclass(frozen=True, slots=True)
class JobsSnapshot:
    """What is known of the jobs of one step: those that something happens to, and around them.

    Members that what happens does not touch may stay empty.
    """

    #: Jobs, array parents, and children that have a record: the others of a spawned array are
    #: PENDING, or RUNNABLE if `runnable` has them.
    rows: Mapping[JobKey, JobFacts] = field(default_factory=dict)
    #: What jobs wait for, by who waits.
    edges: Mapping[uuid.UUID, Sequence[Dependency]] = field(default_factory=dict)
    rules: Mapping[uuid.UUID, ArrayRules] = field(default_factory=dict)
    #: Children that may be placed.
    runnable: Container[JobKey] = ()
    #: How many children of arrays are in which status, and what of jobs may be placed, where a
    #: user changes them.
    counts: Mapping[uuid.UUID, ChildCounts] = field(default_factory=dict)
    entries: Mapping[uuid.UUID, Sequence[NewEntry]] = field(default_factory=dict)
    #: Arrays whose children exist.
    spawned: Container[uuid.UUID] = ()
    #: Queues whose jobs are taken on.
    queues: Container[str] = ()
    #: Jobs that would give more tags on to their containers than these may have.
    tagged: Container[uuid.UUID] = ()
    #: evaluateOnExit of jobs with an attempt that may be tried again.
    exit_rules: Mapping[uuid.UUID, tuple[ExitRule, ...]] = field(default_factory=dict)
    #: The shapes of next attempts that are to have more memory than the ones that end.
    larger: Mapping[JobKey, int] = field(default_factory=dict)
    #: The one part that moves along: what is decided of an attempt is decided at once.
    attempts: Attempts = field(default_factory=Attempts)
