"""What may be a secret is marked so: the audit log would have it otherwise."""

import re
from importlib import import_module
from pkgutil import iter_modules

from google.protobuf.descriptor import Descriptor, FieldDescriptor

import longshore.v1
from longshore.v1 import options_pb2

SUSPICIOUS = re.compile(r"password|secret|token|credential|api_key")
#: They are none, or no caller sends them.
HARMLESS = re.compile(
    r"(next|page|chain|decision|update|sequence|forward|backward|lock)_?token"
    r"|token_id|secret_(name|arn|manager_arn)|api_key_name|is_value_secret|credentials_arn"
)


def fields(messages: dict[str, Descriptor]) -> list[FieldDescriptor]:
    """All fields with a text, also of messages within messages."""
    found: list[FieldDescriptor] = []
    for message in messages.values():
        found += [f for f in message.fields if f.type == FieldDescriptor.TYPE_STRING]
        found += fields(message.nested_types_by_name)
    return found


def test_fields_with_secrets_are_marked() -> None:
    found = []
    for module in iter_modules(longshore.v1.__path__):
        if module.name.endswith("_pb2"):
            file = import_module(f"longshore.v1.{module.name}").DESCRIPTOR
            found += fields(file.message_types_by_name)
    assert len(found) > 300
    assert [
        field.full_name
        for field in found
        if SUSPICIOUS.search(field.name)
        and not HARMLESS.search(field.name)
        and not field.GetOptions().Extensions[options_pb2.sensitive]
    ] == []
