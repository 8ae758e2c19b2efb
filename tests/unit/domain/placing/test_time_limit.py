"""For how long a job may stand first in its queue, blocked for one reason."""

import uuid
from datetime import timedelta

from support.shapes import NOW

from longshore.domain.job.job import WHOLE, JobKey
from longshore.domain.placing.time_limit import (
    Blockage,
    TimeLimit,
    overdue,
    see,
    time_limits_of,
    watched,
)
from longshore.domain.placing.waiting import Why

MAX_RESOURCE = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
NO_CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
FIRST, SECOND = (JobKey(uuid.UUID(int=n), WHOLE) for n in (1, 2))
LATER = NOW + timedelta(seconds=1)


def test_a_job_is_watched_from_when_a_reason_blocks_it_first() -> None:
    blockage = see(None, FIRST, Why.MAX_RESOURCE, NOW)
    assert blockage == Blockage(FIRST, MAX_RESOURCE, NOW)
    assert see(blockage, FIRST, Why.MAX_RESOURCE, LATER) is blockage


def test_another_job_or_another_reason_begins_anew() -> None:
    blockage = Blockage(FIRST, MAX_RESOURCE, NOW)
    again = see(blockage, SECOND, Why.MAX_RESOURCE, LATER)
    assert again == Blockage(SECOND, MAX_RESOURCE, LATER)
    again = see(blockage, FIRST, Why.NO_CAPACITY, LATER)
    assert again == Blockage(FIRST, NO_CAPACITY, LATER)


def test_nobody_first_or_no_reason_ends_the_watch() -> None:
    blockage = Blockage(FIRST, MAX_RESOURCE, NOW)
    assert see(blockage, None, None, LATER) is None
    assert see(blockage, FIRST, None, LATER) is None


def test_a_job_is_overdue_at_the_limit_of_its_own_reason() -> None:
    limits = (TimeLimit(NO_CAPACITY, 1), TimeLimit(MAX_RESOURCE, 600))
    blockage = Blockage(FIRST, MAX_RESOURCE, NOW)
    assert overdue(blockage, limits, NOW + timedelta(seconds=599)) is None
    assert overdue(blockage, limits, NOW + timedelta(seconds=600)) is limits[1]
    # A clock that was set back ends nobody.
    assert overdue(blockage, limits, NOW - timedelta(days=1)) is None


def test_only_queues_where_a_reason_with_a_limit_blocks_something_are_looked_at() -> None:
    limits = {name: (TimeLimit(MAX_RESOURCE, 600),) for name in ("a", "b", "c")}
    reasons = {"a": {Why.NO_ROOM, Why.MAX_RESOURCE}, "b": {Why.NO_ROOM}, "d": {Why.MAX_RESOURCE}}
    assert watched(limits, reasons) == {"a"}


def test_the_job_ends_in_the_words_of_aws() -> None:
    cancels, terminates = time_limits_of(
        [
            {"reason": NO_CAPACITY, "maxTimeSeconds": 600, "action": action, "state": "RUNNABLE"}
            for action in ("CANCEL", "TERMINATE")
        ]
    )
    assert (cancels.seconds, cancels.terminates, terminates.terminates) == (600, False, True)
    said = f"by JobStateTimeLimit action due to reason: {NO_CAPACITY}"
    assert cancels.status_reason == f"Canceled {said}"
    assert terminates.status_reason == f"Terminated {said}"
