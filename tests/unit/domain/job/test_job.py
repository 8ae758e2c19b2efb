"""Job ids, statuses, and what the end of an attempt means."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.arn import Arns
from longshore.domain.errors import InvalidRequest
from longshore.domain.job.job import (
    ESSENTIAL_EXITED,
    MAIN_NODE_ENDED,
    TIMED_OUT,
    AttemptEnd,
    JobKey,
    JobStatus,
    Stop,
    StopKind,
    Verdict,
    host_terminated,
    judge,
)
from longshore.domain.job.retry import ExitRule

ID = "0e1f8a52-5d0f-4c6b-9f3c-2d7f0d2d6c11"
keys = st.builds(JobKey, st.uuids(), st.integers(-1, 9_999))


def judged(
    exit_code: int | None = 1,
    *,
    attempt: int = 1,
    of: int = 1,
    stop: Stop | None = None,
    rules: tuple[ExitRule, ...] = (),
) -> Verdict:
    end = AttemptEnd(exit_code, None, ESSENTIAL_EXITED, stop)
    return judge(end, attempt=attempt, attempts_max=of, rules=rules)


@given(keys)
def test_a_key_is_read_as_it_was_written(key: JobKey) -> None:
    assert JobKey.parse(str(key)) == key


@pytest.mark.parametrize("place", ["", ":7", "#3"])
@pytest.mark.parametrize(
    "arns", [Arns("123456789012", "eu-central-1"), Arns("0" * 12, "cn-north-1")]
)
def test_a_jobs_arn_is_as_good_as_its_id(arns: Arns, place: str) -> None:
    assert JobKey.parse(arns.job(ID + place)) == JobKey.parse(ID + place)


@pytest.mark.parametrize(
    "text",
    [
        f"arn:aws:batch:eu-central-1:123456789012:job-queue/{ID}",
        f"arn:aws:batch:eu-central-1:123456789012:job/x{ID}",
        f"arn:aws:batch:eu-central-1:123456789012:{ID}",
        f"arn:aws:ecs:eu-central-1:123456789012:job/{ID}",
        f"job/{ID}",
    ],
)
def test_an_arn_of_something_else_is_no_job_id(text: str) -> None:
    with pytest.raises(InvalidRequest, match="not a job id"):
        JobKey.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "job",
        f"{ID}:",
        f"{ID}:-1",
        f"{ID}:x",
        f"{ID}:1:2",
        f"{ID}:+1",
        f"{ID}: 1",
        f"{ID}:1_0",
        f"{ID}:٣",
        f"{ID}:01",
        f" {ID}",
        f"{{{ID}}}",
        ID.replace("-", ""),
        ID + "0",
        f"urn:uuid:{ID}",
        "0e1f8a525d0f4c6b9f3c2d7f0d2d6c11----",
        f"{ID}:99999999999",
    ],
)
def test_what_is_not_a_job_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        JobKey.parse(text)
    assert refused.value.member == "jobId"


def test_a_childs_parent_is_the_array() -> None:
    child = JobKey.parse(f"{ID}:7")
    assert child.parent == JobKey(uuid.UUID(ID))
    assert child.parent.parent == child.parent


def test_final_statuses_are_two() -> None:
    assert {s for s in JobStatus if s.final} == {JobStatus.SUCCEEDED, JobStatus.FAILED}


def test_exit_code_zero_is_success() -> None:
    assert judged(0) == Verdict(JobStatus.SUCCEEDED, ESSENTIAL_EXITED)
    assert judged(0, attempt=1, of=3).status is JobStatus.SUCCEEDED


def test_attempts_count_the_first_one() -> None:
    assert [judged(1, attempt=n, of=3).status for n in (1, 2, 3)] == [
        JobStatus.RUNNABLE,
        JobStatus.RUNNABLE,
        JobStatus.FAILED,
    ]


def test_no_exit_code_is_a_failure_that_may_be_retried() -> None:
    assert judged(None, of=2).status is JobStatus.RUNNABLE
    assert judged(None, of=1).status is JobStatus.FAILED


@pytest.mark.parametrize("exit_code", [0, 1, 143, None])
def test_what_was_stopped_is_never_retried(exit_code: int | None) -> None:
    """Terminated and timed out attempts end their job, whatever the container said."""
    for stop in (Stop(StopKind.TIMED_OUT, TIMED_OUT), Stop(StopKind.TERMINATED, "enough")):
        assert judged(exit_code, of=10, stop=stop) == Verdict(JobStatus.FAILED, stop.reason)


GONE = Stop(StopKind.HOST_TERMINATED, host_terminated("i-0abc"))


@pytest.mark.parametrize("exit_code", [0, 1, 143, None])
def test_an_attempt_whose_instance_went_did_not_succeed_and_may_be_retried(
    exit_code: int | None,
) -> None:
    """As one that was lost with it: by the attempts that are left, and by the rules."""
    assert judged(exit_code, of=2, stop=GONE) == Verdict(JobStatus.RUNNABLE, GONE.reason)
    assert judged(exit_code, of=1, stop=GONE) == Verdict(JobStatus.FAILED, GONE.reason)
    host_only = (
        ExitRule(retry=True, on_status_reason="Host EC2*"),
        ExitRule(retry=False, on_reason="*"),
    )
    assert judged(exit_code, of=2, stop=GONE, rules=host_only).status is JobStatus.RUNNABLE
    never = (ExitRule(retry=False, on_status_reason="Host EC2*"),)
    assert judged(exit_code, of=2, stop=GONE, rules=never).status is JobStatus.FAILED


def test_only_a_users_wish_takes_the_place_of_an_earlier_stop() -> None:
    terminated, overdue = Stop(StopKind.TERMINATED, "enough"), Stop(StopKind.TIMED_OUT, TIMED_OUT)
    main_ended = Stop(StopKind.MAIN_NODE_ENDED, MAIN_NODE_ENDED)
    stops = (terminated, overdue, GONE, main_ended)
    assert [(a, b) for a in stops for b in stops if a.gives_way(b)] == [
        (GONE, terminated),
        (main_ended, terminated),
    ]


def test_rules_decide_while_attempts_are_left() -> None:
    exit_rule = (ExitRule(retry=False, on_exit_code="1"),)
    retry_rule = (ExitRule(retry=True, on_exit_code="1"),)
    assert judged(1, of=3, rules=exit_rule).status is JobStatus.FAILED
    assert judged(1, of=1, rules=retry_rule).status is JobStatus.FAILED


def test_a_lost_instance_has_aws_words() -> None:
    assert host_terminated("i-0abc") == "Host EC2 (instance i-0abc) terminated."
