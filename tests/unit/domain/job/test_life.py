"""What becomes of jobs that wait, from what they wait for."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.job.dependency import Child, Dependency, decide, outlook
from longshore.domain.job.job import JobKey, JobStatus
from longshore.domain.job.life import Allowance

ARRAY, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


def an_edge(
    kind: str = "PLAIN",
    status: JobStatus | None = None,
    parent_status: JobStatus | None = JobStatus.PENDING,
    *,
    spawned: bool = False,
) -> Dependency:
    return Dependency(ARRAY, OTHER, -1, kind, status, parent_status, spawned)


def a_sequence(size: int) -> list[Child]:
    """The children of a SEQUENTIAL array behind the first."""
    return [Child(JobKey(ARRAY, i), (JobKey(ARRAY, i - 1),)) for i in range(1, size)]


def test_a_job_waits_for_what_has_not_succeeded() -> None:
    done, runs = an_edge(status=JobStatus.SUCCEEDED), an_edge(status=JobStatus.RUNNING)
    assert outlook([done, runs]) == (1, False)
    assert outlook([done, done]) == (0, False)
    assert outlook([done, runs, an_edge(status=JobStatus.FAILED)]) == (2, True)


def test_a_child_that_never_comes_to_be_has_failed() -> None:
    assert outlook([an_edge(parent_status=JobStatus.PENDING)]) == (1, False)
    assert outlook([an_edge(parent_status=JobStatus.FAILED)]).failed
    assert outlook([an_edge(parent_status=None)]).failed


def test_pairs_are_looked_at_one_by_one_unless_there_never_were_any() -> None:
    over = JobStatus.FAILED
    assert outlook([an_edge("N_TO_N", over, over, spawned=True)]) == (0, False)
    assert outlook([an_edge("N_TO_N", over, over)]) == (0, True)


def test_a_failure_goes_through_a_sequential_array_in_one_pass() -> None:
    decided = decide(a_sequence(10_000), {JobKey(ARRAY, 0): JobStatus.FAILED})
    assert decided.failed == [JobKey(ARRAY, i) for i in range(1, 10_000)]
    assert not decided.ready


def test_a_success_lets_one_child_go() -> None:
    decided = decide(a_sequence(5), {JobKey(ARRAY, 0): JobStatus.SUCCEEDED})
    assert (decided.ready, decided.failed) == ([JobKey(ARRAY, 1)], [])


@given(st.lists(st.lists(st.sampled_from([None, *JobStatus]), max_size=4), max_size=20))
def test_a_child_is_ready_with_all_and_fails_with_any(found: list[list[JobStatus | None]]) -> None:
    statuses: dict[JobKey, JobStatus] = {}
    children = []
    for index, of_child in enumerate(found):
        keys = tuple(JobKey(uuid.UUID(int=10 + n), index) for n in range(len(of_child)))
        statuses |= {k: s for k, s in zip(keys, of_child, strict=True) if s is not None}
        children.append(Child(JobKey(ARRAY, index), keys))
    decided = decide(children, statuses)
    for child, of_child in zip(children, found, strict=True):
        fails = JobStatus.FAILED in of_child
        assert (child.key in decided.failed) is fails
        is_ready = not fails and all(s is JobStatus.SUCCEEDED for s in of_child)
        assert (child.key in decided.ready) is is_ready


def test_an_allowance_is_spent_by_steps_or_rounds() -> None:
    allowance = Allowance(steps=3, rounds=1)
    allowance.take(2)
    assert not allowance.spent
    allowance.take(5)
    assert (allowance.spent, allowance.taken) == (True, 7)
    assert Allowance(rounds=0).spent
