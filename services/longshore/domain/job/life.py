"""What follows from jobs that became final, decided without a database.

Meaning: a job that waits for others fails with the first of them that fails, and may run once all
have succeeded; the children of an array wait likewise, each for the child of the same index of
every N_TO_N dependency, and in a SEQUENTIAL array for the child before it.

How much follows from one event is unbounded (an array has 10,000 children, a job any number of
dependents), so it is followed in steps, as far as a tick's `Allowance` goes. What is left is a
happening that is kept until a later tick. Every decision is made from the present statuses of what
is waited for and never from counted signals, so a happening may be followed twice, late, or beside
an admission that has seen its outcome already: nothing is decided that was not true.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from longshore.domain.job.job import JobKey, JobStatus

#: Steps of what follows in one tick: a happening, an edge or a child that is looked at.
STEPS_LIMIT = 5_000
#: Rounds in one tick. Each takes a handful of statements.
ROUNDS_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Ended:
    """A job became final. Its dependents up to and including `after` were moved already."""

    key: JobKey
    succeeded: bool
    after: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Spawned:
    """What the children of an array wait for may be over already, from this index on."""

    job_id: uuid.UUID
    first: int = 0


@dataclass(frozen=True, slots=True)
class Waits:
    """Something that a job waits for is over: it alone is to be looked at."""

    job_id: uuid.UUID


Happening = Ended | Spawned | Waits


@dataclass(slots=True)
class Allowance:
    """How much may still follow in this tick."""

    steps: int = STEPS_LIMIT
    rounds: int = ROUNDS_LIMIT
    #: Steps taken so far.
    taken: int = 0

    @property
    def spent(self) -> bool:
        """Whether the rest is for a later tick."""
        return self.steps <= 0 or self.rounds <= 0

    def take(self, steps: int) -> None:
        """Counts steps."""
        self.steps -= steps
        self.taken += steps

    def restore(self, saved: "Allowance") -> None:
        """Goes back to a copy made earlier: what was taken since then is undone."""
        self.steps, self.rounds, self.taken = saved.steps, saved.rounds, saved.taken


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
