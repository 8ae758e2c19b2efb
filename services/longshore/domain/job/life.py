"""The life of jobs, decided without a database: what happens in, what changes out.

Every move of a job and of an attempt after submission is decided by `advance`, but for one: which
RUNNABLE job is placed where is placement's. Whoever keeps jobs reads what a step needs into `Jobs`,
writes the `Changes`, and follows what they leave in `happenings` to those whom that reaches.

How much follows from one event is unbounded (an array has 10,000 children, a job any number of
dependents), so it is followed in steps, as far as a tick's `Allowance` goes. What is left is a
happening that is kept until a later tick. Every decision is made from the present statuses of what
is waited for and never from counted signals, so a happening may be followed twice, late, or beside
an admission that has seen its outcome already: nothing is decided that was not true.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from longshore.domain.job.altering import alter
from longshore.domain.job.asking import act
from longshore.domain.job.changes import Changes
from longshore.domain.job.ending import stop, take_report
from longshore.domain.job.happening import (
    Altered,
    Counted,
    Doomed,
    Happening,
    Reached,
    Returned,
    StopAsked,
    Submitted,
    ToStop,
)
from longshore.domain.job.job import JobKey
from longshore.domain.job.record import AttemptReport
from longshore.domain.job.returning import take_back
from longshore.domain.job.snapshot import JobsSnapshot
from longshore.domain.job.waiting import admit, doom, finish_array, look_at, move_children

#: Steps of what follows in one tick: a happening, an edge or a child that is looked at.
STEPS_LIMIT = 5_000
#: Rounds in one tick. Each takes a handful of statements.
ROUNDS_LIMIT = 50


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


def advance(jobs: JobsSnapshot, happenings: Iterable[Happening], now: datetime) -> Changes:
    """Decides one step.

    Reports and stops go in order. All else is about different jobs, each seen as it was before the
    step; the attempts of `jobs` are moved along.
    """
    changes = Changes(now)
    #: Children are looked at together: a failure goes through a SEQUENTIAL array in one pass.
    children: list[JobKey] = []
    for happening in happenings:
        match happening:
            case AttemptReport(key=key):
                rules = jobs.exit_rules.get(key.job_id, ())
                take_report(jobs.attempts, changes, happening, rules, jobs.larger.get(key))
            case ToStop(key=key, attempt=number, why=why):
                if (live := jobs.attempts.live.get((key, number))) is not None:
                    stop(jobs.attempts, changes, live, why)
            case StopAsked():
                act(jobs, changes, happening)
            case Altered():
                alter(jobs, changes, happening)
            case Returned():
                take_back(jobs, changes, happening)
            case Counted(counts=counts):
                finish_array(changes, counts)
            case Reached(key=key) if key.is_child:
                children.append(key)
            case _:
                _move_whole(jobs, changes, happening)
    move_children(jobs, changes, children)
    return changes


def _move_whole(
    jobs: JobsSnapshot, changes: Changes, happening: Submitted | Reached | Doomed
) -> None:
    """Moves a whole job that waits for others."""
    row = jobs.rows.get(happening.key)
    if row is not None:
        {Submitted: admit, Reached: look_at, Doomed: doom}[type(happening)](jobs, changes, row)
