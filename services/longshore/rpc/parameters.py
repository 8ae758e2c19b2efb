"""What a message says, as JSON for a record of its call: without what may be a secret."""

import functools
import re
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from longshore.domain.audit.record import HIDDEN, OWN_VARIABLES
from longshore.domain.checks import Json
from longshore.v1 import options_pb2

#: Names that a field with a secret has: hidden, even if the option was forgotten.
_SECRET = re.compile(r"password|client_secret|secret_value|secret_key|api_key_value")

_Form = Callable[[Any], Any]


class Parameters:
    """Writes messages of one type, by their JSON names.

    A field with the option `longshore.v1.sensitive` is there with its value hidden, unless the
    message names a variable of the service's own.
    """

    def __init__(self, descriptor: Descriptor) -> None:
        self._members = {
            field.number: (field.json_name, _form(field), _is_sensitive(field))
            for field in descriptor.fields
        }
        self._is_named = "name" in descriptor.fields_by_name

    @staticmethod
    @functools.cache
    def of(descriptor: Descriptor) -> "Parameters":
        """The writer of a message type."""
        return Parameters(descriptor)

    def write(self, message: Message) -> Json:
        """The message as JSON."""
        written: Json = {}
        for field, value in message.ListFields():
            name, form, is_sensitive = self._members[field.number]
            if is_sensitive and not self._is_own(message):
                written[name] = HIDDEN
            else:
                written[name] = form(value)
        return written

    def _is_own(self, message: Any) -> bool:
        return self._is_named and message.name.startswith(OWN_VARIABLES)


def _is_sensitive(field: FieldDescriptor) -> bool:
    if field.message_type is None and _SECRET.search(field.name):
        return True
    return bool(field.GetOptions().Extensions[options_pb2.sensitive])


def _form(field: FieldDescriptor) -> _Form:
    """How a field's value is written."""
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        value = _single(inner.fields_by_name["value"])
        return lambda entries: {str(key): value(entries[key]) for key in entries}
    one = _single(field)
    return (lambda values: [one(value) for value in values]) if field.is_repeated else one


def _single(field: FieldDescriptor) -> _Form:
    inner = field.message_type
    if inner is not None and inner.full_name.startswith("google.protobuf."):
        return _well_known
    if inner is not None:
        return lambda value: Parameters.of(inner).write(value)
    enumeration = field.enum_type
    if enumeration is not None:
        names = enumeration.values_by_number
        return lambda value: names[value].name if value in names else value
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: f"{len(value)} bytes"
    return lambda value: value


def _well_known(value: Message) -> Any:
    """A time, a duration and the like, as protobuf writes them."""
    try:
        return MessageToDict(value)
    except (ValueError, OverflowError):
        return "out of range"
