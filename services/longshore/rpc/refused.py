"""Operations and members that the contract names and longshore does not have."""

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from longshore.domain.checks import unsupported
from longshore.domain.errors import Unimplemented
from longshore.v1 import options_pb2


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


def refuse_members(message: Message, path: str = "") -> None:
    """Refuses a request that has a member, anywhere, that longshore does not do.

    Raises:
        Unimplemented: it does; names the member by its JSON path.
    """
    for member, value in message.ListFields():
        name = path + member.json_name
        if (why := member.GetOptions().Extensions[options_pb2.unsupported]) and value:
            raise unsupported(name, f": {why}")
        inner = member.message_type
        if inner is None or inner.GetOptions().map_entry:
            continue
        if member.is_repeated:
            for index, entry in enumerate(value):
                refuse_members(entry, f"{name}[{index}].")
        else:
            refuse_members(value, f"{name}.")
