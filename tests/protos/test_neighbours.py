"""What AWS's neighbours of Batch are asked and answer has their models' members and types."""

import botocore.session
import pytest
from botocore.model import ListShape, Shape, StructureShape
from google.protobuf.descriptor import Descriptor, FieldDescriptor, ServiceDescriptor

from longshore.v1 import cloud_trail_service_pb2, ecs_service_pb2, options_pb2

SERVICES = {
    "cloudtrail": cloud_trail_service_pb2.DESCRIPTOR.services_by_name["CloudTrailService"],
    "ecs": ecs_service_pb2.DESCRIPTOR.services_by_name["EcsService"],
}
SCALARS = {
    "string": FieldDescriptor.TYPE_STRING,
    "integer": FieldDescriptor.TYPE_INT32,
    "long": FieldDescriptor.TYPE_INT64,
    "boolean": FieldDescriptor.TYPE_BOOL,
    "double": FieldDescriptor.TYPE_DOUBLE,
    # Seconds since 1970.
    "timestamp": FieldDescriptor.TYPE_DOUBLE,
}


def differences(message: Descriptor, shape: StructureShape, path: str) -> list[str]:
    """Where a message has what the shape has not, or has it otherwise."""
    found = []
    for field in message.fields:
        if field.GetOptions().Extensions[options_pb2.extension]:
            continue
        name = f"{path}.{field.json_name}"
        member = shape.members.get(field.json_name)
        if member is None:
            found.append(f"{name} is not there")
            continue
        if field.is_repeated != isinstance(member, ListShape):
            found.append(f"{name} is a list on one side")
            continue
        found += different(field, member.member if isinstance(member, ListShape) else member, name)
    return found


def different(field: FieldDescriptor, shape: Shape, name: str) -> list[str]:
    if field.message_type is not None:
        if isinstance(shape, StructureShape):
            return differences(field.message_type, shape, name)
        return [f"{name} is a {shape.type_name}"]
    return [] if SCALARS.get(shape.type_name) == field.type else [f"{name} is {shape.type_name}"]


@pytest.mark.parametrize("name", SERVICES)
def test_members_are_those_of_aws(name: str) -> None:
    service: ServiceDescriptor = SERVICES[name]
    model = botocore.session.get_session().get_service_model(name)
    options = service.GetOptions().Extensions[options_pb2.json_service]
    assert model.metadata["targetPrefix"] == options.target_prefix
    found = []
    for method in service.methods:
        operation = model.operation_model(method.name)
        asked = {field.json_name for field in method.input_type.fields}
        found += [f"{method.name}.{m}" for m in operation.input_shape.members if m not in asked]
        found += differences(method.input_type, operation.input_shape, method.name)
        found += differences(method.output_type, operation.output_shape, method.name)
    assert found == []
