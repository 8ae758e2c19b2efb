"""Every member and value that the contract says is not done is refused, by name and reason."""

from collections.abc import Iterator, Sequence

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from support.contract import built

from longshore.domain.errors import InvalidRequest, Unimplemented
from longshore.submission.check import check_request
from longshore.v1 import job_definition_pb2, options_pb2, submission_service_pb2

Path = tuple[FieldDescriptor, ...]
_SERVICE = submission_service_pb2.DESCRIPTOR.services_by_name["SubmissionService"]
_SCALARS = {
    FieldDescriptor.CPPTYPE_STRING: "x",
    FieldDescriptor.CPPTYPE_BOOL: True,
    FieldDescriptor.CPPTYPE_INT32: 1,
    FieldDescriptor.CPPTYPE_INT64: 1,
    FieldDescriptor.CPPTYPE_DOUBLE: 1.0,
}


def _values(field: FieldDescriptor, extension: FieldDescriptor) -> list[str]:
    return list(field.GetOptions().Extensions[extension])


def _why(field: FieldDescriptor) -> str:
    return str(field.GetOptions().Extensions[options_pb2.unsupported])


def _refused(message: Descriptor, path: Path = ()) -> Iterator[Path]:
    """Ways to the members beneath a message that are refused, if only with some values."""
    for field in message.fields:
        way = (*path, field)
        done = _values(field, options_pb2.supported)
        if _why(field) or done:
            yield way
        inner = field.message_type
        if not inner or inner.GetOptions().map_entry or (_why(field) and not done):
            continue
        if all(inner is not passed.containing_type for passed in way):
            yield from _refused(inner, way)


_WAYS = [
    (method.input_type, way) for method in built(_SERVICE) for way in _refused(method.input_type)
]


def _one(field: FieldDescriptor) -> object:
    """A value of a field that is all right but for what is looked for."""
    if field.message_type:
        return _filled(field.message_type)
    known = _values(field, options_pb2.supported) or _values(field, options_pb2.allowed)
    return known[0] if known else _SCALARS[field.cpp_type]


def _filled(descriptor: Descriptor) -> Message:
    """A message that has all that it must have."""
    message: Message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.GetOptions().Extensions[options_pb2.required] and not field.is_repeated:
            _put(message, field, _one(field))
    return message


def _put(message: Message, field: FieldDescriptor, value: object) -> None:
    if field.message_type and field.message_type.GetOptions().map_entry:
        getattr(message, field.name)["x"] = "x"
    elif field.is_repeated:
        getattr(message, field.name).append(value)
    elif field.message_type:
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)


def _request(descriptor: Descriptor, way: Sequence[FieldDescriptor], value: object) -> Message:
    """A request that is all right but for the value at the end of a way."""
    for field in reversed(way):
        holder = _filled(field.containing_type)
        holder.ClearField(field.name)
        _put(holder, field, value)
        value = holder
    assert isinstance(value, Message)
    assert value.DESCRIPTOR.full_name == descriptor.full_name
    return value


def _name(way: Path) -> str:
    """As errors name the member."""
    *holders, last = way
    parts = [f"{f.json_name}[0]" if f.is_repeated else f.json_name for f in holders]
    indexed = last.is_repeated and bool(_values(last, options_pb2.supported))
    return ".".join([*parts, f"{last.json_name}[0]" if indexed else last.json_name])


@pytest.mark.parametrize(
    ("request_type", "way"),
    _WAYS,
    ids=[f"{d.name.removesuffix('Request')}-{_name(way)}" for d, way in _WAYS],
)
def test_it_is_refused_by_name(request_type: Descriptor, way: Path) -> None:
    field = way[-1]
    done = _values(field, options_pb2.supported)
    others = [value for value in _values(field, options_pb2.allowed) if value not in done]
    for value in (others or ["x"]) if done else [_one(field)]:
        with pytest.raises(Unimplemented) as caught:
            check_request(_request(request_type, way, value))
        assert caught.value.fields["member"] == _name(way)
        assert _why(field) in caught.value.message
        assert not done or f" with the value {value}: " in caught.value.message
    for value in done:
        check_request(_request(request_type, way, value))


def test_some_are() -> None:
    names = {_name(way) for _, way in _WAYS}
    assert {"eksPropertiesOverride", "computeResources.type"} <= names


def test_false_and_an_empty_list_ask_for_nothing() -> None:
    request = job_definition_pb2.RegisterJobDefinitionRequest(
        job_definition_name="d", type="container"
    )
    request.container_properties.enable_execute_command = False
    check_request(request)
    request.container_properties.enable_execute_command = True
    with pytest.raises(Unimplemented, match=r"^containerProperties\.enableExecuteCommand is not "):
        check_request(request)


def test_a_value_that_is_not_done_is_told_with_those_that_are() -> None:
    request = job_definition_pb2.RegisterJobDefinitionRequest(
        job_definition_name="d", type="container", platform_capabilities=["MANAGED_INSTANCES"]
    )
    with pytest.raises(Unimplemented) as caught:
        check_request(request)
    assert caught.value.message == (
        "platformCapabilities[0] is not supported by longshore with the value MANAGED_INSTANCES: "
        "use EC2 or FARGATE."
    )


def test_a_value_that_is_unknown_is_told_with_those_that_are_done() -> None:
    request = job_definition_pb2.RegisterJobDefinitionRequest(
        job_definition_name="d", type="container", platform_capabilities=["MOON"]
    )
    with pytest.raises(InvalidRequest, match=r"is 'MOON'; it must be one of EC2, FARGATE\.$"):
        check_request(request)
