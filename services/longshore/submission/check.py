"""What is checked of every request: its size, and what descriptors say of its members."""

from google.protobuf.message import Message

from longshore.domain.checks import check_size
from longshore.domain.limits import LONGSHORE, Limits
from longshore.rpc.members import check_members


def check_request(message: Message, limits: Limits = LONGSHORE) -> None:
    """Checks a request's size, and it against the options on its fields, all the way down.

    `limits` matter to requests whose size is among them.

    Raises:
        LimitExceeded: it has more bytes than its operation takes.
        InvalidRequest: a required member is missing, or a value is not among those allowed; it
            names the member by its JSON path.
        Unimplemented: it asks for what longshore does not do.
    """
    check_size(message.ByteSize(), message.DESCRIPTOR.name.removesuffix("Request"), limits)
    check_members(message)
