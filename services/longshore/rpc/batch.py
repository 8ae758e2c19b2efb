"""Messages of a stream that hold many items, bounded by their bytes."""

from collections.abc import Iterable
from itertools import islice

from google.protobuf.message import Message

#: Bytes of items in one message of a stream. Far below what a message may have, and less than what
#: would make others on the connection wait.
BATCH_BYTES = 1024 * 1024


def fitting(items: Iterable[Message], most: int, room: int = BATCH_BYTES) -> int:
    """How many of the first items go into one message: at most so many, and so many bytes.

    One that is larger than that goes alone.
    """
    number = 0
    for item in islice(items, most):
        room -= item.ByteSize()
        if number and room < 0:
            break
        number += 1
    return number
