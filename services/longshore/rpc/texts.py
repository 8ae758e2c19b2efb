"""What is checked of the texts of all requests, whatever they say: that a service can take them."""

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from longshore.domain.errors import InvalidRequest
from longshore.v1 import options_pb2

#: More characters than any text of a request may have; what takes fewer says so itself.
TEXT_MAX = 128 * 1024


def check_texts(message: Message, data: bytes) -> None:
    """Checks all texts of a request, also those deep within it.

    Args:
        message: the request.
        data: the same as it came.

    Raises:
        InvalidRequest: a text has a NUL character, which no database, file name or program's
            argument can hold, or very many characters; it names the member by its JSON path. Texts
            that are `content` may have both.
    """
    # Most requests have neither; a NUL byte is mostly part of a number.
    if len(data) > TEXT_MAX or b"\0" in data:
        _check(message, "")


def _check(message: Message, path: str) -> None:
    for field, value in message.ListFields():
        name = path + field.json_name
        if field.message_type and field.message_type.GetOptions().map_entry:
            for key in value:
                _check_value(field.message_type.fields_by_name["key"], key, name)
                entry = field.message_type.fields_by_name["value"]
                _check_value(entry, value[key], f"{name}.{key}")
        elif field.is_repeated:
            for index, entry in enumerate(value):
                _check_value(field, entry, f"{name}[{index}]")
        else:
            _check_value(field, value, name)


def _check_value(field: FieldDescriptor, value: Any, name: str) -> None:
    if field.message_type:
        _check(value, f"{name}.")
    elif isinstance(value, str) and ("\0" in value or len(value) > TEXT_MAX):
        if field.GetOptions().Extensions[options_pb2.content]:
            return
        if "\0" in value:
            raise InvalidRequest(f"{name} has a NUL character.", member=name)
        raise InvalidRequest(
            f"{name} has {len(value)} characters; no text may have more than {TEXT_MAX}.",
            member=name,
        )
