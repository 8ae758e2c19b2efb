"""Logs of jobs through the clients that people have: aws-cli, boto3, luigi, and longshore's own."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from acceptance.aws import REGION, Aws, Json
from acceptance.stand import Stack, eventually
from botocore.config import Config
from support.patience import PATIENCE_SECONDS

GROUP = "/team/jobs"
_BIN = Path(sys.executable).parent
_KEPT = {"logDriver": "awslogs", "options": {"awslogs-group": GROUP, "awslogs-region": REGION}}


@pytest.fixture(scope="module")
def user(stack: Stack) -> dict[str, str]:
    """The environment of a user of AWS's clients who has run what `longshore credentials` says."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(stack.data_dir)}
    printed = stack.cli("credentials", check=True, HOME=str(stack.data_dir)).stdout
    for line in shlex.split(printed, comments=True):
        name, is_set, value = line.partition("=")
        if is_set:
            environ[name] = value
    return environ | {"AWS_DEFAULT_REGION": REGION}


@pytest.fixture(scope="module")
def job(aws: Aws) -> Json:
    """A job in a group of its own, that has failed."""
    script = "echo to out; echo to err >&2; printf 'not ended'; exit 3"
    job_id = aws.run("logged", script, logConfiguration=_KEPT)
    return aws.end(job_id)


def aws_logs(user: dict[str, str], *arguments: str) -> Any:
    """What `aws logs ...` prints."""
    done = subprocess.run(
        [_BIN / "aws", "logs", *arguments, "--output", "json"],
        env=user,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout or "{}")


def test_what_a_job_printed(aws: Aws, stack: Stack, user: dict[str, str], job: Json) -> None:
    """By the names that DescribeJobs gives, in the group that the job names."""
    name = job["attempts"][-1]["container"]["logStreamName"]
    options = job["container"]["logConfiguration"]["options"]
    named = ("--log-group-name", options["awslogs-group"], "--log-stream-name", name)

    def messages() -> list[str]:
        answer = aws_logs(user, "get-log-events", *named, "--start-from-head")
        return sorted(event["message"] for event in answer["events"])

    expected = ["not ended", "to err", "to out"]
    eventually(lambda: messages() == expected, "the whole log")
    found = aws_logs(
        user, "filter-log-events", "--log-group-name", GROUP, "--filter-pattern", "to -err"
    )
    assert [event["message"] for event in found["events"]] == ["to out"]
    streams = aws_logs(user, "describe-log-streams", "--log-group-name", GROUP)["logStreams"]
    assert [stream["logStreamName"] for stream in streams] == [name]
    assert aws.output(job["jobId"]).splitlines()[-1] == "not ended"
    assert "to out" in stack.cli("logs", job["jobId"], check=True).stdout


def test_live_tail_while_a_job_prints(aws: Aws, user: dict[str, str]) -> None:
    client = boto3.client(
        "logs",
        endpoint_url=user["AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"],
        region_name=REGION,
        aws_access_key_id=aws.stack.access_key.access_key_id,
        aws_secret_access_key=aws.stack.access_key.secret_access_key,
        config=Config(inject_host_prefix=False, read_timeout=60),
    )
    group = f"arn:aws:logs:{REGION}:123456789012:log-group:/aws/batch/job"
    answer = client.start_live_tail(
        logGroupIdentifiers=[group], logEventFilterPattern='"from the tail"'
    )
    job_id = aws.run("tailed", "echo not this; echo from the tail")
    found: list[Json] = []
    for event in answer["responseStream"]:
        found += event.get("sessionUpdate", {}).get("sessionResults", [])
        if found:
            break
    answer["responseStream"].close()
    client.close()
    (line,) = found
    assert line["message"] == "from the tail"
    assert line["logGroupIdentifier"] == group
    job = aws.end(job_id)
    assert line["logStreamName"] == job["container"]["logStreamName"]


def test_luigi_tells_why_a_job_failed(aws: Aws, user: dict[str, str]) -> None:
    """The task of luigi itself, which reads the first attempt's log when a job has failed."""
    definition = aws.register("from-luigi", "sh", "-c", "echo the reason; exit 1")
    task = ("--module", "luigi.contrib.batch", "BatchTask", "--local-scheduler")
    job = ("--job-definition", definition, "--job-queue", "default", "--poll-time", "1")

    def tells() -> bool:
        done = subprocess.run(
            [_BIN / "luigi", *task, *job],
            env=user,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_SECONDS,
            check=False,
        )
        # It asks but once, and may do so before the last line has arrived.
        return "BatchJobException: Job" in done.stderr and "failed: the reason" in done.stderr

    eventually(tells, "luigi prints what the job printed")
