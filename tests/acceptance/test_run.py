"""`longshore run`, as a user types it."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from acceptance.stand import LONGSHORE, RUNTIME, Stack
from support.patience import PATIENCE_SECONDS

IMAGE = "busybox:latest"
needs_containers = pytest.mark.skipif(RUNTIME != "docker", reason="processes have no image")


def test_output_and_success_are_the_jobs_own(stack: Stack) -> None:
    done = stack.cli("run", IMAGE, "--", "echo", "hello")
    assert (done.stdout, done.returncode) == ("hello\n", 0)


def test_exit_code_and_standard_error_are_the_jobs_own(stack: Stack) -> None:
    done = stack.cli("run", IMAGE, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert done.returncode == 7
    assert done.stdout == "out\n"
    assert "err\n" in done.stderr


def test_environment_reaches_the_job(stack: Stack) -> None:
    done = stack.cli("run", "-e", "WHO=you", "-e", "EMPTY=", IMAGE, "--", "sh", "-c", "echo $WHO")
    assert done.stdout == "you\n"


def test_volume_is_mounted(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "input").write_text("from outside\n")
    volume = f"{tmp_path}:{tmp_path}"
    script = f"cat {tmp_path}/input; echo back > {tmp_path}/output"
    done = stack.cli("run", "--volume", volume, IMAGE, "--", "sh", "-c", script)
    assert done.stdout == "from outside\n"
    assert (tmp_path / "output").read_text() == "back\n"


@needs_containers
def test_read_only_volume_refuses_writes(stack: Stack, tmp_path: Path) -> None:
    done = stack.cli("run", "-v", f"{tmp_path}:/data:ro", IMAGE, "--", "touch", "/data/x")
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


def test_array_shows_progress_and_succeeds_as_a_whole(stack: Stack) -> None:
    done = stack.cli("run", "--array", "4", IMAGE, "--", "true")
    assert done.returncode == 0
    assert "children: 4 SUCCEEDED" in done.stdout


def test_array_with_a_failed_child_fails(stack: Stack) -> None:
    script = 'exit "$AWS_BATCH_JOB_ARRAY_INDEX"'
    done = stack.cli("run", "--array", "2", IMAGE, "--", "sh", "-c", script)
    assert done.returncode == 1
    assert "1 SUCCEEDED, 1 FAILED" in done.stdout


def test_same_image_uses_one_definition(stack: Stack) -> None:
    for number in range(2):
        stack.cli("run", "busybox", "--", "echo", str(number), check=True)
    revisions = [item["revision"] for item in stack.json("definition", "list", "busybox")]
    assert revisions == [1]


def test_attempts_are_logged_one_after_the_other(stack: Stack) -> None:
    script = 'echo "attempt $AWS_BATCH_JOB_ATTEMPT"; [ "$AWS_BATCH_JOB_ATTEMPT" = 2 ]'
    done = stack.cli("run", "--attempts", "3", IMAGE, "--", "sh", "-c", script)
    assert (done.stdout, done.returncode) == ("attempt 1\nattempt 2\n", 0)


@needs_containers
def test_missing_image_is_told_in_a_sentence(stack: Stack) -> None:
    done = stack.cli("run", "longshore.invalid/nothing:1", "--", "true")
    assert done.returncode == 1
    assert "CannotPullContainerError" in done.stderr


def test_unknown_queue_is_told_in_a_sentence(stack: Stack) -> None:
    done = stack.cli("run", "--queue", "nowhere", IMAGE, "--", "true")
    assert done.returncode in (2, 4)
    assert "nowhere" in done.stderr
    assert done.stderr.startswith("longshore: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_terminates_the_job(stack: Stack, number: signal.Signals) -> None:
    script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done"
    with subprocess.Popen(
        [LONGSHORE, "run", "--name", number.name, IMAGE, "--", "sh", "-c", script],
        env=stack.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        os.kill(running.pid, number)
        out, _ = running.communicate(timeout=2 * PATIENCE_SECONDS)
    assert (out, running.returncode) == ("bye\n", 130)
    (job,) = stack.json("jobs", "--name", number.name)
    assert job["status"] == "FAILED"
    assert job["statusReason"] == "Interrupted by the user."
