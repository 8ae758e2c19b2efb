"""The AWS-shaped messages say neither less nor more than AWS's service model."""

from collections.abc import Iterator

import pytest
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StringShape, StructureShape
from google.protobuf.descriptor import Descriptor, FieldDescriptor, ServiceDescriptor
from support.contract import built

from longshore.v1 import options_pb2

SCALARS = {
    "string": FieldDescriptor.TYPE_STRING,
    "integer": FieldDescriptor.TYPE_INT32,
    "long": FieldDescriptor.TYPE_INT64,
    "boolean": FieldDescriptor.TYPE_BOOL,
    "double": FieldDescriptor.TYPE_DOUBLE,
    "float": FieldDescriptor.TYPE_DOUBLE,
}

# Members whose capitals are an abbreviation, so that `_` before each would not read.
ABBREVIATIONS = {
    "containerID": "container_id",
    "sizeInGiB": "size_in_gib",
    "storageSizeGiB": "storage_size_gib",
}


# AWS added these after the model that the locked botocore brings.
NEWER_MESSAGES = {"EksContainerLinuxCapabilities", "EksPodSecurityContext", "EksSeccompProfile"}
NEWER_MEMBERS = {
    "EksContainerSecurityContext": {"capabilities", "seccompProfile"},
    "EksPodProperties": {"securityContext"},
    "EksPodPropertiesDetail": {"securityContext"},
}


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def extensions(message: Descriptor) -> set[str]:
    """Members that are of longshore alone."""
    return {
        field.json_name
        for field in message.fields
        if field.GetOptions().Extensions[options_pb2.extension]
    }


def messages(service: ServiceDescriptor) -> dict[str, Descriptor]:
    """Every message that the operations reach, by name, map entries left out."""
    waiting = [part for m in built(service) for part in (m.input_type, m.output_type)]
    found: dict[str, Descriptor] = {}
    while waiting:
        message = waiting.pop()
        if not message.GetOptions().map_entry:
            if message.name in found:
                continue
            found[message.name] = message
        waiting.extend(
            f.message_type
            for f in message.fields
            if f.message_type is not None and f.json_name not in extensions(message)
        )
    return found


def pairs(
    service: ServiceDescriptor, shapes: dict[str, StructureShape]
) -> Iterator[tuple[str, FieldDescriptor, StructureShape, Shape]]:
    """Each field beside the structure and member that it stands for."""
    ours = messages(service)
    for name, structure in shapes.items():
        fields = {field.json_name: field for field in ours[name].fields}
        for member, shape in structure.members.items():
            yield f"{name}.{member}", fields[member], structure, shape


def same_type(field: FieldDescriptor, shape: Shape) -> bool:
    """Whether one value of the field holds one value of the shape."""
    if isinstance(shape, StructureShape):
        return field.message_type is not None and field.message_type.name == shape.name
    return bool(field.type == SCALARS[shape.type_name])


def snake(member: str) -> str:
    plain = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in member)
    return ABBREVIATIONS.get(member, plain)


def test_every_rpc_is_an_operation_with_its_own_request_and_response(
    aws: ServiceModel, service: ServiceDescriptor
) -> None:
    for method in built(service):
        operation = aws.operation_model(method.name)
        assert method.input_type.name == operation.input_shape.name == f"{method.name}Request"
        assert method.output_type.name == operation.output_shape.name == f"{method.name}Response"


def test_the_operations_of_the_nouns_are_complete(
    aws: ServiceModel, service: ServiceDescriptor
) -> None:
    nouns = (
        "ComputeEnvironment",
        "ComputeEnvironments",
        "JobQueue",
        "JobQueues",
        "JobDefinition",
        "JobDefinitions",
        "SchedulingPolicy",
        "SchedulingPolicies",
    )
    verbs = ("Create", "Update", "Delete", "Describe", "Register", "Deregister")
    expected = {verb + noun for verb in verbs for noun in nouns} & set(aws.operation_names)
    expected |= {verb + noun for verb in ("Cancel", "Terminate") for noun in ("Job", "Jobs")}
    expected |= {"SubmitJob", "DescribeJobs", "ListJobs", "GetJobQueueSnapshot"}
    expected |= {"ListSchedulingPolicies"}
    expected |= {"TagResource", "UntagResource", "ListTagsForResource"}
    assert {method.name for method in built(service)} == expected


def test_what_is_refused_is_service_jobs_and_quota_shares(
    aws: ServiceModel, service: ServiceDescriptor
) -> None:
    nouns = ("ServiceJob", "ServiceEnvironment", "QuotaShare")
    expected = {name for name in aws.operation_names if any(noun in name for noun in nouns)}
    there = {method.name for method in built(service)}
    assert {method.name for method in service.methods} - there == expected
    assert len(expected) == 15


def test_routes_are_awss(aws: ServiceModel, service: ServiceDescriptor) -> None:
    routes = set()
    for method in service.methods:
        rule = method.GetOptions().Extensions[options_pb2.http]
        verb = rule.WhichOneof("pattern")
        http = aws.operation_model(method.name).http
        label = http["requestUri"].replace("{resourceArn}", "{resource_arn}")
        assert (verb.upper(), getattr(rule, verb)) == (http["method"], label), method.name
        assert rule.body == ("*" if verb == "post" else ""), method.name
        routes.add((verb, getattr(rule, verb)))
    assert len(routes) == len(service.methods), "two operations share a route"


def test_members_outside_the_body_are_where_the_routes_take_them_from(
    aws: ServiceModel, service: ServiceDescriptor
) -> None:
    """Only labels named in the path, and the query of requests without body."""
    for method in built(service):
        rule = method.GetOptions().Extensions[options_pb2.http]
        path = getattr(rule, rule.WhichOneof("pattern"))
        shape = aws.operation_model(method.name).input_shape
        fields = {field.json_name: field.name for field in method.input_type.fields}
        for member, of in shape.members.items():
            location = of.serialization.get("location", "query" if not rule.body else "body")
            in_path = f"{{{fields[member]}}}" in path
            assert in_path == (location == "uri"), f"{method.name}.{member}"
            if location == "querystring":
                assert not rule.body
                assert of.serialization["name"] == member


def test_the_same_messages(
    service: ServiceDescriptor, aws_structures: dict[str, StructureShape]
) -> None:
    assert set(messages(service)) == set(aws_structures) | NEWER_MESSAGES


def test_the_same_members_under_the_same_json_names(
    service: ServiceDescriptor, aws_structures: dict[str, StructureShape]
) -> None:
    ours = messages(service)
    for name, structure in aws_structures.items():
        expected = set(structure.members) | NEWER_MEMBERS.get(name, set())
        own = extensions(ours[name])
        assert not own & expected, f"{name}: AWS has {own & expected}"
        assert {field.json_name for field in ours[name].fields} - own == expected, name


def test_field_names_follow_the_members(
    service: ServiceDescriptor, aws_structures: dict[str, StructureShape]
) -> None:
    for where, field, _, _ in pairs(service, aws_structures):
        assert field.name == snake(where.partition(".")[2]), where


def test_the_same_types(
    service: ServiceDescriptor, aws_structures: dict[str, StructureShape]
) -> None:
    for where, field, _, shape in pairs(service, aws_structures):
        if isinstance(shape, MapShape):
            assert is_map(field), where
            assert field.message_type is not None
            entry = field.message_type.fields_by_name
            assert same_type(entry["key"], shape.key), where
            assert same_type(entry["value"], shape.value), where
        elif isinstance(shape, ListShape):
            assert field.is_repeated, where
            assert not is_map(field), where
            assert same_type(field, shape.member), where
        else:
            assert not field.is_repeated, where
            assert same_type(field, shape), where
            assert field.has_presence, f"{where}: absent and zero must differ"


def test_the_same_required_members(
    service: ServiceDescriptor, aws_structures: dict[str, StructureShape]
) -> None:
    for where, field, structure, _ in pairs(service, aws_structures):
        required = where.partition(".")[2] in structure.required_members
        assert field.GetOptions().Extensions[options_pb2.required] == required, where


def test_the_same_enumeration_values(
    service: ServiceDescriptor, aws_structures: dict[str, StructureShape]
) -> None:
    for where, field, _, shape in pairs(service, aws_structures):
        one = shape.member if isinstance(shape, ListShape) else shape
        values = list(one.enum) if isinstance(one, StringShape) else []
        assert list(field.GetOptions().Extensions[options_pb2.allowed]) == values, where


def test_only_retry_actions_are_taken_in_any_letter_case(
    service: ServiceDescriptor, aws_structures: dict[str, StructureShape]
) -> None:
    fields = {where: field.GetOptions() for where, field, _, _ in pairs(service, aws_structures)}
    loose = {where for where, of in fields.items() if of.Extensions[options_pb2.any_case]}
    assert loose == {"EvaluateOnExit.action"}


@pytest.mark.parametrize("member", sorted(ABBREVIATIONS))
def test_no_abbreviation_without_need(
    member: str, aws_structures: dict[str, StructureShape]
) -> None:
    assert any(member in structure.members for structure in aws_structures.values())
