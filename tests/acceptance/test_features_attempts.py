"""Attempts: what is tried again and when not, and what is kept of each try."""

import uuid

import pytest
from acceptance.aws import Aws, Gate, Json
from acceptance.stand import RUNTIME

needs_containers = pytest.mark.skipif(RUNTIME != "docker", reason="processes have no image")

_EXITED = "Essential container in task exited"


def _retry(attempts: int, *rules: Json) -> Json:
    return {"retryStrategy": {"attempts": attempts, "evaluateOnExit": list(rules)}}


def _rule(action: str, **conditions: str) -> Json:
    return {"action": action, **conditions}


@pytest.fixture(scope="module")
def ids(aws: Aws) -> dict[str, str]:
    """Ids of jobs whose attempts end as their names say, all submitted at once."""
    fails = "echo attempt $AWS_BATCH_JOB_ATTEMPT; exit 3"
    members: dict[str, tuple[str, Json]] = {
        "second-succeeds": (
            "echo attempt $AWS_BATCH_JOB_ATTEMPT; [ $AWS_BATCH_JOB_ATTEMPT = 2 ] || exit 9",
            _retry(5),
        ),
        "all-used": (fails, _retry(3)),
        "exit-code-ends": (fails, _retry(5, _rule("EXIT", onExitCode="3"))),
        "exit-code-prefix": ("exit 137", _retry(5, _rule("exit", onExitCode="13*"))),
        "other-exit-code": (fails, _retry(2, _rule("EXIT", onExitCode="4"))),
        "first-match": (
            fails,
            _retry(2, _rule("retry", onExitCode="3"), _rule("EXIT", onReason="*")),
        ),
        "all-conditions": (
            fails,
            _retry(2, _rule("EXIT", onExitCode="3", onStatusReason="Host EC2*")),
        ),
        "status-reason-ends": (
            fails,
            _retry(5, _rule("EXIT", onStatusReason="Essential container in task*")),
        ),
        "no-reason-matches-all": (fails, _retry(5, _rule("EXIT", onReason="*"))),
    }
    if RUNTIME == "docker":
        memory = {"needs": (1, 16)}
        members["reason-ends"] = (
            "tail /dev/zero",
            _retry(5, _rule("EXIT", onReason="OutOfMemoryError:*")) | memory,
        )
        members["reason-retries"] = (
            "tail /dev/zero",
            _retry(2, _rule("RETRY", onReason="OutOfMemory*"), _rule("EXIT", onReason="*"))
            | memory,
        )
        members["cannot-start"] = (
            "true",
            _retry(2, _rule("RETRY", onStatusReason="Task failed to start"))
            | {"user": "no-such-user"},
        )
    return {
        name: aws.run(f"attempts-{name}", script, **more)
        for name, (script, more) in members.items()
    }


def _ended(aws: Aws, job_id: str, status: str, attempts: int) -> Json:
    job = aws.end(job_id)
    assert (job["status"], len(job["attempts"])) == (status, attempts), job
    return job


def test_a_failed_attempt_is_followed_by_another(aws: Aws, ids: dict[str, str]) -> None:
    """Each has a container, a log and a record of its own; the job's are the last one's."""
    job_id = ids["second-succeeds"]
    job = _ended(aws, job_id, "SUCCEEDED", 2)
    first, second = job["attempts"]
    assert [a["container"]["exitCode"] for a in (first, second)] == [9, 0]
    assert first["statusReason"] == second["statusReason"] == _EXITED
    assert first["startedAt"] <= first["stoppedAt"] <= second["startedAt"] <= second["stoppedAt"]
    assert first["container"]["taskArn"] != second["container"]["taskArn"]
    assert first["container"]["logStreamName"] != second["container"]["logStreamName"]
    assert job["container"]["exitCode"] == 0
    assert job["container"]["taskArn"] == second["container"]["taskArn"]
    assert job["startedAt"] == second["startedAt"]
    assert aws.output(job_id, attempt=1) == "attempt 1\n"
    assert aws.output(job_id, attempt=2) == "attempt 2\n"


def test_attempts_are_bounded(aws: Aws, ids: dict[str, str]) -> None:
    job = _ended(aws, ids["all-used"], "FAILED", 3)
    assert job["container"]["exitCode"] == 3
    assert job["statusReason"] == _EXITED
    assert aws.output(ids["all-used"]) == "attempt 1\nattempt 2\nattempt 3\n"


@pytest.mark.parametrize(
    ("name", "attempts"),
    [
        ("exit-code-ends", 1),
        ("exit-code-prefix", 1),
        ("other-exit-code", 2),
        ("first-match", 2),
        ("all-conditions", 2),
        ("status-reason-ends", 1),
        ("no-reason-matches-all", 1),
    ],
)
def test_rules_decide(aws: Aws, ids: dict[str, str], name: str, attempts: int) -> None:
    """The first rule whose conditions all hold; without one there is another attempt."""
    _ended(aws, ids[name], "FAILED", attempts)


@needs_containers
@pytest.mark.parametrize(("name", "attempts"), [("reason-ends", 1), ("reason-retries", 2)])
def test_rules_look_at_the_reason(aws: Aws, ids: dict[str, str], name: str, attempts: int) -> None:
    _ended(aws, ids[name], "FAILED", attempts)


@needs_containers
def test_a_container_that_cannot_start_is_an_attempt(aws: Aws, ids: dict[str, str]) -> None:
    job = _ended(aws, ids["cannot-start"], "FAILED", 2)
    for attempt in job["attempts"]:
        assert attempt["statusReason"] == "Task failed to start"
        assert attempt["container"]["reason"].startswith("CannotStartContainerError: ")
        assert "exitCode" not in attempt["container"]
        assert "startedAt" not in attempt


def test_a_submission_replaces_the_strategy(aws: Aws) -> None:
    definition = aws.register("attempts-replaced", "false", **_retry(5))
    job_id = aws.submit("attempts-replaced", definition, **_retry(1))
    job = _ended(aws, job_id, "FAILED", 1)
    assert job["retryStrategy"] == {"attempts": 1, "evaluateOnExit": []}


def test_a_retry_goes_to_the_front_of_its_queue(aws: Aws, gate: Gate, narrow: str) -> None:
    """What waits behind a job waits for its next attempt as well."""
    script = f"{gate.script()}; [ $AWS_BATCH_JOB_ATTEMPT = 2 ]"
    first = aws.run("attempts-front", script, queue=narrow, **_retry(2), **gate.volumes)
    aws.until(first, "RUNNING")
    behind = aws.run("attempts-behind", "true", queue=narrow)
    gate.open()
    job = _ended(aws, first, "SUCCEEDED", 2)
    assert aws.end(behind)["startedAt"] >= job["stoppedAt"]


def test_unknown_attempts_and_jobs_are_left_out(aws: Aws) -> None:
    answer = aws.client.describe_jobs(jobs=[str(uuid.uuid4()), "not-an-id"])
    assert answer["jobs"] == []
