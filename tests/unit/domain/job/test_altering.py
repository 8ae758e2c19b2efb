"""Users' changes of jobs that wait."""

import uuid
from datetime import UTC, datetime

import pytest

from longshore.domain.job.altering import Alteration, judge
from longshore.domain.job.happening import Altered
from longshore.domain.job.job import JobKey, JobStatus
from longshore.domain.job.life import advance
from longshore.domain.job.record import FRONT, ChildCounts, JobFacts, NewEntry
from longshore.domain.job.snapshot import JobsSnapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JOB = uuid.UUID(int=1)


def _row(status: JobStatus, *, size: int | None = None, terminated: bool = False) -> JobFacts:
    return JobFacts(
        key=JobKey(JOB),
        seq=5,
        job_queue="q",
        shape_id=1,
        status=status,
        array_size=size,
        attempt=0,
        attempts_max=1,
        dependencies_left=0,
        is_cancelled=False,
        is_terminated=terminated,
        request_reason=None,
        created_at=NOW,
    )


def _counts(**by_status: int) -> ChildCounts:
    counts = {status: by_status.get(status.value.lower(), 0) for status in JobStatus}
    return ChildCounts(JOB, sum(counts.values()), counts)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (JobStatus.SUBMITTED, Alteration.APPLIED),
        (JobStatus.PENDING, Alteration.APPLIED),
        (JobStatus.RUNNABLE, Alteration.APPLIED),
        (JobStatus.STARTING, Alteration.STARTED),
        (JobStatus.RUNNING, Alteration.STARTED),
        (JobStatus.SUCCEEDED, Alteration.OVER),
        (JobStatus.FAILED, Alteration.OVER),
    ],
)
def test_a_job_changes_until_it_starts(status: JobStatus, outcome: Alteration) -> None:
    assert judge(_row(status), None, moves=True) is outcome
    assert judge(None, None, moves=False) is Alteration.OVER
    assert judge(_row(status, terminated=True), None, moves=False) is Alteration.OVER


@pytest.mark.parametrize(
    ("counts", "stays", "moves"),
    [
        ({"runnable": 3}, Alteration.APPLIED, Alteration.APPLIED),
        ({"pending": 1, "succeeded": 2}, Alteration.APPLIED, Alteration.APPLIED),
        ({"runnable": 1, "running": 2}, Alteration.APPLIED, Alteration.STARTED),
        ({"pending": 1, "starting": 2}, Alteration.APPLIED, Alteration.STARTED),
        ({"running": 1, "failed": 2}, Alteration.STARTED, Alteration.STARTED),
    ],
)
def test_an_array_changes_while_children_wait_and_moves_while_none_runs(
    counts: dict[str, int], stays: Alteration, moves: Alteration
) -> None:
    row = _row(JobStatus.PENDING, size=3)
    assert judge(row, _counts(**counts), moves=False) is stays
    assert judge(row, _counts(**counts), moves=True) is moves


def test_what_may_be_placed_waits_where_it_did_in_its_new_shape() -> None:
    """Also what is tried again, at the front, and what has a shape of its own."""
    entries = [
        NewEntry("q", JOB, 2, 5, 0, 1, FRONT, NOW),
        NewEntry("q", JOB, 1, 5, 3, 9, 0, NOW),
    ]
    asked = Altered(JobKey(JOB), 1, moves=True, shapes={1: (11, "p"), 2: (12, "p")})
    jobs = JobsSnapshot(
        rows={JobKey(JOB): _row(JobStatus.PENDING, size=9)},
        counts={JOB: _counts(runnable=7, succeeded=2)},
        entries={JOB: entries},
    )
    changes = advance(jobs, [asked], NOW)
    assert changes.unready == [JobKey(JOB)]
    assert changes.ready == [
        NewEntry("p", JOB, 12, 5, 0, 1, FRONT, NOW),
        NewEntry("p", JOB, 11, 5, 3, 9, 0, NOW),
    ]
    assert changes.altered == [asked]
    assert dict(changes.demand) == {12: 1, 11: 6}


def test_what_came_too_late_changes_nothing() -> None:
    asked = Altered(JobKey(JOB), 1, moves=False, shapes={1: (11, "q")})
    changes = advance(JobsSnapshot(rows={JobKey(JOB): _row(JobStatus.RUNNING)}), [asked], NOW)
    assert not changes.altered
    assert not changes.unready
    assert not changes.ready
