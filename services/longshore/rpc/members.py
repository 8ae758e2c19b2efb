"""What the wire's descriptors say of the members of a request.

The options on the fields are compiled once, at import, into a plan per message type: which members
must be there, which have a set of values, which longshore does not do, which lead to messages that
have any of these. A check then walks what is present.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from longshore.domain.errors import InvalidRequest
from longshore.rpc.refused import NotDone, entries
from longshore.v1 import options_pb2

#: Members whose values may have any letter case.
_ANY_CASE = frozenset({"longshore.v1.EvaluateOnExit.action"})


@dataclass(slots=True)
class _Plan:
    """What to look at in a message type."""

    required: list[FieldDescriptor] = field(default_factory=list)
    allowed: dict[str, tuple[frozenset[str], bool]] = field(default_factory=dict)
    refused: dict[str, NotDone] = field(default_factory=dict)
    inner: dict[str, "_Plan"] = field(default_factory=dict)
    #: Names of all that have any of these.
    looked_at: set[str] = field(default_factory=set)

    def says_nothing(self, seen: set[int]) -> bool:
        """Whether nothing is checked here or beneath."""
        if id(self) in seen:
            return True
        seen.add(id(self))
        own = self.required or self.allowed or self.refused
        return not own and all(plan.says_nothing(seen) for plan in self.inner.values())


_plans: dict[str, _Plan] = {}


def _plan(descriptor: Descriptor) -> _Plan:
    if descriptor.full_name in _plans:
        return _plans[descriptor.full_name]
    plan = _plans[descriptor.full_name] = _Plan()
    for member in descriptor.fields:
        options = member.GetOptions()
        if options.Extensions[options_pb2.required] and not member.is_repeated:
            plan.required.append(member)
        if values := list(options.Extensions[options_pb2.allowed]):
            any_case = member.full_name in _ANY_CASE
            plan.allowed[member.name] = frozenset(values), any_case
        if (limits := NotDone.of(member)) is not None:
            plan.refused[member.name] = limits
        if member.message_type and not member.message_type.GetOptions().map_entry:
            inner = _plan(member.message_type)
            if not inner.says_nothing(set()):
                plan.inner[member.name] = inner
    plan.looked_at.update(plan.allowed, plan.refused, plan.inner)
    return plan


def check_members(message: Message) -> None:
    """Checks a request against the options on its fields, all the way down.

    Raises:
        InvalidRequest: a required member is missing, or a value is not among those allowed; it
            names the member by its JSON path.
        Unimplemented: it asks for what longshore does not do.
    """
    descriptor: Descriptor = message.DESCRIPTOR  # type: ignore[assignment] # the same by two names
    _check(message, _plan(descriptor), "")


def _check(message: Message, plan: _Plan, path: str) -> None:
    for member in plan.required:
        if not message.HasField(member.name):
            name = path + member.json_name
            raise InvalidRequest(f"{name} is required.", member=name)
    if not plan.looked_at:
        return
    for member, value in message.ListFields():
        if member.name in plan.looked_at:
            _check_member(member, value, plan, path + member.json_name)


def _check_member(member: FieldDescriptor, value: Any, plan: _Plan, path: str) -> None:
    limits = plan.refused.get(member.name)
    if limits is not None and not limits.done:
        if (refusal := limits.refusal(value, path)) is not None:
            raise refusal
        return
    done = limits.done if limits else ()
    allowed, inner = plan.allowed.get(member.name), plan.inner.get(member.name)
    for entry, name in entries(member, value, path):
        if inner is not None:
            _check(entry, inner, f"{name}.")
        if allowed is not None:
            _check_value(entry, allowed, name, done)
        if limits is not None and (refusal := limits.refusal(entry, name)) is not None:
            raise refusal


def _check_value(
    value: str, allowed: tuple[frozenset[str], bool], path: str, done: Sequence[str]
) -> None:
    values, any_case = allowed
    if (value.upper() if any_case else value) not in values:
        told = ", ".join(sorted(done or values))
        raise InvalidRequest(f"{path} is {value[:64]!r}; it must be one of {told}.", member=path)
