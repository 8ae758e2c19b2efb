"""Whom ended jobs reach, and what there is to know of them."""

import uuid
from datetime import UTC, datetime

from longshore.domain.job.dependency import Dependent, Reach, reach
from longshore.domain.job.happening import Ended
from longshore.domain.job.job import JobKey, JobStatus
from longshore.domain.job.record import JobFacts

WAITING = JobKey(uuid.UUID(int=99))


def ended(*succeeded: bool) -> list[Ended]:
    """So many jobs that ended together."""
    return [Ended(JobKey(uuid.UUID(int=n)), good) for n, good in enumerate(succeeded)]


def reached(left: int, *succeeded: bool, paired: bool = False, on_failure: bool = False) -> Reach:
    """Whom they reach, of a job that waits for so many and depends on each of them."""
    row = JobFacts(
        key=WAITING,
        seq=1,
        job_queue="q",
        shape_id=1,
        status=JobStatus.PENDING,
        array_size=None,
        attempt=0,
        attempts_max=1,
        dependencies_left=left,
        is_cancelled=False,
        is_terminated=False,
        request_reason=None,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    edges = [Dependent(n, WAITING.job_id, paired, on_failure) for n in range(len(succeeded))]
    return reach(edges, ended(*succeeded), {WAITING: row})


def test_a_job_that_waits_for_more_only_counts_down() -> None:
    found = reached(5, True, True)
    assert (found.whole, found.left) == (set(), {WAITING: 3})


def test_the_last_one_is_looked_at_however_many_were_counted() -> None:
    """What was counted may be too few: an end that is followed twice is counted twice."""
    for left in (1, 2):
        found = reached(left, True, True)
        assert (found.whole, found.left) == ({WAITING}, {})


def test_a_failure_is_looked_at_whatever_is_left() -> None:
    found = reached(5, True, False)
    assert (found.whole, found.left) == ({WAITING}, {})


def test_pairs_are_not_counted() -> None:
    found = reached(5, True, paired=True)
    assert (found.whole, found.left) == ({WAITING}, {})


def test_a_success_that_was_to_be_a_failure_is_looked_at_whatever_is_left() -> None:
    found = reached(5, True, on_failure=True)
    assert (found.whole, found.left) == ({WAITING}, {})
