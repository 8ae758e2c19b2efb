"""What becomes of jobs that wait, from what they wait for."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.job.arrays import ArrayRules
from longshore.domain.job.dependency import (
    Child,
    Dependency,
    DependencyCondition,
    behind,
    decide,
    outlook,
)
from longshore.domain.job.happening import Ended
from longshore.domain.job.job import (
    DEPENDENCY_FAILED,
    DEPENDENCY_SUCCEEDED,
    JobKey,
    JobStatus,
)
from longshore.domain.job.life import Allowance

ARRAY, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


def an_edge(
    kind: str = "PLAIN",
    status: JobStatus | None = None,
    parent_status: JobStatus | None = JobStatus.PENDING,
    *,
    spawned: bool = False,
    condition: DependencyCondition = DependencyCondition.SUCCESS,
) -> Dependency:
    return Dependency(ARRAY, OTHER, -1, kind, status, parent_status, spawned, condition)


def a_sequence(
    size: int, condition: DependencyCondition = DependencyCondition.SUCCESS
) -> list[Child]:
    """The children of a SEQUENTIAL array behind the first."""
    return [Child(JobKey(ARRAY, i), ((JobKey(ARRAY, i - 1), condition),)) for i in range(1, size)]


def test_a_job_waits_for_what_has_not_succeeded() -> None:
    done, runs = an_edge(status=JobStatus.SUCCEEDED), an_edge(status=JobStatus.RUNNING)
    assert outlook([done, runs]) == (1, None)
    assert outlook([done, done]) == (0, None)
    assert outlook([done, runs, an_edge(status=JobStatus.FAILED)]) == (2, DEPENDENCY_FAILED)


def test_a_condition_is_decided_by_the_end_alone() -> None:
    """Before the end nothing is; then it holds, or never will, and the reason says which."""
    for condition, succeeded, failed in (
        (DependencyCondition.SUCCESS, (0, None), (1, DEPENDENCY_FAILED)),
        (DependencyCondition.COMPLETE, (0, None), (0, None)),
        (DependencyCondition.FAILURE, (1, DEPENDENCY_SUCCEEDED), (0, None)),
    ):
        for status in JobStatus:
            look = outlook([an_edge(status=status, condition=condition)])
            ends = {JobStatus.SUCCEEDED: succeeded, JobStatus.FAILED: failed}
            assert look == ends.get(status, (1, None)), (condition, status)
        # A child that never came to be has ended too, and not well.
        assert outlook([an_edge(parent_status=None, condition=condition)]) == failed


def test_a_child_that_never_comes_to_be_has_failed() -> None:
    assert outlook([an_edge(parent_status=JobStatus.PENDING)]) == (1, None)
    assert outlook([an_edge(parent_status=JobStatus.FAILED)]).unmet
    assert outlook([an_edge(parent_status=None)]).unmet


def test_pairs_are_looked_at_one_by_one_unless_there_never_were_any() -> None:
    over = JobStatus.FAILED
    assert outlook([an_edge("N_TO_N", over, over, spawned=True)]) == (0, None)
    assert outlook([an_edge("N_TO_N", over, over)]) == (0, DEPENDENCY_FAILED)
    for condition in (DependencyCondition.COMPLETE, DependencyCondition.FAILURE):
        assert outlook([an_edge("N_TO_N", over, over, condition=condition)]) == (0, None)


def test_a_failure_goes_through_a_sequential_array_in_one_pass() -> None:
    decided = decide(a_sequence(10_000), {JobKey(ARRAY, 0): JobStatus.FAILED})
    assert decided.failed == {DEPENDENCY_FAILED: [JobKey(ARRAY, i) for i in range(1, 10_000)]}
    assert not decided.ready


def test_a_sequence_that_goes_on_after_any_end_goes_on_one_by_one() -> None:
    sequence = a_sequence(10_000, DependencyCondition.COMPLETE)
    decided = decide(sequence, {JobKey(ARRAY, 0): JobStatus.FAILED})
    assert (decided.ready, decided.failed) == ([JobKey(ARRAY, 1)], {})


def test_a_success_lets_one_child_go() -> None:
    decided = decide(a_sequence(5), {JobKey(ARRAY, 0): JobStatus.SUCCEEDED})
    assert (decided.ready, decided.failed) == ([JobKey(ARRAY, 1)], {})


def test_behind_a_failure_only_the_next_is_looked_at_where_any_end_will_do() -> None:
    """Else each of ten thousand failures would have all that are behind it looked at."""
    ended = [Ended(JobKey(ARRAY, 3), succeeded=False)]
    following = {JobKey(ARRAY, 4)}
    strict, loose = (
        ArrayRules(9, 0, sequential=True, on_any_end=any_end) for any_end in (False, True)
    )
    assert behind(ended, {ARRAY: strict}) == (set(), following)
    assert behind(ended, {ARRAY: loose}) == (following, set())


WAITED_FOR = st.tuples(st.sampled_from([None, *JobStatus]), st.sampled_from(DependencyCondition))


@given(st.lists(st.lists(WAITED_FOR, max_size=4), max_size=20))
def test_a_child_is_ready_with_all_and_fails_with_any(
    found: list[list[tuple[JobStatus | None, DependencyCondition]]],
) -> None:
    statuses: dict[JobKey, JobStatus] = {}
    children = []
    for index, of_child in enumerate(found):
        keys = tuple(JobKey(uuid.UUID(int=10 + n), index) for n in range(len(of_child)))
        statuses |= {k: s for k, (s, _) in zip(keys, of_child, strict=True) if s is not None}
        edges = tuple((k, on) for k, (_, on) in zip(keys, of_child, strict=True))
        children.append(Child(JobKey(ARRAY, index), edges))
    decided = decide(children, statuses)
    for child, of_child in zip(children, found, strict=True):
        fails = any(on.holds(status) is False for status, on in of_child)
        assert any(child.key in failed for failed in decided.failed.values()) is fails
        is_ready = not fails and all(on.holds(status) for status, on in of_child)
        assert (child.key in decided.ready) is is_ready


def test_an_allowance_is_spent_by_steps_or_rounds() -> None:
    allowance = Allowance(steps=3, rounds=1)
    allowance.take(2)
    assert not allowance.spent
    allowance.take(5)
    assert (allowance.spent, allowance.taken) == (True, 7)
    assert Allowance(rounds=0).spent
