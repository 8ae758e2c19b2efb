"""AWS's own tools on a stack: boto3, aws-cli and plain HTTP, as users of AWS Batch have them."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import boto3
from acceptance.stand import Stack, eventually
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from support.patience import PATIENCE_SECONDS

IMAGE = "busybox:latest"
QUEUE = "default"
FINAL = ("SUCCEEDED", "FAILED")
STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", *FINAL)
REGION = "eu-central-1"
_AWS = str(Path(sys.executable).parent / "aws")

#: One AWS-shaped object.
Json = dict[str, Any]


@dataclass
class Aws:
    """A user of a stack who knows only AWS Batch."""

    stack: Stack
    client: Any = field(init=False)

    def __post_init__(self) -> None:
        self.client = boto3.client(
            "batch",
            endpoint_url=self.stack.gateway_url,
            region_name=REGION,
            aws_access_key_id=self.stack.access_key.access_key_id,
            aws_secret_access_key=self.stack.access_key.secret_access_key,
        )

    def cli(self, *arguments: str) -> Any:
        """What `aws batch ...` prints."""
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.stack.data_dir),
            "AWS_ENDPOINT_URL_BATCH": self.stack.gateway_url,
            "AWS_DEFAULT_REGION": REGION,
            **self.stack.credentials,
        }
        done = subprocess.run(
            [_AWS, "batch", *arguments, "--output", "json"],
            env=environ,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "{}")

    def post(self, operation: str, body: bytes | Json) -> tuple[int, Json]:
        """Status and JSON of a plain POST, for what AWS's tools refuse to send."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", f"/v1/{operation.lower()}", data)

    def request(self, method: str, path: str, data: bytes | None = None) -> tuple[int, Json]:
        """Status and JSON of any HTTP request."""
        key = self.stack.access_key
        signed = AWSRequest(method, self.stack.gateway_url + path, data=data or b"")
        credentials = Credentials(key.access_key_id, key.secret_access_key)
        SigV4Auth(credentials, "batch", REGION).add_auth(signed)
        request = urllib.request.Request(  # noqa: S310 - the address is the stack's
            self.stack.gateway_url + path, data, dict(signed.headers), method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            refusal = error
        with refusal:
            answered = json.load(refusal)
            assert refusal.headers["x-amzn-errortype"] == answered["__type"]
            assert refusal.headers["x-amzn-RequestId"]
            return refusal.code, answered

    def register(
        self, name: str, *command: str, needs: tuple[int, int] = (1, 64), **members: Any
    ) -> str:
        """Registers a definition that needs so many vCPUs and MiB; returns `name:revision`.

        Members of `containerProperties` and of the definition itself are told apart by name.
        """
        own = ("parameters", "retryStrategy", "timeout", "tags", "consumableResourceProperties")
        container = {
            "image": IMAGE,
            "command": list(command),
            "resourceRequirements": [
                {"type": "VCPU", "value": str(needs[0])},
                {"type": "MEMORY", "value": str(needs[1])},
            ],
        }
        answer = self.client.register_job_definition(
            jobDefinitionName=name,
            type="container",
            containerProperties=container | {k: v for k, v in members.items() if k not in own},
            **{k: v for k, v in members.items() if k in own},
        )
        return f"{name}:{answer['revision']}"

    def submit(
        self, name: str, definition: str, *command: str, queue: str = QUEUE, **members: Any
    ) -> str:
        """Submits a job, with another command if there is one; returns its id."""
        if command:
            members.setdefault("containerOverrides", {})["command"] = list(command)
        answer = self.client.submit_job(
            jobName=name, jobQueue=queue, jobDefinition=definition, **members
        )
        return str(answer["jobId"])

    def run(self, name: str, script: str = "", *, queue: str = QUEUE, **members: Any) -> str:
        """Submits a job whose definition is its alone and whose command is a shell script."""
        command = ("sh", "-c", script) if script else ()
        return self.submit(name, self.register(name, *command, **members), queue=queue)

    def describe(self, job_ids: Iterable[str]) -> list[Json]:
        """Jobs in the order asked for."""
        ids = list(job_ids)
        found: dict[str, Json] = {}
        for start in range(0, len(ids), 100):
            answer = self.client.describe_jobs(jobs=ids[start : start + 100])
            found |= {job["jobId"]: job for job in answer["jobs"]}
        return [found[job_id] for job_id in ids]

    def job(self, job_id: str) -> Json:
        """One job."""
        return self.describe([job_id])[0]

    def children(self, job_id: str, size: int) -> list[Json]:
        """The children of an array job, by index."""
        return self.describe(f"{job_id}:{index}" for index in range(size))

    def until(self, job_id: str, *statuses: str, seconds: float = 2 * PATIENCE_SECONDS) -> Json:
        """Waits until a job has one of the statuses."""
        return self.until_job(
            job_id, lambda job: job["status"] in statuses, " or ".join(statuses), seconds
        )

    def until_job(
        self,
        job_id: str,
        condition: Callable[[Json], object],
        what: str,
        seconds: float = 2 * PATIENCE_SECONDS,
    ) -> Json:
        """Waits until something is true of a job; a child may still have to come to be."""
        job: Json = {}

        def holds() -> bool:
            job.clear()
            for found in self.client.describe_jobs(jobs=[job_id])["jobs"]:
                job.update(found)
            return bool(job and condition(job))

        try:
            eventually(holds, what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {job}") from None
        return job

    def end(self, job_id: str, seconds: float = 2 * PATIENCE_SECONDS) -> Json:
        """Waits until a job has ended."""
        return self.until(job_id, *FINAL, seconds=seconds)

    def output(self, job_id: str, attempt: int | None = None, container: str | None = None) -> str:
        """What a job printed, both streams; of several containers, which one."""

        async def read() -> str:
            async with self.stack.client() as client:
                logs = client.job_logs(job_id, attempt=attempt, container=container)
                lines = [line async for line in logs]
            return "".join(line.text + ("" if line.partial else "\n") for line in lines)

        return asyncio.run(read())

    def listed(self, **request: Any) -> list[str]:
        """Ids of all pages of a listing, in its order."""
        pages = self.client.get_paginator("list_jobs").paginate(**request)
        return [job["jobId"] for page in pages for job in page["jobSummaryList"]]

    def new_environment(self, name: str, instance_type: str, maxv_cpus: int, **more: Any) -> None:
        """A managed compute environment that is VALID."""
        self.client.create_compute_environment(
            computeEnvironmentName=name,
            type="MANAGED",
            computeResources={
                "type": "EC2",
                "minvCpus": 0,
                "maxvCpus": maxv_cpus,
                "instanceTypes": [instance_type],
                "subnets": ["subnet-local"],
                "instanceRole": "local",
            },
            **more,
        )
        self._valid("compute_environments", "computeEnvironments", name)

    def new_queue(self, name: str, environment: str = "default", priority: int = 1) -> str:
        """A queue that is VALID; returns its name."""
        self.client.create_job_queue(
            jobQueueName=name,
            priority=priority,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
        )
        self._valid("job_queues", "jobQueues", name)
        return name

    def _valid(self, operation: str, member: str, name: str) -> None:
        describe = getattr(self.client, f"describe_{operation}")
        eventually(
            lambda: [item["status"] for item in describe(**{member: [name]})[member]] == ["VALID"],
            f"{name} is VALID",
        )


@dataclass
class Gate:
    """A place that jobs wait at until the test opens it; the same path inside and outside."""

    directory: Path

    def script(self, name: str = "open") -> str:
        """Waits; ends by SIGTERM with exit code 143."""
        return f"trap 'exit 143' TERM; until [ -e {self.directory}/{name} ]; do sleep 0.2; done"

    def open(self, name: str = "open") -> None:
        """Lets the jobs go on."""
        (self.directory / name).touch()

    @property
    def volumes(self) -> Json:
        """Members of the container that make the place visible in it."""
        path = str(self.directory)
        return {
            "volumes": [{"name": "gate", "host": {"sourcePath": path}}],
            "mountPoints": [{"sourceVolume": "gate", "containerPath": path}],
        }


@dataclass
class Lasting:
    """Ids of jobs that need up to a minute to end, made before and looked at after other tests."""

    #: Its definition has a timeout of a minute.
    timed_out: str
    #: Its submission has.
    timed_out_by_submission: str
    #: Terminated while it runs and takes no notice.
    stubborn: str

    @classmethod
    def submit(cls, aws: Aws) -> Self:
        """Submits them all."""
        polite = "trap 'exit 143' TERM; while :; do sleep 0.2; done"
        timeout = {"attemptDurationSeconds": 60}
        retry = {"attempts": 3}
        timed_out = aws.run("timed-out", polite, timeout=timeout, retryStrategy=retry)
        by_submission = aws.submit(
            "timed-out-by-submission",
            aws.register("lasting", "sh", "-c", polite, timeout={"attemptDurationSeconds": 600}),
            timeout=timeout,
            retryStrategy=retry,
        )
        stubborn = aws.run("stubborn", "trap '' TERM; while :; do sleep 0.2; done")
        aws.until(stubborn, "RUNNING")
        aws.client.terminate_job(jobId=stubborn, reason="No more of this.")
        return cls(timed_out, by_submission, stubborn)
