"""The messages of EventBridgeService say neither less nor more than AWS's service model."""

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from longshore.v1 import event_bridge_service_pb2, options_pb2

SERVICE = event_bridge_service_pb2.DESCRIPTOR.services_by_name["EventBridgeService"]
TYPES = {
    "string": FieldDescriptor.TYPE_STRING,
    "integer": FieldDescriptor.TYPE_INT32,
    "long": FieldDescriptor.TYPE_INT64,
    "boolean": FieldDescriptor.TYPE_BOOL,
    # Seconds since 1970, as this protocol has times.
    "timestamp": FieldDescriptor.TYPE_DOUBLE,
}
#: What AWS knows and longshore does not answer at all.
LEFT_OUT = {
    *("ActivateEventSource", "DeactivateEventSource", "DescribeEventSource", "ListEventSources"),
    *("CreatePartnerEventSource", "DeletePartnerEventSource", "DescribePartnerEventSource"),
    *("ListPartnerEventSources", "ListPartnerEventSourceAccounts", "PutPartnerEvents"),
    *("CreateEndpoint", "DeleteEndpoint", "DescribeEndpoint", "ListEndpoints", "UpdateEndpoint"),
    *("PutPermission", "RemovePermission"),
}


def model() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("events", "service-2"), "events")


def compare(shape: Shape | None, message: Descriptor, seen: set[str]) -> None:
    """A structure's members by name, type and need, and all that they lead to."""
    members = shape.members if isinstance(shape, StructureShape) else {}
    if shape is not None and shape.name in seen:
        return
    seen.add(shape.name if shape is not None else "")
    fields = {
        field.json_name: field
        for field in message.fields
        if not field.GetOptions().Extensions[options_pb2.extension]
    }
    assert set(fields) == set(members), message.name
    for name, member in members.items():
        field = fields[name]
        where = f"{message.name}.{name}"
        needed = name in shape.required_members  # type: ignore[union-attr]
        if message.name.endswith("Request"):
            assert field.GetOptions().Extensions[options_pb2.required] == needed, where
        if isinstance(member, MapShape):
            assert field.message_type.GetOptions().map_entry, where
            continue
        assert field.is_repeated == isinstance(member, ListShape), where
        one = member.member if isinstance(member, ListShape) else member
        if isinstance(one, StructureShape):
            compare(one, field.message_type, seen)
        else:
            assert field.type == TYPES[one.type_name], where


def test_the_messages_are_awss() -> None:
    aws, seen = model(), set[str]()
    for method in SERVICE.methods:
        operation: OperationModel = aws.operation_model(method.name)
        compare(operation.input_shape, method.input_type, seen)
        if operation.output_shape is not None:
            compare(operation.output_shape, method.output_type, seen)
        else:
            assert not method.output_type.fields


def test_the_operations_are_awss() -> None:
    there = {method.name for method in SERVICE.methods}
    assert there == set(model().operation_names) - LEFT_OUT


def test_it_is_reached_as_at_aws() -> None:
    metadata = model().metadata
    service = SERVICE.GetOptions().Extensions[options_pb2.json_service]
    assert (service.target_prefix, "json") == (metadata["targetPrefix"], metadata["protocol"])
