"""Protobuf's JSON of every AWS-shaped message is AWS's JSON, there and back."""

from typing import Any

import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.validate import ParamValidator
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from longshore.v1 import compute_environment_pb2, eks_pb2, job_definition_pb2, job_pb2

SAMPLES: dict[str, Any] = {
    "integer": 7,
    "long": 1_700_000_000_123,
    "boolean": False,
    "double": 0.5,
    "float": 0.5,
}


def sample(shape: Shape) -> Any:
    """A value with every member filled, in the form that botocore takes."""
    if isinstance(shape, StructureShape):
        return {name: sample(member) for name, member in shape.members.items()}
    if isinstance(shape, ListShape):
        return [sample(shape.member), sample(shape.member)]
    if isinstance(shape, MapShape):
        return {"a key": sample(shape.value)}
    if shape.type_name == "string":
        return shape.enum[-1] if shape.enum else "größe"
    if shape.type_name == "long" and "max" in shape.metadata:
        return shape.metadata["max"]
    return SAMPLES[shape.type_name]


def with_numbers(value: Any, shape: Shape) -> Any:
    """Protobuf's JSON with 64-bit integers as numbers, as AWS writes them."""
    if isinstance(shape, StructureShape):
        return {name: with_numbers(item, shape.members[name]) for name, item in value.items()}
    if isinstance(shape, ListShape):
        return [with_numbers(item, shape.member) for item in value]
    if isinstance(shape, MapShape):
        return {key: with_numbers(item, shape.value) for key, item in value.items()}
    return int(value) if shape.type_name == "long" else value


def filled(service: ServiceDescriptor, shape: StructureShape) -> tuple[dict[str, Any], Message]:
    """A sample and the message that protobuf's JSON parser makes of it."""
    descriptor = service.file.pool.FindMessageTypeByName(f"longshore.v1.{shape.name}")
    message = message_factory.GetMessageClass(descriptor)()
    value = sample(shape)
    json_format.ParseDict(value, message)
    return value, message


def test_samples_are_what_aws_accepts(aws_structures: dict[str, StructureShape]) -> None:
    for name, shape in aws_structures.items():
        report = ParamValidator().validate(sample(shape), shape)
        assert not report.has_errors(), f"{name}: {report.generate_report()}"


def test_filled_messages_survive_the_json(
    service: ServiceDescriptor, aws_structures: dict[str, StructureShape]
) -> None:
    for name, shape in aws_structures.items():
        value, message = filled(service, shape)
        assert with_numbers(json_format.MessageToDict(message), shape) == value, name


def test_filled_messages_survive_the_wire(
    service: ServiceDescriptor, aws_structures: dict[str, StructureShape]
) -> None:
    for name, shape in aws_structures.items():
        _, message = filled(service, shape)
        assert type(message).FromString(message.SerializeToString()) == message, name


def test_zero_false_and_empty_are_not_absent() -> None:
    detail = job_pb2.ContainerDetail(exit_code=0, privileged=False, reason="")
    again = job_pb2.ContainerDetail.FromString(detail.SerializeToString())
    assert json_format.MessageToDict(again) == {"exitCode": 0, "privileged": False, "reason": ""}
    assert not again.HasField("memory")


def test_abbreviated_members_keep_awss_spelling() -> None:
    container = eks_pb2.EksAttemptContainerDetail(container_id="c")
    storage = compute_environment_pb2.ManagedInstancesStorageConfiguration(storage_size_gib=1)
    properties = job_definition_pb2.ContainerProperties()
    properties.ephemeral_storage.size_in_gib = 21
    assert json_format.MessageToDict(container) == {"containerID": "c"}
    assert json_format.MessageToDict(storage) == {"storageSizeGiB": 1}
    assert json_format.MessageToDict(properties) == {"ephemeralStorage": {"sizeInGiB": 21}}


def test_unknown_members_are_refused() -> None:
    with pytest.raises(json_format.ParseError, match="jobNaem"):
        json_format.ParseDict({"jobNaem": "a"}, job_pb2.SubmitJobRequest())
