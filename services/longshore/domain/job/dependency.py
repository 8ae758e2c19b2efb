"""Who waits for whom, and what what is waited for says of those who wait.

An edge has a condition: how what is waited for has to end. Once it is final the condition holds or
never can, and that alone decides: a waiting job goes on once all its conditions hold, and fails
with the first that never can.
"""

import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from longshore.domain.job.arrays import ArrayRules
from longshore.domain.job.happening import Ended, Spawned
from longshore.domain.job.job import (
    DEPENDENCY_FAILED,
    DEPENDENCY_SUCCEEDED,
    JobKey,
    JobStatus,
)
from longshore.domain.job.record import JobFacts


class DependencyCondition(StrEnum):
    """How what is waited for has to end; the words are those of containers that wait for others.

    User Guide, "ContainerDependency".
    """

    SUCCESS = "SUCCESS"
    COMPLETE = "COMPLETE"
    FAILURE = "FAILURE"

    def holds(self, status: JobStatus | None) -> bool | None:
        """Whether it holds with a status; None: that is not known before the end."""
        if status is None or not status.final:
            return None
        return self is DependencyCondition.COMPLETE or (
            (self is DependencyCondition.SUCCESS) == (status is JobStatus.SUCCEEDED)
        )

    @property
    def unmet(self) -> str:
        """Why a job fails for which it can never hold."""
        return DEPENDENCY_SUCCEEDED if self is DependencyCondition.FAILURE else DEPENDENCY_FAILED


@dataclass(frozen=True, slots=True)
class Dependency:
    """An edge with the present status of what is depended on; None: a child without a row."""

    job_id: uuid.UUID
    depends_on: uuid.UUID | None
    depends_on_index: int
    type: str
    status: JobStatus | None
    parent_status: JobStatus | None
    #: Whether what is depended on is an array whose children exist.
    spawned: bool
    condition: DependencyCondition = DependencyCondition.SUCCESS

    @property
    def never(self) -> bool:
        """Whether it is onto children that never come to be."""
        over = self.parent_status is None or self.parent_status.final
        return self.depends_on is not None and over and not self.spawned


class Outlook(NamedTuple):
    """How many dependencies of a whole job are outstanding, and why it can never run, if so."""

    left: int
    unmet: str | None


def outlook(edges: Iterable[Dependency]) -> Outlook:
    """What the dependencies of a whole job say of it."""
    left, unmet = 0, None
    for edge in edges:
        if edge.depends_on is None:
            continue
        if edge.type == "N_TO_N":
            # Children are looked at one by one, unless there never were any and none can run.
            if edge.never and not edge.condition.holds(JobStatus.FAILED):
                unmet = unmet or edge.condition.unmet
            continue
        status = edge.status
        if status is None and (edge.parent_status is None or edge.parent_status.final):
            status = JobStatus.FAILED  # a child that never came to be
        holds = edge.condition.holds(status)
        if holds is False:
            unmet = unmet or edge.condition.unmet
        left += not holds
    return Outlook(left, unmet)


@dataclass(frozen=True, slots=True)
class Child:
    """A PENDING child and the children that it waits for, each with its condition."""

    key: JobKey
    waits_for: tuple[tuple[JobKey, DependencyCondition], ...]


@dataclass(slots=True)
class Decided:
    """What becomes of waiting children; those in neither list wait on."""

    #: By the reason.
    failed: dict[str, list[JobKey]] = field(default_factory=dict)
    ready: list[JobKey] = field(default_factory=list)


def decide(children: Iterable[Child], statuses: Mapping[JobKey, JobStatus]) -> Decided:
    """Decides waiting children from the statuses of those that they wait for.

    A child that fails here decides at once those that wait for it and come after it: a failure goes
    through a SEQUENTIAL array in one pass over its children.

    Args:
        children: waiting children, each once.
        statuses: of those waited for; the absent ones are not final.
    """
    decided = Decided()
    failed: set[JobKey] = set()
    for child in sorted(children, key=lambda child: child.key):
        unmet, waits = None, False
        for key, condition in child.waits_for:
            holds = condition.holds(JobStatus.FAILED if key in failed else statuses.get(key))
            waits = waits or holds is None
            if holds is False:
                unmet = unmet or condition.unmet
        if unmet is not None:
            failed.add(child.key)
            decided.failed.setdefault(unmet, []).append(child.key)
        elif not waits:
            decided.ready.append(child.key)
    return decided


@dataclass(frozen=True, slots=True)
class Dependent:
    """Who waits for one of some jobs, by the position of that; `paired` child by child."""

    position: int
    job_id: uuid.UUID
    paired: bool
    #: Whether it waits for that one's failure.
    on_failure: bool


@dataclass(slots=True)
class Reach:
    """Whom ended jobs reach: waiting jobs, waiting children, and arrays to be gone through."""

    whole: set[JobKey] = field(default_factory=set)
    children: set[JobKey] = field(default_factory=set)
    arrays: list[Spawned] = field(default_factory=list)
    #: Waiting jobs of which no more is to be known than how many dependencies they have left.
    left: dict[JobKey, int] = field(default_factory=dict)


def reach(
    dependents: Iterable[Dependent], ended: Sequence[Ended], rows: Mapping[JobKey, JobFacts]
) -> Reach:
    """Which of those who wait for ended jobs are to be looked at.

    Simple meaning: every waiting job that depends on one of them. How the code differs: one that
    waits for the success of more than these, none of which failed, only counts down. To look at it
    is to read all of its dependencies, and so often as one of them ends that would be their number
    squared. What is counted may be too few, where an end is followed twice, and never too many: the
    last one is looked at, and says what is true.
    """
    found = Reach()
    succeeded: Counter[JobKey] = Counter()
    surely: set[JobKey] = set()
    for edge in dependents:
        row = rows.get(JobKey(edge.job_id))
        if row is None or row.status is not JobStatus.PENDING:
            continue
        key = ended[edge.position].key
        if row.dependencies_left > 0:
            # The children of an array are looked at when they exist.
            if edge.paired and key.is_child:
                continue
            found.whole.add(row.key)
            if edge.paired or edge.on_failure or not ended[edge.position].succeeded:
                surely.add(row.key)
            else:
                succeeded[row.key] += 1
        elif edge.paired and row.array_size is not None:
            if key.is_child:
                found.children.add(JobKey(edge.job_id, key.array_index))
            else:
                found.arrays.append(Spawned(edge.job_id))
    for waiting in found.whole - surely:
        left = rows[waiting].dependencies_left - succeeded[waiting]
        if left > 0:
            found.left[waiting] = left
    found.whole -= found.left.keys()
    return found


def behind(
    ended: Collection[Ended], rules: Mapping[uuid.UUID, ArrayRules]
) -> tuple[set[JobKey], set[JobKey]]:
    """The next children of SEQUENTIAL arrays: behind those that let them run, and that fail them.

    Behind one that failed all that wait are to be looked at, up to the next that does not: those
    behind that one are its own to fail. Where any end will do only the next one is.
    """
    met: set[JobKey] = set()
    failed: set[JobKey] = set()
    for this in ended:
        rule = rules.get(this.key.job_id)
        if this.key.is_child and rule is not None and rule.sequential:
            following = JobKey(this.key.job_id, this.key.array_index + 1)
            if following.array_index < rule.size:
                (met if this.succeeded or rule.on_any_end else failed).add(following)
    return met, failed - {this.key for this in ended}


def waits_for(
    key: JobKey, rules: ArrayRules, edges: Iterable[Dependency]
) -> tuple[tuple[JobKey, DependencyCondition], ...]:
    """The children that a child waits for, and how each has to end."""
    others = [
        (JobKey(edge.depends_on, key.array_index), edge.condition)
        for edge in edges
        if edge.type == "N_TO_N" and edge.depends_on is not None
    ]
    if rules.sequential and key.array_index > 0:
        condition = (
            DependencyCondition.COMPLETE if rules.on_any_end else DependencyCondition.SUCCESS
        )
        others.append((JobKey(key.job_id, key.array_index - 1), condition))
    return tuple(others)


def final_status(key: JobKey, rows: Mapping[JobKey, JobFacts]) -> JobStatus | None:
    """How a child ended, if it has; one that never comes to be has failed."""
    if key in rows:
        return rows[key].status if rows[key].status.final else None
    parent = rows.get(key.parent)
    return JobStatus.FAILED if parent is None or parent.status.final else None
