"""What AWS Batch has not for people with many jobs, by the command, on real containers."""

import os
from pathlib import Path

import pytest
from acceptance.aws import Aws, Gate
from acceptance.stand import RUNTIME

needs_containers = pytest.mark.skipif(RUNTIME != "docker", reason="memory is advisory there")


def test_failed_children_run_again_and_all_logs_are_kept(aws: Aws, tmp_path: Path) -> None:
    """The same input for each: what failed first succeeds once a file is there."""
    gate = Gate(tmp_path)
    script = (
        f"echo $AWS_BATCH_JOB_ARRAY_INDEX of $AWS_BATCH_JOB_ARRAY_SIZE; [ -e {tmp_path}/mended ] "
        "|| [ $((AWS_BATCH_JOB_ARRAY_INDEX % 3)) = 0 ]"
    )
    definition = aws.register("rerun", "sh", "-c", script, **gate.volumes)
    token = f"sweep-{os.getpid()}"
    submit = ("submit", "sweep", "--definition", definition, "--array", "5", "--token", token)
    first = aws.stack.call(*submit).stdout.strip()
    assert aws.stack.call(*submit).stdout.strip() == first
    assert aws.end(first)["status"] == "FAILED"

    gate.open("mended")
    again = aws.stack.json("rerun", first)
    assert (again["size"], again["rerunOf"]) == (3, first)
    parent = aws.end(again["jobId"])
    assert parent["status"] == "SUCCEEDED"
    assert "rerunOf" not in parent, "AWS's form has no such member"
    assert (
        f"failed children of {first}, with indexes 1-2, 4"
        in aws.stack.call("describe", again["jobId"]).stdout
    )

    folder = tmp_path / "logs"
    for array, options in ((first, ("--status", "FAILED")), (again["jobId"], ())):
        done = aws.stack.call("logs", "--array", array, "--to", str(folder), *options)
        assert done.returncode == 0, done.stderr
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        **{f"{first}-{index}.log": f"{index} of 5\n" for index in (1, 2, 4)},
        **{f"{again['jobId']}-{n}.log": f"{index} of 5\n" for n, index in enumerate((1, 2, 4))},
    }
    told = aws.stack.json("logs", "--array", first, "--to", str(folder))
    assert (told["children"], told["saved"], told["present"]) == (5, 2, 3)


def test_jobs_that_wait_are_changed_and_stopped_together(aws: Aws, gate: Gate, narrow: str) -> None:
    blocker = aws.submit(
        "blocker",
        aws.register("many-gate", "sh", "-c", gate.script(), **gate.volumes),
        queue=narrow,
    )
    aws.until(blocker, "RUNNING")
    quick = aws.register("many-quick", "true")
    tag = {"sweep": blocker}
    waiting = [aws.submit(f"many-{n}", quick, queue=narrow, tags=tag) for n in range(4)]
    array = aws.submit("many-array", quick, queue=narrow, tags=tag, arrayProperties={"size": 3})
    aws.until(array, "PENDING")
    changed = aws.stack.call("update", waiting[0], "--queue", "default")
    assert changed.returncode == 0, changed.stderr
    assert aws.end(waiting[0])["status"] == "SUCCEEDED"
    assert aws.stack.call("update", blocker, "--queue", "default").returncode == 2

    common = ("--queue", narrow, "--name", "many-*", "--tag", f"sweep={blocker}")
    counted = aws.stack.call("cancel", *common, "--dry-run")
    assert counted.stdout == "4 jobs with 3 children\n"
    asked = aws.stack.call("cancel", *common)
    assert (asked.returncode, "give --yes" in asked.stderr) == (2, True)
    assert aws.stack.call("cancel", *common, "--yes", "--reason", "no more").returncode == 0
    nothing = aws.stack.call("terminate", "--definition", "nowhere", "--yes")
    assert (nothing.returncode, nothing.stdout) == (4, "")
    assert "There is no job to terminate" in nothing.stderr
    for job_id in (*waiting[1:], array):
        assert aws.end(job_id)["status"] == "FAILED"
    assert aws.job(waiting[1])["statusReason"] == "no more"
    gate.open()
    assert aws.end(blocker)["status"] == "SUCCEEDED"


@needs_containers
def test_an_attempt_after_one_that_ran_out_of_memory_has_more(aws: Aws) -> None:
    """It fills as much as is asked for, and 16 MiB are too little for that."""
    script = "head -c 40m /dev/zero | tail > /dev/null"
    definition = aws.register("growing", "sh", "-c", script, needs=(1, 16))
    submit = ("submit", "growing", "--definition", definition, "--attempts", "4")
    grow = ("--oom-memory-factor", "3", "--oom-memory-max", "200")
    job_id = aws.stack.call(*submit, *grow).stdout.strip()
    job = aws.end(job_id)
    assert job["status"] == "SUCCEEDED", job
    reasons = [attempt["container"].get("reason", "") for attempt in job["attempts"]]
    assert len(reasons) > 1
    assert all(reason.startswith("OutOfMemoryError") for reason in reasons[:-1])
    assert "oomMemoryFactor" not in job["retryStrategy"]
    shown = aws.stack.json("describe", job_id)[0]
    grown = [int(attempt["memoryMib"]) for attempt in shown["attempts"]]
    assert grown == [16, 48, 144][: len(grown)]
