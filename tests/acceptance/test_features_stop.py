"""Cancel and terminate, in every status that a job can be in."""

import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from acceptance.aws import STATUSES, Aws, Gate, Json

_REASON = "Because of a test."


@contextmanager
def _halted(*processes: psutil.Process) -> Iterator[None]:
    """Keeps processes from doing anything, so that a job stays in the status it is in."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def _cancel(aws: Aws, job_id: str) -> None:
    aws.client.cancel_job(jobId=job_id, reason=_REASON)


def _terminate(aws: Aws, job_id: str) -> None:
    aws.client.terminate_job(jobId=job_id, reason=_REASON)


def _assert_stopped(job: Json, *, ran: bool, terminated: bool) -> None:
    assert (job["status"], job["statusReason"]) == ("FAILED", _REASON), job
    assert ("startedAt" in job) == ran
    assert len(job["attempts"]) == int(ran)
    assert job["isTerminated"] == terminated
    assert job["isCancelled"] == (not terminated)
    assert job["stoppedAt"] >= job["createdAt"]


@pytest.fixture(scope="module")
def quick(aws: Aws) -> str:
    """A definition of jobs that end at once."""
    return aws.register("stop-quick", "true")


def test_submitted(aws: Aws, quick: str) -> None:
    """The scheduler has not looked at it yet."""
    scheduler = psutil.Process(aws.stack.record["services"]["scheduler"]["pid"])
    with _halted(scheduler):
        jobs = [aws.submit("submitted", quick) for _ in range(2)]
        _cancel(aws, jobs[0])
        _terminate(aws, jobs[1])
        assert {job["status"] for job in aws.describe(jobs)} == {"SUBMITTED"}
    _assert_stopped(aws.end(jobs[0]), ran=False, terminated=False)
    _assert_stopped(aws.end(jobs[1]), ran=False, terminated=True)


def test_pending(aws: Aws, gate: Gate, quick: str) -> None:
    """A cancelled job is marked, and fails when what it waits for has ended."""
    blocker = aws.run("stop-blocker", gate.script(), **gate.volumes)
    cancelled, terminated = (
        aws.submit("pending", quick, dependsOn=[{"jobId": blocker}]) for _ in range(2)
    )
    for job_id in (cancelled, terminated):
        aws.until(job_id, "PENDING")
    _cancel(aws, cancelled)
    _terminate(aws, terminated)
    marked = aws.until_job(cancelled, lambda job: job["isCancelled"], "isCancelled")
    assert marked["status"] == "PENDING"
    _assert_stopped(aws.end(terminated), ran=False, terminated=True)
    assert aws.job(cancelled)["status"] == "PENDING"
    gate.open()
    _assert_stopped(aws.end(cancelled), ran=False, terminated=False)
    assert aws.end(blocker)["status"] == "SUCCEEDED"


def test_runnable(aws: Aws, gate: Gate, narrow: str, quick: str) -> None:
    blocker = aws.run("stop-blocker", gate.script(), queue=narrow, **gate.volumes)
    aws.until(blocker, "RUNNING")
    cancelled, terminated, kept = (aws.submit("runnable", quick, queue=narrow) for _ in range(3))
    for job_id in (cancelled, terminated, kept):
        aws.until(job_id, "RUNNABLE")
    _cancel(aws, cancelled)
    _terminate(aws, terminated)
    _assert_stopped(aws.end(cancelled), ran=False, terminated=False)
    _assert_stopped(aws.end(terminated), ran=False, terminated=True)
    gate.open()
    assert aws.end(kept)["status"] == "SUCCEEDED"


def test_starting(aws: Aws, quick: str) -> None:
    """Cancelling comes too late, terminating does not."""
    aws.end(aws.submit("warm", quick))
    with _halted(*aws.stack.agents()):
        cancelled, terminated = (aws.submit("starting", quick) for _ in range(2))
        for job_id in (cancelled, terminated):
            aws.until(job_id, "STARTING")
        _cancel(aws, cancelled)
        _terminate(aws, terminated)
        aws.until_job(terminated, lambda job: job["isTerminated"], "isTerminated")
    assert aws.end(cancelled)["status"] == "SUCCEEDED"
    ended = aws.end(terminated)
    assert (ended["status"], ended["statusReason"]) == ("FAILED", _REASON)


def test_running(aws: Aws, gate: Gate) -> None:
    """Cancelling has no effect; terminating asks the process to end and keeps its exit code."""
    definition = aws.register("stop-running", "sh", "-c", gate.script(), **gate.volumes)
    retry = {"attempts": 5}
    cancelled, terminated = (
        aws.submit("running", definition, retryStrategy=retry) for _ in range(2)
    )
    for job_id in (cancelled, terminated):
        aws.until(job_id, "RUNNING")
    _cancel(aws, cancelled)
    _terminate(aws, terminated)
    ended = aws.end(terminated)
    _assert_stopped(ended, ran=True, terminated=True)
    assert ended["container"]["exitCode"] == 143
    assert aws.job(cancelled)["status"] == "RUNNING"
    gate.open()
    survived = aws.end(cancelled)
    assert survived["status"] == "SUCCEEDED"
    assert not survived["isCancelled"]


@pytest.mark.parametrize("command", ["true", "false"])
def test_final(aws: Aws, command: str) -> None:
    """Nothing changes what has ended."""
    before = aws.end(aws.submit("final", aws.register(f"stop-{command}", command)))
    _cancel(aws, before["jobId"])
    _terminate(aws, before["jobId"])
    aws.end(aws.submit("after", aws.register(f"stop-{command}", command)))
    assert aws.job(before["jobId"]) == before


def test_array_cancelled(aws: Aws, gate: Gate, narrow: str) -> None:
    """Children that are placed run on; the others fail, and so does the parent at the end."""
    definition = aws.register("stop-array", "sh", "-c", gate.script(), **gate.volumes)
    array = aws.submit("array", definition, queue=narrow, arrayProperties={"size": 3})
    aws.until(f"{array}:0", "RUNNING")
    _cancel(aws, array)
    for index in (1, 2):
        _assert_stopped(aws.end(f"{array}:{index}"), ran=False, terminated=False)
    assert aws.job(f"{array}:0")["status"] == "RUNNING"
    assert aws.job(array)["status"] == "PENDING"
    gate.open()
    assert aws.end(f"{array}:0")["status"] == "SUCCEEDED"
    parent = aws.end(array)
    assert parent["status"] == "FAILED"
    assert parent["arrayProperties"]["statusSummary"] == _summary(SUCCEEDED=1, FAILED=2)


def test_array_terminated(aws: Aws, gate: Gate, narrow: str) -> None:
    definition = aws.register("stop-array", "sh", "-c", gate.script(), **gate.volumes)
    array = aws.submit("array", definition, queue=narrow, arrayProperties={"size": 3})
    aws.until(f"{array}:0", "RUNNING")
    _terminate(aws, array)
    assert aws.end(array)["arrayProperties"]["statusSummary"] == _summary(FAILED=3)
    first, *others = aws.children(array, 3)
    _assert_stopped(first, ran=True, terminated=True)
    for child in others:
        _assert_stopped(child, ran=False, terminated=True)


def test_children_one_by_one(aws: Aws, gate: Gate, narrow: str) -> None:
    definition = aws.register("stop-array", "sh", "-c", gate.script(), **gate.volumes)
    array = aws.submit("array", definition, queue=narrow, arrayProperties={"size": 4})
    aws.until(f"{array}:0", "RUNNING")
    _cancel(aws, f"{array}:1")
    _terminate(aws, f"{array}:2")
    _assert_stopped(aws.end(f"{array}:1"), ran=False, terminated=False)
    _assert_stopped(aws.end(f"{array}:2"), ran=False, terminated=True)
    gate.open()
    parent = aws.end(array)
    assert (parent["status"], parent["statusReason"]) == ("FAILED", "Array Child Job failed")
    assert parent["arrayProperties"]["statusSummary"] == _summary(SUCCEEDED=2, FAILED=2)


def test_many_at_once(aws: Aws, gate: Gate, quick: str) -> None:
    """Unknown jobs count as done; what cannot be a job's id does not."""
    blocker = aws.run("stop-blocker", gate.script(), **gate.volumes)
    waiting = aws.submit("many", quick, dependsOn=[{"jobId": blocker}])
    aws.until(blocker, "RUNNING")
    unknown = str(uuid.uuid4())
    answer = aws.client.cancel_jobs(jobs=[waiting, unknown, "no-id"], reason=_REASON)
    assert sorted(answer["successful"]) == sorted([waiting, unknown])
    (error,) = answer["errors"]
    assert (error["job"], error["code"]) == ("no-id", "ValidationException")
    answer = aws.client.terminate_jobs(jobs=[blocker, waiting], reason=_REASON)
    assert (sorted(answer["successful"]), answer["errors"]) == (sorted([blocker, waiting]), [])
    for job_id in (blocker, waiting):
        job = aws.end(job_id)
        assert (job["status"], job["statusReason"]) == ("FAILED", _REASON)


def _summary(**counts: int) -> dict[str, int]:
    return dict.fromkeys(STATUSES, 0) | counts
