"""What happens to jobs, and makes them move on."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from longshore.domain.job.job import JobKey, Stop
from longshore.domain.job.record import AttemptReport, ChildCounts, LiveAttempt


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
    """Something that a job or child waits for is over: it alone is to be looked at."""

    key: JobKey


#: What is followed to those that it reaches, now or by a later tick: each of them is `Reached`.
Following = Ended | Spawned | Waits


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job is looked at for the first time."""

    key: JobKey


@dataclass(frozen=True, slots=True)
class Reached:
    """Something that a waiting job or child waits for is final."""

    key: JobKey


@dataclass(frozen=True, slots=True)
class Doomed:
    """A job whose success a waiting one waits for, directly or through others, has failed."""

    key: JobKey


@dataclass(frozen=True, slots=True)
class Counted:
    """Children of an array moved; these are their counts now."""

    counts: ChildCounts


@dataclass(frozen=True, slots=True)
class StopAsked:
    """A user asks to cancel or to terminate a job; of an array, its children of a range.

    So it is when the job's queue is deleted. Without children the range means nothing.
    """

    key: JobKey
    terminate: bool
    reason: str
    first: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Altered:
    """A user changes a job that waits; of an array, its children that wait."""

    key: JobKey
    #: Of the record of the change, which has the rest of it.
    update_id: int
    #: Whether its queue or share changes.
    moves: bool
    #: The shape, and its queue, in place of each that the job and its children have.
    shapes: Mapping[int, tuple[int, str]]


@dataclass(frozen=True, slots=True)
class ToStop:
    """An attempt must not go on: its time is over, or its instance's."""

    key: JobKey
    attempt: int
    why: Stop


@dataclass(frozen=True, slots=True)
class Returned:
    """The agent of an attempt that ended is there again, and still knows of it.

    `live` is what it was before it ended.
    """

    live: LiveAttempt
    is_lost: bool


Happening = (
    Returned | Submitted | Reached | Doomed | Counted | StopAsked | Altered | ToStop | AttemptReport
)
