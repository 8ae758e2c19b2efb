"""The messages of CloudWatch Logs' operations say what AWS's service model says."""

from collections.abc import Iterator

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StringShape, StructureShape
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from support.contract import built

from longshore.v1 import cloudwatch_logs_service_pb2, options_pb2

SERVICE = cloudwatch_logs_service_pb2.DESCRIPTOR.services_by_name["CloudWatchLogsService"]
MODEL = ServiceModel(Loader().load_service_model("logs", "service-2"), "logs")
SCALARS = {
    "string": FieldDescriptor.TYPE_STRING,
    "integer": FieldDescriptor.TYPE_INT32,
    "long": FieldDescriptor.TYPE_INT64,
    "boolean": FieldDescriptor.TYPE_BOOL,
}
#: A stream's ways to end otherwise, which are errors here.
ENDS = {"SessionTimeoutException", "SessionStreamingException"}


def beside(message: Descriptor, shape: Shape | None) -> Iterator[tuple[Descriptor, StructureShape]]:
    """A message and those within it, beside the structures that they stand for."""
    if not isinstance(shape, StructureShape):
        assert not message.fields, message.name
        return
    yield message, shape
    for field in message.fields:
        member = shape.members.get(field.json_name)
        inner = getattr(member, "member", member)
        if isinstance(inner, StructureShape):
            assert field.message_type is not None
            yield from beside(field.message_type, inner)


def same_type(field: FieldDescriptor, shape: Shape) -> bool:
    if isinstance(shape, MapShape):
        return bool(field.message_type and field.message_type.GetOptions().map_entry)
    if isinstance(shape, ListShape):
        return bool(field.is_repeated) and same_type(field, shape.member)
    if isinstance(shape, StructureShape):
        return field.message_type is not None
    return bool(field.type == SCALARS[shape.type_name])


def test_messages_are_awss() -> None:
    for method in built(SERVICE):
        operation = MODEL.operation_model(method.name)
        output = operation.output_shape
        if method.server_streaming:
            output = output.members["responseStream"]
        pairs = [
            *beside(method.input_type, operation.input_shape),
            *beside(method.output_type, output),
        ]
        for message, shape in pairs:
            where = f"{method.name}: {message.name}"
            assert {f.json_name for f in message.fields} == set(shape.members) - ENDS, where
            for field in message.fields:
                member = shape.members[field.json_name]
                options = field.GetOptions().Extensions
                at = f"{where}.{field.json_name}"
                assert same_type(field, member), at
                assert field.is_repeated or field.has_presence, at
                required = field.json_name in shape.required_members
                assert options[options_pb2.required] == required, at
                one = member.member if isinstance(member, ListShape) else member
                values = list(one.enum) if isinstance(one, StringShape) else []
                assert list(options[options_pb2.allowed]) == values, at
