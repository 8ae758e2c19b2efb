"""AWS's JSON to messages and back, by their descriptors.

protobuf's own JSON mapping is close to AWS's but not the same, and several times slower. Here:

- numbers are numbers, 64-bit ones too, and a string is none, whatever is in it;
- `null` is the same as absent;
- an empty list or map that is there is told from an absent one where that means something;
- a wrong type, a number out of range or an unknown member is an error that names the member by its
  path, as in `containerOverrides.command[2]`;
- a response keeps its empty lists and maps (see `_ABSENT_WHEN_EMPTY`), and leaves out scalars
  without a value.

A reader and a writer are compiled once for each message type into a table from member to function,
so that a message costs one dictionary lookup for each member that is there.
"""

import contextlib
import difflib
import functools
import math
import re
from collections.abc import Callable, Collection
from importlib.metadata import version
from typing import Any, Self

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from longshore.domain.errors import InvalidRequest
from longshore.v1 import options_pb2

#: AWS answers most lists and maps even when they are empty: clients compare against them
#: (Terraform's `containerProperties`) or index them without asking (`job["attempts"]`). A repeated
#: field has no presence on the wire, so the rule is to send them all, and these are the ones that
#: AWS leaves out. A new operation needs an entry here only if a client is found to mind.
_ABSENT_WHEN_EMPTY = frozenset(
    {
        "longshore.v1.ArrayPropertiesDetail.status_summary",
        "longshore.v1.ArrayPropertiesSummary.status_summary",
        "longshore.v1.ComputeResource.capacity_tags",
        "longshore.v1.ConnectionHttpParameters.body_parameters",
        "longshore.v1.ConnectionHttpParameters.header_parameters",
        "longshore.v1.ConnectionHttpParameters.query_string_parameters",
        "longshore.v1.Device.permissions",
        "longshore.v1.HttpParameters.header_parameters",
        "longshore.v1.HttpParameters.path_parameter_values",
        "longshore.v1.HttpParameters.query_string_parameters",
        "longshore.v1.InputTransformer.input_paths_map",
        "longshore.v1.JobSummary.capacity_usage",
        "longshore.v1.NodeRangeProperty.instance_types",
        "longshore.v1.ReplayDestination.filter_arns",
        "longshore.v1.Tmpfs.mount_options",
    }
)

_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER_BITS = {FieldDescriptor.TYPE_INT32: 32, FieldDescriptor.TYPE_INT64: 64}
#: Longest part of a caller's own text that an error message repeats.
_QUOTED_CHARACTERS = 64
_NO_UNICODE = "must hold valid Unicode."


#: Of longshore, for whoever sends what only a newer one may know.
_VERSION = version("longshore")


class _MalformedError(Exception):
    """A value that does not fit. The path grows from the inside out while the exception passes."""

    def __init__(self, complaint: str, *steps: str) -> None:
        super().__init__(complaint)
        self.complaint = complaint
        self.steps = list(steps)

    def at(self, step: str) -> Self:
        self.steps.append(step)
        return self

    def member(self) -> str:
        path = "".join(
            step if step.startswith("[") else f".{step}" for step in reversed(self.steps)
        )
        return path.removeprefix(".")


_Scalar = Callable[[Any], Any]
_Setter = Callable[[Any, Any], None]


class Reader:
    """Reads decoded JSON into messages of one type."""

    def __init__(
        self,
        setters: dict[str, _Setter],
        required: Collection[str],
        elsewhere: Collection[str] = (),
    ) -> None:
        """Makes a reader.

        Args:
            setters: of the members that may be there, by their names.
            required: lists and maps that must be there. Here, because they are absent on the wire
                when they are empty; the service behind checks all other required members.
            elsewhere: members that another part of the request has.
        """
        self._setters = setters
        self._required = frozenset(required)
        self._elsewhere = frozenset(elsewhere)

    @staticmethod
    @functools.cache
    def of(descriptor: Descriptor) -> "Reader":
        """The reader of a message type; TypeError for a field without a form in AWS's JSON."""
        fields = _members(descriptor)
        return Reader(
            {field.json_name: _emptying(field, _setter(field)) for field in fields},
            {
                field.json_name
                for field in fields
                if field.is_repeated and field.GetOptions().Extensions[options_pb2.required]
            },
        )

    @property
    def members(self) -> frozenset[str]:
        """Names of the members that may be there."""
        return frozenset(self._setters)

    def only(self, members: Collection[str]) -> "Reader":
        """A reader that knows some of the members and refuses the others."""
        return Reader(
            {name: self._setters[name] for name in members},
            self._required & set(members),
            self._setters.keys() - set(members),
        )

    def read(self, message: Message, value: Any) -> None:
        """Sets a message's fields from a JSON object; raises InvalidRequest naming the member."""
        try:
            self.fill(message, value)
        except _MalformedError as error:
            member = error.member()
            raise InvalidRequest(
                f"{member or 'The request'} {error.complaint}", member=member
            ) from None

    def fill(self, message: Message, value: Any) -> None:
        """As `read`, for use inside another message."""
        if type(value) is not dict:
            raise _MalformedError("must be an object.")
        setters = self._setters
        for name, item in value.items():
            if item is None:
                continue
            setter = setters.get(name)
            if setter is None:
                if name in self._elsewhere:
                    raise _MalformedError("is not a member of this part of the request.", name)
                raise _unknown(name, setters)
            try:
                setter(message, item)
            except _MalformedError as error:
                raise error.at(name) from None
            except UnicodeEncodeError:
                raise _MalformedError(_NO_UNICODE, name) from None
        for name in self._required:
            if value.get(name) is None:
                raise _MalformedError("is required.", name)


def _unknown(name: str, known: Collection[str]) -> _MalformedError:
    shown = name[:_QUOTED_CHARACTERS]
    near = difflib.get_close_matches(shown, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return _MalformedError(
        f"is not a known member: longshore {_VERSION} has all members that AWS had when it "
        "was made, and this is none of them. If AWS has added it since, leave it out, or look "
        f"whether a newer longshore has it.{hint}",
        shown,
    )


def _members(descriptor: Descriptor) -> list[FieldDescriptor]:
    """The fields that are members of AWS's shape; those of longshore alone are not."""
    return [
        field
        for field in descriptor.fields
        if not field.GetOptions().Extensions[options_pb2.extension]
    ]


def _emptying(field: FieldDescriptor, setter: _Setter) -> _Setter:
    """A setter that also says so where a list or map that is there is empty."""
    flag = field.GetOptions().Extensions[options_pb2.cleared_by]
    if not flag:
        return setter

    def assign(message: Any, item: Any) -> None:
        setter(message, item)
        if not item:
            setattr(message, flag, True)

    return assign


def _setter(field: FieldDescriptor) -> _Setter:
    name = field.name
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        return _map_setter(name, inner)
    if inner is not None:
        return _message_setter(name, inner, repeated=field.is_repeated)
    read = _scalar(field)
    if not field.is_repeated:

        def assign(message: Any, item: Any) -> None:
            setattr(message, name, read(item))

        return assign

    def extend(message: Any, item: Any) -> None:
        values = getattr(message, name)
        for index, element in enumerate(_list(item)):
            try:
                values.append(read(element))
            except _MalformedError as error:
                raise error.at(f"[{index}]") from None
            except UnicodeEncodeError:
                raise _MalformedError(_NO_UNICODE, f"[{index}]") from None

    return extend


def _message_setter(name: str, descriptor: Descriptor, *, repeated: bool) -> _Setter:
    if not repeated:

        def assign(message: Any, item: Any) -> None:
            inner = getattr(message, name)
            inner.SetInParent()
            Reader.of(descriptor).fill(inner, item)

        return assign

    def extend(message: Any, item: Any) -> None:
        values = getattr(message, name)
        fill = Reader.of(descriptor).fill
        for index, element in enumerate(_list(item)):
            try:
                fill(values.add(), element)
            except _MalformedError as error:
                raise error.at(f"[{index}]") from None

    return extend


def _map_setter(name: str, entry: Descriptor) -> _Setter:
    if entry.fields_by_name["key"].type != FieldDescriptor.TYPE_STRING:
        raise TypeError(f"{entry.full_name}: maps in AWS's JSON have string keys")
    read = _scalar(entry.fields_by_name["value"])

    def assign(message: Any, item: Any) -> None:
        if type(item) is not dict:
            raise _MalformedError("must be an object.")
        values = getattr(message, name)
        for key, element in item.items():
            try:
                values[key] = read(element)
            except _MalformedError as error:
                raise error.at(key[:_QUOTED_CHARACTERS]) from None
            except UnicodeEncodeError:
                # Of a key that is itself wrong only the map can be named.
                steps = [] if _SURROGATE.search(key) else [key[:_QUOTED_CHARACTERS]]
                raise _MalformedError(_NO_UNICODE, *steps) from None

    return assign


def _is_map(field: FieldDescriptor) -> bool:
    message_type = field.message_type
    return message_type is not None and message_type.GetOptions().map_entry


def _list(item: Any) -> list[Any]:
    if type(item) is not list:
        raise _MalformedError("must be a list.")
    return item


def _scalar(field: FieldDescriptor) -> _Scalar:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return _string
        case FieldDescriptor.TYPE_BOOL:
            return _boolean
        case FieldDescriptor.TYPE_INT32 | FieldDescriptor.TYPE_INT64:
            return _integer(_INTEGER_BITS[field.type])
        case FieldDescriptor.TYPE_DOUBLE:
            return _decimal
    raise TypeError(f"{field.full_name}: a field of this type has no form in AWS's JSON")


def _string(item: Any) -> str:
    if type(item) is not str:
        raise _MalformedError("must be a string.")
    return item


def _boolean(item: Any) -> bool:
    if type(item) is not bool:
        raise _MalformedError("must be true or false.")
    return item


def _integer(bits: int) -> _Scalar:
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def read(item: Any) -> int:
        number = int(item) if type(item) is float and item.is_integer() else item
        if type(number) is not int:
            raise _MalformedError("must be a whole number.")
        if not least <= number <= most:
            raise _MalformedError(f"must be a whole number from {least} to {most}.")
        return number

    return read


def _decimal(item: Any) -> float:
    if type(item) in (int, float):
        # An int may be too large for a float; 1e999 is read as infinite.
        with contextlib.suppress(OverflowError):
            number = float(item)
            if math.isfinite(number):
                return number
    raise _MalformedError("must be a number.")


class Writer:
    """Writes messages of one type as JSON values."""

    def __init__(self, descriptor: Descriptor) -> None:
        fields = _members(descriptor)
        self._members = {field.number: (field.json_name, _form(field)) for field in fields}
        self._empty: dict[str, Any] = {
            field.json_name: {} if _is_map(field) else []
            for field in fields
            if field.is_repeated and field.full_name not in _ABSENT_WHEN_EMPTY
        }

    @staticmethod
    @functools.cache
    def of(descriptor: Descriptor) -> "Writer":
        """The writer of a message type."""
        return Writer(descriptor)

    def write(self, message: Message) -> dict[str, Any]:
        """The message as a JSON object, to be serialised, not changed: empty members are shared."""
        members = self._members
        written = self._empty.copy()
        for field, value in message.ListFields():
            member = members.get(field.number)
            if member is not None:
                name, form = member
                written[name] = value if form is None else form(value)
        return written


def _form(field: FieldDescriptor) -> Callable[[Any], Any] | None:
    """How a field's value is written; None for a scalar, which is written as it is."""
    descriptor = field.message_type
    if descriptor is None:
        return list if field.is_repeated else None
    if _is_map(field):
        return dict
    if not field.is_repeated:
        return lambda value: Writer.of(descriptor).write(value)

    def write_all(values: Any) -> list[Any]:
        write = Writer.of(descriptor).write
        return [write(value) for value in values]

    return write_all
