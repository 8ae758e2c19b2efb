"""Array jobs and dependencies: every form, and what a failure does to what waits."""

import itertools
from pathlib import Path

import pytest
from acceptance.aws import STATUSES, Aws, Gate, Json

_DEPENDENCY_FAILED = "Dependent Job failed"


@pytest.fixture(scope="module")
def quick(aws: Aws) -> str:
    """A definition of jobs that end at once."""
    return aws.register("array-quick", "true")


def _array(aws: Aws, definition: str, size: int, *depends_on: Json, **more: object) -> str:
    return aws.submit(
        f"array-{size}",
        definition,
        arrayProperties={"size": size},
        dependsOn=list(depends_on),
        **more,
    )


def test_children_know_their_index_and_the_size(aws: Aws) -> None:
    script = "echo $AWS_BATCH_JOB_ARRAY_INDEX of $AWS_BATCH_JOB_ARRAY_SIZE, $AWS_BATCH_JOB_ID"
    array = _array(aws, aws.register("array-index", "sh", "-c", script), 5)
    parent = aws.end(array)
    assert parent["status"] == "SUCCEEDED"
    properties = parent["arrayProperties"]
    assert properties["size"] == 5
    assert properties["statusSummary"] == dict.fromkeys(STATUSES, 0) | {"SUCCEEDED": 5}
    for index, child in enumerate(aws.children(array, 5)):
        assert child["jobId"] == f"{array}:{index}"
        assert child["arrayProperties"]["index"] == index
        assert aws.output(child["jobId"]) == f"{index} of 5, {array}:{index}\n"


def test_each_child_has_its_own_attempts(aws: Aws, tmp_path: Path) -> None:
    """Every child writes down each of its attempts, where all can be counted."""
    script = (
        f"echo $AWS_BATCH_JOB_ARRAY_INDEX $AWS_BATCH_JOB_ATTEMPT >> {tmp_path}/marks; "
        "[ $AWS_BATCH_JOB_ATTEMPT -gt $((AWS_BATCH_JOB_ARRAY_INDEX % 2)) ]"
    )
    retry = {"attempts": 2}
    volumes = Gate(tmp_path).volumes
    definition = aws.register("array-retry", "sh", "-c", script, retryStrategy=retry, **volumes)
    array = _array(aws, definition, 6)
    assert aws.end(array)["status"] == "SUCCEEDED"
    assert [len(child["attempts"]) for child in aws.children(array, 6)] == [1, 2, 1, 2, 1, 2]
    marks = sorted((tmp_path / "marks").read_text().splitlines())
    assert marks == ["0 1", "1 1", "1 2", "2 1", "3 1", "3 2", "4 1", "5 1", "5 2"]


def test_a_failed_child_fails_the_parent_at_the_end(aws: Aws, gate: Gate) -> None:
    """Its siblings run on, and the parent is PENDING until the last has ended."""
    script = f"[ $AWS_BATCH_JOB_ARRAY_INDEX != 0 ] || exit 5; {gate.script()}"
    definition = aws.register("array-failing", "sh", "-c", script, **gate.volumes)
    array = _array(aws, definition, 3)
    assert aws.end(f"{array}:0")["container"]["exitCode"] == 5
    aws.until(f"{array}:2", "RUNNING")
    assert aws.job(array)["status"] == "PENDING"
    gate.open()
    parent = aws.end(array)
    assert (parent["status"], parent["statusReason"]) == ("FAILED", "Array Child Job failed")
    assert [child["status"] for child in aws.children(array, 3)] == [
        "FAILED",
        "SUCCEEDED",
        "SUCCEEDED",
    ]


def test_a_job_waits_for_all_that_it_depends_on(aws: Aws, gate: Gate, quick: str) -> None:
    """A single job, a whole array and one child; those that have succeeded before count."""
    done = aws.submit("done", quick)
    aws.end(done)
    definition = aws.register("array-gate", "sh", "-c", gate.script(), **gate.volumes)
    array = _array(aws, quick, 2)
    blocker = aws.submit("blocker", definition)
    jobs = [{"jobId": job_id} for job_id in (done, array, f"{array}:1", blocker)]
    dependent = aws.submit("dependent", quick, dependsOn=jobs)
    aws.end(array)
    assert aws.job(dependent)["status"] == "PENDING"
    gate.open()
    job = aws.end(dependent)
    assert job["status"] == "SUCCEEDED"
    assert job["dependsOn"] == jobs
    assert job["startedAt"] >= aws.job(blocker)["stoppedAt"]
    assert job["startedAt"] >= aws.job(array)["stoppedAt"]


def test_failure_spreads_to_all_that_depend(aws: Aws, quick: str) -> None:
    """Through single jobs and arrays, and also to what is submitted afterwards."""
    failing = aws.submit("failing", aws.register("array-false", "false"))
    single = aws.submit("single", quick, dependsOn=[{"jobId": failing}])
    array = _array(aws, quick, 3, {"jobId": single})
    last = aws.submit("last", quick, dependsOn=[{"jobId": array}])
    for job_id in (single, array, last):
        job = aws.end(job_id)
        assert (job["status"], job["statusReason"]) == ("FAILED", _DEPENDENCY_FAILED)
        assert "startedAt" not in job
        assert job["attempts"] == []
    late = aws.end(aws.submit("late", quick, dependsOn=[{"jobId": failing}]))
    assert (late["status"], late["statusReason"]) == ("FAILED", _DEPENDENCY_FAILED)


def test_n_to_n_goes_child_by_child(aws: Aws, gate: Gate, quick: str) -> None:
    """A child runs as soon as its counterpart has succeeded, and fails alone with it."""
    script = (
        "case $AWS_BATCH_JOB_ARRAY_INDEX in 0) true;; 1) false;; "
        f"*) {gate.script().partition('; ')[2]};; esac"
    )
    first = _array(aws, aws.register("array-first", "sh", "-c", script, **gate.volumes), 3)
    second = _array(aws, quick, 3, {"jobId": first, "type": "N_TO_N"})
    assert aws.end(f"{second}:0")["status"] == "SUCCEEDED"
    failed = aws.end(f"{second}:1")
    assert (failed["status"], failed["statusReason"]) == ("FAILED", _DEPENDENCY_FAILED)
    assert aws.job(f"{second}:2")["status"] == "PENDING"
    assert aws.job(first)["status"] == "PENDING"
    gate.open()
    assert aws.end(f"{second}:2")["status"] == "SUCCEEDED"
    for parent in (first, second):
        assert aws.end(parent)["status"] == "FAILED"


def test_sequential_stops_at_a_failure(aws: Aws) -> None:
    definition = aws.register("array-until", "sh", "-c", "[ $AWS_BATCH_JOB_ARRAY_INDEX -lt 2 ]")
    array = _array(aws, definition, 5, {"type": "SEQUENTIAL"})
    assert aws.end(array)["status"] == "FAILED"
    children = aws.children(array, 5)
    assert [child["status"] for child in children] == ["SUCCEEDED"] * 2 + ["FAILED"] * 3
    for before, after in itertools.pairwise(children[:3]):
        assert after["startedAt"] >= before["stoppedAt"]
    assert children[2]["container"]["exitCode"] == 1
    assert [child.get("statusReason") for child in children[3:]] == [_DEPENDENCY_FAILED] * 2


def test_sequential_beside_other_dependencies(aws: Aws, gate: Gate, quick: str) -> None:
    blocker = aws.run("blocker", gate.script(), **gate.volumes)
    array = _array(aws, quick, 2, {"jobId": blocker}, {"type": "SEQUENTIAL"})
    aws.until(array, "PENDING")
    aws.until(blocker, "RUNNING")
    gate.open()
    assert aws.end(array)["status"] == "SUCCEEDED"
    first, second = aws.children(array, 2)
    assert first["startedAt"] >= aws.job(blocker)["stoppedAt"]
    assert second["startedAt"] >= first["stoppedAt"]
