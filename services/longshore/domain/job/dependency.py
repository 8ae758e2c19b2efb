"""Who waits for whom, and what what is waited for says of those who wait."""

import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from longshore.domain.job.arrays import ArrayRules
from longshore.domain.job.happening import Ended, Spawned
from longshore.domain.job.job import JobKey, JobStatus
from longshore.domain.job.record import JobFacts


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

    @property
    def never(self) -> bool:
        """Whether it is onto children that never come to be."""
        over = self.parent_status is None or self.parent_status.final
        return self.depends_on is not None and over and not self.spawned


class Outlook(NamedTuple):
    """How many dependencies of a whole job are outstanding, and whether any has failed."""

    left: int
    failed: bool


def outlook(edges: Iterable[Dependency]) -> Outlook:
    """What the dependencies of a whole job say of it."""
    left, failed = 0, False
    for edge in edges:
        if edge.depends_on is None:
            continue
        if edge.type == "N_TO_N":
            # Children are looked at one by one, unless there never were any.
            failed = failed or edge.never
            continue
        status = edge.status
        if status is None and (edge.parent_status is None or edge.parent_status.final):
            status = JobStatus.FAILED  # a child that never came to be
        failed = failed or status is JobStatus.FAILED
        left += status is not JobStatus.SUCCEEDED
    return Outlook(left, failed)


@dataclass(frozen=True, slots=True)
class Child:
    """A PENDING child and the children that it waits for."""

    key: JobKey
    waits_for: tuple[JobKey, ...]


@dataclass(slots=True)
class Decided:
    """What becomes of waiting children; those in neither list wait on."""

    failed: list[JobKey] = field(default_factory=list)
    ready: list[JobKey] = field(default_factory=list)


def decide(children: Iterable[Child], statuses: Mapping[JobKey, JobStatus]) -> Decided:
    """Decides waiting children from the statuses of those that they wait for.

    A child that fails here fails at once those that wait for it and come after it: a failure goes
    through a SEQUENTIAL array in one pass over its children.

    Args:
        children: waiting children, each once.
        statuses: of those waited for; the absent ones are not final.
    """
    decided = Decided()
    failed: set[JobKey] = set()
    for child in sorted(children, key=lambda child: child.key):
        found = {
            JobStatus.FAILED if key in failed else statuses.get(key) for key in child.waits_for
        }
        if JobStatus.FAILED in found:
            failed.add(child.key)
            decided.failed.append(child.key)
        elif found <= {JobStatus.SUCCEEDED}:
            decided.ready.append(child.key)
    return decided


@dataclass(frozen=True, slots=True)
class Dependent:
    """Who waits for one of some jobs, by the position of that; `paired` child by child."""

    position: int
    job_id: uuid.UUID
    paired: bool


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
    waits for more than these, none of which failed, only counts down. To look at it is to read all
    of its dependencies, and so often as one of them ends that would be their number squared. What
    is counted may be too few, where an end is followed twice, and never too many: the last one is
    looked at, and says what is true.
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
            if edge.paired or not ended[edge.position].succeeded:
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
    """The next children of SEQUENTIAL arrays: behind those that succeeded, and that failed.

    Behind one that failed all that wait are to be looked at, up to the next that does not: those
    behind that one are its own to fail.
    """
    succeeded: set[JobKey] = set()
    failed: set[JobKey] = set()
    for this in ended:
        rule = rules.get(this.key.job_id)
        if this.key.is_child and rule is not None and rule.sequential:
            following = JobKey(this.key.job_id, this.key.array_index + 1)
            if following.array_index < rule.size:
                (succeeded if this.succeeded else failed).add(following)
    return succeeded, failed - {this.key for this in ended}


def waits_for(key: JobKey, rules: ArrayRules, edges: Iterable[Dependency]) -> tuple[JobKey, ...]:
    """The children that a child waits for."""
    others = [
        JobKey(edge.depends_on, key.array_index)
        for edge in edges
        if edge.type == "N_TO_N" and edge.depends_on is not None
    ]
    if rules.sequential and key.array_index > 0:
        others.append(JobKey(key.job_id, key.array_index - 1))
    return tuple(others)


def final_status(key: JobKey, rows: Mapping[JobKey, JobFacts]) -> JobStatus | None:
    """How a child ended, if it has; one that never comes to be has failed."""
    if key in rows:
        return rows[key].status if rows[key].status.final else None
    parent = rows.get(key.parent)
    return JobStatus.FAILED if parent is None or parent.status.final else None
