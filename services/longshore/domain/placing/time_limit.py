"""Jobs that block the head of their queue for too long (jobStateTimeLimitActions).

Simple meaning: whoever stands first in a queue is watched, with the reason that blocks it. Once it
has stood there for one and the same reason for as long as the queue allows, it is ended. Another
job, or another reason, begins anew. AWS Batch User Guide, "job state time limit actions".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from longshore.domain.checks import Json
from longshore.domain.job.job import JobKey
from longshore.domain.placing.shapes import QueueEntry, Shape
from longshore.domain.placing.waiting import Why
from longshore.domain.placing.words import code_of, is_blocking

#: What may be done: on queues of compute environments both end a job that has not started.
CANCEL = "CANCEL"
TERMINATE = "TERMINATE"
_DONE = {CANCEL: "Canceled", TERMINATE: "Terminated"}


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """For how long a job may stand first, blocked for a reason, and what then is done."""

    code: str
    seconds: int
    action: str = CANCEL

    @property
    def terminates(self) -> bool:
        """Whether the job is terminated, not cancelled."""
        return self.action == TERMINATE

    @property
    def status_reason(self) -> str:
        """What the job ends with, in AWS's words."""
        return f"{_DONE[self.action]} by JobStateTimeLimit action due to reason: {self.code}"


@dataclass(frozen=True, slots=True)
class Blockage:
    """The job or child that stands first in a queue, and since when one reason blocks it."""

    key: JobKey
    code: str
    since: datetime


def time_limits_of(actions: Sequence[Json]) -> tuple[TimeLimit, ...]:
    """The limits of a queue, of its jobStateTimeLimitActions as they were checked."""
    return tuple(
        TimeLimit(action["reason"], action["maxTimeSeconds"], action["action"])
        for action in actions
    )


def watched(
    limits: Mapping[str, Sequence[TimeLimit]], blocked: Mapping[str, set[Why]]
) -> frozenset[str]:
    """The queues whose first job is to be looked at.

    A reason with a limit blocks some of their jobs, or one of those that users are told of.

    Args:
        limits: of each queue.
        blocked: what blocks jobs of theirs, by queue.
    """
    return frozenset(
        queue
        for queue, some in limits.items()
        if any(is_blocking(why) for why in blocked.get(queue, ()))
        or {limit.code for limit in some} & {code_of(why) for why in blocked.get(queue, ())}
    )


def first_of(entries: Sequence[QueueEntry], shapes: Mapping[int, Shape]) -> QueueEntry:
    """Which of some entries of one share comes first."""
    return min(entries, key=lambda e: (-shapes[e.shape_id].priority, e.rank, e.seq, e.next_index))


def key_of(entry: QueueEntry) -> JobKey:
    """The job, or the first of the children, that an entry stands for."""
    return JobKey(entry.job_id, entry.next_index)


def see(
    known: Blockage | None, key: JobKey | None, why: Why | None, now: datetime
) -> Blockage | None:
    """What there is to know of a queue's first job now.

    Args:
        known: what was known before.
        key: the job that stands first, None if there is none.
        why: why jobs like it wait, None if that was not said yet.
        now: the time.
    """
    if key is None or why is None:
        return None
    if known is not None and known.key == key and known.code == code_of(why):
        return known
    return Blockage(key, code_of(why), now)


def overdue(blockage: Blockage, limits: Sequence[TimeLimit], now: datetime) -> TimeLimit | None:
    """The limit that a queue's first job is past, None if there is none."""
    for limit in limits:
        if limit.code == blockage.code and now - blockage.since >= timedelta(seconds=limit.seconds):
            return limit
    return None
