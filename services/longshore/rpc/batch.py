"""Messages that hold many items, bounded by their bytes."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import islice
from typing import TypeVar

from google.protobuf.message import Message

from longshore.contract import MESSAGE_BYTES
from longshore.domain.errors import LimitExceeded

_Item = TypeVar("_Item", bound=Message)

#: Bytes of items in one message of a stream. Far below what a message may have, and less than what
#: would make others on the connection wait.
BATCH_BYTES = 1024 * 1024
#: How long items of an answer are made before other calls have their turn.
SLICE_SECONDS = 0.01


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


async def paced(
    items: Iterable[_Item], clock: Callable[[], float] = time.perf_counter
) -> AsyncIterator[_Item]:
    """Items as they are made, one after the other, while other calls have their turn.

    Large ones take long to make, and a hundred of them at once would hold up everybody.
    """
    since = clock()
    for item in items:
        yield item
        if clock() - since > SLICE_SECONDS:
            await asyncio.sleep(0)
            since = clock()


async def all_of(items: Iterable[_Item]) -> list[_Item]:
    """Items that are an answer together, paced.

    Raises:
        LimitExceeded: they are more than goes into one message. What is left is not made.
    """
    made: list[_Item] = []
    size = 0
    async for item in paced(items):
        made.append(item)
        size += item.ByteSize()
        check_answer(size)
    return made


async def first_of(items: Iterable[_Item], room: int) -> list[_Item]:
    """As many of the first items as have room, paced; one at least, if there is any."""
    made: list[_Item] = []
    async for item in paced(items):
        room -= item.ByteSize()
        if made and room < 0:
            break
        made.append(item)
    return made


def check_answer(size: int) -> None:
    """Refuses what would not go over the wire, in words that say what to do.

    Raises:
        LimitExceeded: so many bytes, or more, are too many.
    """
    if size > MESSAGE_BYTES:
        raise LimitExceeded(
            f"The answer has more than the {MESSAGE_BYTES} bytes that go into one message. Ask for "
            "fewer at once."
        )
