"""A client in Python, made from the protos alone; it knows nothing else of longshore.

protoc's output is on PYTHONPATH, see README.md here:

    python client.py 127.0.0.1:7070 127.0.0.1:7074
"""

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc

from longshore.v1 import (
    container_pb2,
    error_pb2,
    job_definition_pb2,
    job_pb2,
    log_service_pb2,
    log_service_pb2_grpc,
    submission_service_pb2_grpc,
)

NAME = "client-python"
CHILDREN = 3
CALL_SECONDS = 30
WAIT_SECONDS = 90

#: Who calls, in the metadata of every call. A longshore that is open takes calls without.
KEY = ":".join(
    os.environ.get(name, "") for name in ("LONGSHORE_ACCESS_KEY_ID", "LONGSHORE_SECRET_ACCESS_KEY")
)
WHO = (("authorization", f"Bearer {KEY}"),) if KEY != ":" else ()


def register(submission: Any) -> str:
    """Registers a definition and returns `name:revision`."""
    container = job_definition_pb2.ContainerProperties(
        image="busybox:latest",
        command=["sh", "-c", 'echo "child ${AWS_BATCH_JOB_ARRAY_INDEX:-none}"'],
        resource_requirements=[
            container_pb2.ResourceRequirement(type="VCPU", value="1"),
            container_pb2.ResourceRequirement(type="MEMORY", value="64"),
        ],
    )
    request = job_definition_pb2.RegisterJobDefinitionRequest(
        job_definition_name=NAME, type="container", container_properties=container
    )
    answer = submission.RegisterJobDefinition(request, timeout=CALL_SECONDS, metadata=WHO)
    return f"{answer.job_definition_name}:{answer.revision}"


def submit(submission: Any, definition: str) -> tuple[str, str]:
    """Submits an array and a job that waits for all of it; returns their ids."""
    array = job_pb2.SubmitJobRequest(
        job_name=f"{NAME}-array",
        job_queue="default",
        job_definition=definition,
        array_properties=job_pb2.ArrayProperties(size=CHILDREN),
    )
    array_id = submission.SubmitJob(array, timeout=CALL_SECONDS, metadata=WHO).job_id
    after = job_pb2.SubmitJobRequest(
        job_name=f"{NAME}-after",
        job_queue="default",
        job_definition=definition,
        depends_on=[job_pb2.JobDependency(job_id=array_id)],
    )
    return array_id, submission.SubmitJob(after, timeout=CALL_SECONDS, metadata=WHO).job_id


def wait(submission: Any, job_id: str) -> Any:
    """The job once it has ended."""
    deadline = time.monotonic() + WAIT_SECONDS
    request = job_pb2.DescribeJobsRequest(jobs=[job_id])
    while time.monotonic() < deadline:
        (job,) = submission.DescribeJobs(request, timeout=CALL_SECONDS, metadata=WHO).jobs
        if job.status in ("SUCCEEDED", "FAILED"):
            return job
        time.sleep(0.2)
    raise TimeoutError(f"{job_id} did not end within {WAIT_SECONDS} s")


def pages(submission: Any, array_id: str) -> Iterator[list[str]]:
    """The ids of an array's children that SUCCEEDED, two on a page."""
    request = job_pb2.ListJobsRequest(array_job_id=array_id, job_status="SUCCEEDED", max_results=2)
    while True:
        answer = submission.ListJobs(request, timeout=CALL_SECONDS, metadata=WHO)
        yield [job.job_id for job in answer.job_summary_list]
        if not answer.next_token:
            return
        request.next_token = answer.next_token


def refusal(error: grpc.RpcError) -> tuple[str, str]:
    """Why a call was refused, for programs: the reason and the member that is to blame."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            info = error_pb2.ErrorStatus.FromString(value).details[0].value
            return info.reason, info.metadata.get("member", "")
    return "", ""


def main(submission_address: str, logs_address: str) -> None:
    """Runs the scenario; each step prints a line."""
    with (
        grpc.insecure_channel(submission_address) as channel,
        grpc.insecure_channel(logs_address) as logs_channel,
    ):
        submission = submission_service_pb2_grpc.SubmissionServiceStub(channel)
        logs = log_service_pb2_grpc.LogServiceStub(logs_channel)

        definition = register(submission)
        print(f"registered {definition}")
        array_id, after_id = submit(submission, definition)
        print(f"array {array_id}, then {after_id}")
        print(f"after {wait(submission, after_id).status}")
        print(f"array {wait(submission, array_id).status}")
        for page in pages(submission, array_id):
            print(f"page of {len(page)}")

        child = wait(submission, f"{array_id}:2")
        request = log_service_pb2.TailLogsRequest(
            log_stream_name=child.container.log_stream_name, follow=True
        )
        for answer in logs.TailLogs(request, timeout=CALL_SECONDS, metadata=WHO):
            for entry in answer.entries:
                print(f"log {entry.text.decode(errors='replace')}")

        wrong = job_pb2.SubmitJobRequest(
            job_name=NAME, job_queue="nowhere", job_definition=definition
        )
        try:
            submission.SubmitJob(wrong, timeout=CALL_SECONDS, metadata=WHO)
        except grpc.RpcError as error:
            reason, member = refusal(error)
            print(f"refused {reason} {member}: {error.details()}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
