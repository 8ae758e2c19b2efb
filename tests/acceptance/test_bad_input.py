"""What cannot be, on a whole stack: it is refused and leaves everything as it was.

What each operation refuses, and in which words, is tested without a stack.
"""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from acceptance.aws import QUEUE, Aws, Json
from support.patience import PATIENCE_SECONDS

from longshore.v1 import job_pb2, submission_service_pb2_grpc

DEFINITION = "bad-input"


@pytest.fixture(scope="module")
def definition(aws: Aws) -> str:
    """A good definition, so that a request has one fault."""
    return aws.register(DEFINITION, "echo", "Ref::who", parameters={"who": "you"}).split(":")[0]


@pytest.fixture(scope="module")
def services(aws: Aws) -> Any:
    """The processes before the first bad request."""
    return aws.stack.record["services"]


@pytest.fixture(scope="module", autouse=True)
def unchanged(aws: Aws, definition: str, services: Json) -> Iterator[None]:
    """Of all of the below nothing comes to be and nothing goes."""
    before = _everything(aws)
    yield
    assert _everything(aws) == before


def _everything(aws: Aws) -> dict[str, list[str]]:
    """All active definitions, queues and compute environments, and the jobs of one definition."""
    queues = aws.client.describe_job_queues()["jobQueues"]
    environments = aws.client.describe_compute_environments()["computeEnvironments"]
    pages = aws.client.get_paginator("describe_job_definitions").paginate(status="ACTIVE")
    jobs = aws.listed(jobQueue=QUEUE, filters=[{"name": "JOB_DEFINITION", "values": [DEFINITION]}])
    return {
        "definitions": sorted(
            d["jobDefinitionArn"] for page in pages for d in page["jobDefinitions"]
        ),
        "queues": sorted(q["jobQueueName"] + q["state"] for q in queues),
        # What an earlier test deleted goes when it goes.
        "environments": sorted(
            e["computeEnvironmentName"] + e["state"]
            for e in environments
            if e["status"] != "DELETING"
        ),
        "jobs": sorted(jobs),
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/submitjobs", 404),
        ("POST", "/v2/submitjob", 404),
        ("GET", "/", 404),
        ("GET", "/v1/submitjob", 405),
        ("PATCH", "/v1/tags/x", 405),
    ],
)
def test_unknown_route(aws: Aws, method: str, path: str, status: int) -> None:
    answered, answer = aws.request(method, path, b"{}" if method != "GET" else None)
    assert (answered, answer["__type"]) == (status, "UnknownOperationException")


def test_boto3_raises_its_own_class(aws: Aws) -> None:
    with pytest.raises(aws.client.exceptions.ClientException) as raised:
        aws.submit("bad", DEFINITION, queue="nowhere")
    error = raised.value.response
    assert error["Error"]["Code"] == "ClientException"
    assert error["Error"]["Message"] == "JobQueue nowhere not found."
    assert error["ResponseMetadata"]["RequestId"]


def _call(aws: Aws, method: str, request: bytes) -> grpc.RpcError:
    """The error of a call on the wire itself."""
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{aws.stack.port_base}", options) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(f"/longshore.v1.{method}")(
                request, timeout=PATIENCE_SECONDS, metadata=aws.stack.access_key.metadata
            )
        return raised.value


@pytest.mark.parametrize(
    ("method", "request_bytes", "code"),
    [
        ("SubmissionService/Nothing", b"", grpc.StatusCode.UNIMPLEMENTED),
        ("NoService/SubmitJob", b"", grpc.StatusCode.UNIMPLEMENTED),
        ("SubmissionService/SubmitJob", b"", grpc.StatusCode.INVALID_ARGUMENT),
        ("SubmissionService/SubmitJob", b"\xff\xff\xff", grpc.StatusCode.INVALID_ARGUMENT),
        ("SubmissionService/SubmitJob", bytes(20_000_000), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["rpc", "service", "empty", "malformed", "oversize"],
)
def test_bad_calls_on_the_wire(
    aws: Aws, method: str, request_bytes: bytes, code: grpc.StatusCode
) -> None:
    assert _call(aws, method, request_bytes).code() is code


def test_refusal_on_the_wire_names_the_member(aws: Aws) -> None:
    request = job_pb2.SubmitJobRequest(job_name="bad", job_queue=QUEUE, job_definition=DEFINITION)
    request.array_properties.size = 0
    with grpc.insecure_channel(f"127.0.0.1:{aws.stack.port_base}") as channel:
        stub = submission_service_pb2_grpc.SubmissionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            stub.SubmitJob(
                request, timeout=PATIENCE_SECONDS, metadata=aws.stack.access_key.metadata
            )
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "arrayProperties.size" in raised.value.details()


def test_afterwards_the_service_goes_on(aws: Aws, services: Json) -> None:
    """After all of the above: the same processes, and jobs run."""
    assert aws.stack.record["services"] == services
    definition = aws.register("bad-input-good", "true")
    assert aws.end(aws.submit("good", definition))["status"] == "SUCCEEDED"
    aws.client.deregister_job_definition(jobDefinition=definition)
