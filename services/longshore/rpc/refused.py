"""What the contract names and longshore does not do: operations, members and values of members."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from longshore.domain.checks import unsupported
from longshore.domain.errors import Unimplemented
from longshore.v1 import options_pb2


@dataclass(frozen=True, slots=True)
class NotDone:
    """That a member is not done, or not with other values than some."""

    why: str
    #: The values that are done; empty: none.
    done: tuple[str, ...]
    #: All that the contract knows; empty: any.
    known: tuple[str, ...]

    @classmethod
    def of(cls, member: FieldDescriptor) -> "NotDone | None":
        """What the contract says of a member; None where all of it is done."""
        options = member.GetOptions()
        why = options.Extensions[options_pb2.unsupported]
        done = tuple(options.Extensions[options_pb2.supported])
        known = tuple(options.Extensions[options_pb2.allowed])
        return cls(why or f"use {_one_of(done)}", done, known) if why or done else None

    def refusal(self, value: Any, path: str) -> Unimplemented | None:
        """The refusal of a value; None where it asks for nothing, or for what is done.

        One that the contract does not know is refused elsewhere, or is somebody else's to judge.
        """
        if self.done:
            is_done = value in self.done or (bool(self.known) and value not in self.known)
            said = f" with the value {str(value)[:64]}: {self.why}"
        else:
            is_done, said = not value, f": {self.why}"
        return None if is_done else unsupported(path, said)


def first_refusal(message: Message, path: str = "") -> Unimplemented | None:
    """The refusal of the first member of a message, all the way down, that is not done."""
    for member, value in message.ListFields():
        limits = NotDone.of(member)
        inner = member.message_type
        is_walked = inner is not None and not inner.GetOptions().map_entry
        for entry, name in entries(member, value, path + member.json_name):
            found = limits.refusal(entry, name) if limits else None
            if found is None and is_walked:
                found = first_refusal(entry, f"{name}.")
            if found is not None:
                return found
    return None


def entries(member: FieldDescriptor, value: Any, name: str) -> Iterator[tuple[Any, str]]:
    """The values of a member with their paths."""
    if member.is_repeated:
        for index, entry in enumerate(value):
            yield entry, f"{name}[{index}]"
    else:
        yield value, name


def _one_of(values: tuple[str, ...]) -> str:
    """Words for a choice of values."""
    *others, last = values
    return f"{', '.join(others)} or {last}" if others else last


def refusal_of(method: MethodDescriptor) -> Unimplemented | None:
    """The answer to every call of an rpc that is refused; None for those that are there."""
    why = method.GetOptions().Extensions[options_pb2.refused]
    return Unimplemented(f"{method.name} is not supported: {why}") if why else None


def refuse(servicer: type, service: ServiceDescriptor) -> None:
    """Makes a servicer's class answer the rpcs that are refused."""
    for method in service.methods:
        if (refusal := refusal_of(method)) is not None:
            setattr(servicer, method.name, _refusing(refusal))


def _refusing(refusal: Unimplemented) -> object:
    async def answer(_self: object, _request: object, _context: object) -> None:
        raise Unimplemented(refusal.message)

    return answer
