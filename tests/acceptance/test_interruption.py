"""An instance that is taken away while a job on it does not listen."""

import time
from pathlib import Path
from typing import Any

import psutil
from acceptance.aws import Aws
from acceptance.stand import Stack, eventually

#: It tells its process id and takes no SIGTERM.
DEAF = """
[ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] && exit 0
trap '' TERM
echo $$ > {file}.new && mv {file}.new {file}
while :; do sleep 0.2; done
"""


def _runs(pid: int) -> bool:
    """Whether there is such a process; one that only waits to be reaped has ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_end_of_a_notice_is_the_end(lasting_stack: Stack, tmp_path: Path) -> None:
    """By force, long before SIGTERM's time is over; the job goes on elsewhere, nothing is left."""
    aws = Aws(lasting_stack)
    file = tmp_path / "pid"
    job_id = aws.run("deaf", DEAF.format(file=file), retryStrategy={"attempts": 2})
    eventually(file.exists, "the job runs")
    [attempt] = lasting_stack.json("explain", job_id)["attempts"]
    instance_id = attempt["instanceId"]
    interrupted_at = time.time() * 1000
    lasting_stack.call("instance", "interrupt", instance_id, "--notice", "2", check=True)
    job = aws.end(job_id)
    assert job["status"] == "SUCCEEDED"
    first, second = job["attempts"]
    assert first["statusReason"] == f"Host EC2 (instance {instance_id}) terminated."
    assert first["stoppedAt"] - interrupted_at < 25_000
    assert lasting_stack.json("explain", job_id)["attempts"][1]["instanceId"] != instance_id
    assert second["container"]["exitCode"] == 0

    def over() -> Any:
        gone = lasting_stack.json("instance", "describe", instance_id)
        return gone["status"] == "TERMINATED" and gone["statusReason"]

    assert eventually(over, "the instance is over on record").startswith("Spot interruption")
    eventually(lambda: not _runs(int(file.read_text())), "nothing of the job is left")
    aws.client.close()
