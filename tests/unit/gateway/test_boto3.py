"""Every operation through boto3, with every member that AWS's own model knows."""

import json
from typing import Any

import botocore
import pytest
from botocore.exceptions import ClientError
from botocore.model import ListShape, MapShape, Shape, StructureShape
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass
from support.contract import SERVICE, aws_model, built

from longshore.domain.errors import (
    InvalidRequest,
    LimitExceeded,
    LongshoreError,
    NotFound,
    PreconditionFailed,
    Unavailable,
    Unimplemented,
)
from longshore.gateway.codec import Writer
from longshore.v1 import options_pb2
from longshore.v1.job_pb2 import DescribeJobsResponse

MODEL = aws_model()
METHOD_NAMES = {method.name: botocore.xform_name(method.name) for method in built(SERVICE)}
REFUSED = {
    method.name: method.GetOptions().Extensions[options_pb2.refused]
    for method in SERVICE.methods
    if method.name not in METHOD_NAMES
}
SCALARS = {
    "integer": 2**31 - 1,
    "long": 2**53 + 1,
    "boolean": False,
    "float": 0.5,
    "double": 0.25,
}
ARN = "arn:aws:batch:eu-west-1:123456789012:job-definition/a b+ü:3"


def a_full(shape: Shape) -> Any:
    """A value of a shape of AWS's model with every member there."""
    if isinstance(shape, StructureShape):
        return {name: a_full(member) for name, member in shape.members.items()}
    if isinstance(shape, ListShape):
        return [a_full(shape.member), a_full(shape.member)]
    if isinstance(shape, MapShape):
        return {"key": a_full(shape.value), "aws:ümläut ": a_full(shape.value)}
    if shape.type_name == "string":
        return (shape.enum or ["ein Wört"])[-1]
    return SCALARS[shape.type_name]


def plain(message: Any) -> Any:
    """Another writer's JSON of a message as witness: protobuf's, with 64-bit numbers as strings."""
    return json_format.MessageToDict(message)


def with_long_texts(value: Any, shape: Shape) -> Any:
    """AWS's value as protobuf's JSON would hold it."""
    if isinstance(shape, StructureShape):
        return {key: with_long_texts(item, shape.members[key]) for key, item in value.items()}
    if isinstance(shape, ListShape):
        return [with_long_texts(item, shape.member) for item in value]
    return str(value) if shape.type_name == "long" else value


@pytest.mark.parametrize("operation", METHOD_NAMES)
async def test_every_member_arrives(stack: Any, operation: str) -> None:
    shape = MODEL.operation_model(operation).input_shape
    parameters = a_full(shape)
    if "resourceArn" in parameters:
        parameters["resourceArn"] = ARN

    await stack.boto(METHOD_NAMES[operation], **parameters)

    assert stack.last.operation == operation
    assert plain(stack.last.request) == with_long_texts(parameters, shape)


@pytest.mark.parametrize("operation", METHOD_NAMES)
async def test_every_member_comes_back(stack: Any, operation: str) -> None:
    model = MODEL.operation_model(operation)
    expected = a_full(model.output_shape) if model.output_shape else {}
    answer = GetMessageClass(SERVICE.methods_by_name[operation].output_type)()
    json_format.ParseDict(expected, answer)
    stack.submission.answers[operation] = answer
    parameters = {
        name: a_full(member)
        for name, member in model.input_shape.members.items()
        if name in model.input_shape.required_members
    }

    found = await stack.boto(METHOD_NAMES[operation], **parameters)

    metadata = found.pop("ResponseMetadata")
    assert found == expected
    assert metadata["HTTPStatusCode"] == 200
    assert metadata["RequestId"] == stack.last.metadata["x-request-id"]


@pytest.mark.parametrize("operation", REFUSED)
async def test_what_is_not_there_is_refused_by_name(stack: Any, operation: str) -> None:
    shape = MODEL.operation_model(operation).input_shape

    with pytest.raises(ClientError) as refused:
        await stack.boto(botocore.xform_name(operation), **a_full(shape))

    error = refused.value.response["Error"]
    assert error["Code"] == "ClientException"
    assert error["Message"] == f"{operation} is not supported: {REFUSED[operation]}"
    assert stack.submission.received == []


async def test_region_is_the_one_signed_for(stack: Any) -> None:
    await stack.boto("describe_jobs", region="eu-west-1", jobs=[])

    assert stack.last.metadata["x-longshore-region"] == "eu-west-1"
    # A deadline goes over the wire rounded up.
    assert 0 < stack.last.seconds_left < 31


@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (InvalidRequest("jobName is wrong.", member="jobName"), 400, "ClientException", None),
        (NotFound("JobQueue ü not found."), 400, "ClientException", None),
        (PreconditionFailed("Cannot delete."), 400, "ClientException", None),
        (LimitExceeded("Too many."), 400, "ClientException", None),
        (Unimplemented("Not supported here."), 400, "ClientException", None),
        (
            Unavailable("postgres at 10.0.0.1 is away"),
            503,
            "ServerException",
            "The service is not available at the moment; try again.",
        ),
        (
            LongshoreError("a secret"),
            500,
            "ServerException",
            "Internal error; the service's log has the details.",
        ),
        (
            RuntimeError("a secret"),
            500,
            "ServerException",
            "Internal error; the service's log has the details.",
        ),
    ],
)
async def test_errors_are_awss(
    stack: Any, error: Exception, status: int, code: str, message: str | None
) -> None:
    stack.submission.answers["DescribeJobs"] = error

    with pytest.raises(ClientError) as raised:
        await stack.boto("describe_jobs", jobs=["a"])

    response = raised.value.response
    assert type(raised.value).__name__ == code
    assert response["Error"] == {"Code": code, "Message": message or str(error)}
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert response["ResponseMetadata"]["RequestId"] == stack.last.metadata["x-request-id"]
    assert ("retry-after" in response["ResponseMetadata"]["HTTPHeaders"]) == (status == 503)


def test_empty_lists_are_answered_where_aws_answers_them() -> None:
    """Spec: what comes back is not what went in."""
    answer = DescribeJobsResponse()
    job = answer.jobs.add(job_id="a", created_at=2**53 + 1)
    job.retry_strategy.attempts = 1
    job.container.linux_parameters.devices.add(host_path="/dev/null")
    job.container.log_configuration.log_driver = "json-file"

    written = json.loads(json.dumps(Writer.of(answer.DESCRIPTOR).write(answer)))["jobs"][0]

    container = written.pop("container")
    assert written == {
        "jobId": "a",
        "createdAt": 2**53 + 1,
        "attempts": [],
        "dependsOn": [],
        "eksAttempts": [],
        "parameters": {},
        "platformCapabilities": [],
        "tags": {},
        "retryStrategy": {"attempts": 1, "evaluateOnExit": []},
    }
    assert container == {
        "command": [],
        "environment": [],
        "mountPoints": [],
        "networkInterfaces": [],
        "resourceRequirements": [],
        "secrets": [],
        "ulimits": [],
        "volumes": [],
        "linuxParameters": {"devices": [{"hostPath": "/dev/null"}], "tmpfs": []},
        "logConfiguration": {"logDriver": "json-file", "options": {}, "secretOptions": []},
    }
