"""The three submissions of AWS's slides on array jobs and dependencies, through aws-cli."""

import itertools
from dataclasses import dataclass

import pytest
from acceptance.aws import QUEUE, STATUSES, Aws, Json

#: Of each array: more than run at one time on a small machine, in several waves.
SIZE = 30
#: As many containers one after the other, and twice as many beside them.
pytestmark = pytest.mark.timeout(400)
_END_SECONDS = 300


@dataclass(frozen=True)
class _Submitted:
    """Answers of aws-cli, all jobs submitted before any is waited for."""

    first: Json
    dependent: Json
    sequential: Json
    array: Json
    n_to_n: Json


@pytest.fixture(scope="module")
def submitted(aws: Aws) -> _Submitted:
    """The jobs of all tests."""
    name = aws.register("cli", "sh", "-c", "echo $AWS_BATCH_JOB_ARRAY_INDEX")

    def submit(job_name: str, *arguments: str) -> Json:
        answer: Json = aws.cli(
            "submit-job",
            *("--job-name", job_name, "--job-queue", QUEUE, "--job-definition", name),
            *arguments,
        )
        return answer

    sequential = submit(
        "sequential", "--array-properties", f"size={SIZE}", "--depends-on", "type=SEQUENTIAL"
    )
    first = submit("first")
    dependent = submit("dependent", "--depends-on", f"jobId={first['jobId']}")
    array = submit("array", "--array-properties", f"size={SIZE}")
    n_to_n = submit(
        "n-to-n",
        *("--array-properties", f"size={SIZE}"),
        *("--depends-on", f"jobId={array['jobId']},type=N_TO_N"),
    )
    return _Submitted(first, dependent, sequential, array, n_to_n)


def _children(aws: Aws, array: Json) -> list[Json]:
    """The children of an array of which everything must have succeeded, once."""
    parent = aws.end(array["jobId"], seconds=_END_SECONDS)
    assert parent["status"] == "SUCCEEDED", parent
    summary = parent["arrayProperties"]["statusSummary"]
    assert summary == dict.fromkeys(STATUSES, 0) | {"SUCCEEDED": SIZE}
    children = aws.children(array["jobId"], SIZE)
    assert {len(child["attempts"]) for child in children} == {1}
    return children


def _started(job: Json) -> int:
    return int(job["attempts"][0]["startedAt"])


def _stopped(job: Json) -> int:
    return int(job["attempts"][0]["stoppedAt"])


def test_answer_names_the_job(aws: Aws, submitted: _Submitted) -> None:
    answer = submitted.first
    assert answer["jobName"] == "first"
    assert answer["jobArn"].endswith(f":job/{answer['jobId']}")
    described = aws.cli("describe-jobs", "--jobs", answer["jobId"])["jobs"]
    assert [job["jobArn"] for job in described] == [answer["jobArn"]]


def test_job_after_job(aws: Aws, submitted: _Submitted) -> None:
    dependent = aws.end(submitted.dependent["jobId"])
    first = aws.end(submitted.first["jobId"])
    assert first["status"] == dependent["status"] == "SUCCEEDED"
    assert _started(dependent) >= _stopped(first)


def test_child_after_child_of_another_array(aws: Aws, submitted: _Submitted) -> None:
    dependents = _children(aws, submitted.n_to_n)
    counterparts = _children(aws, submitted.array)
    for dependent, counterpart in zip(dependents, counterparts, strict=True):
        assert _started(dependent) >= _stopped(counterpart)


def test_child_after_child_of_one_array(aws: Aws, submitted: _Submitted) -> None:
    children = _children(aws, submitted.sequential)
    for before, after in itertools.pairwise(children):
        assert _started(after) >= _stopped(before)


def test_listing_and_a_refusal(aws: Aws) -> None:
    queues = aws.cli("describe-job-queues", "--job-queues", QUEUE)["jobQueues"]
    assert [queue["jobQueueName"] for queue in queues] == [QUEUE]
    with pytest.raises(AssertionError, match=r"ClientException.*JobQueue nowhere not found\."):
        aws.cli(
            "submit-job",
            *("--job-name", "a", "--job-queue", "nowhere", "--job-definition", "cli"),
        )
