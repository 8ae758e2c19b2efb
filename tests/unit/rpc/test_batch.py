"""How many items go into one message."""

import asyncio
from collections.abc import Iterator

import pytest

from longshore.contract import MESSAGE_BYTES
from longshore.domain.errors import LimitExceeded
from longshore.rpc.batch import all_of, first_of, fitting, paced
from longshore.v1 import agent_service_pb2 as pb


def items(*sizes: int) -> list[pb.AgentDrain]:
    """Messages of so many bytes each."""
    made = [pb.AgentDrain(reason="x" * (size - (2 if size < 130 else 5))) for size in sizes]
    assert [item.ByteSize() for item in made] == list(sizes)
    return made


def test_as_many_as_there_is_room_for() -> None:
    assert fitting(items(40, 40, 40), 10, 100) == 2
    assert fitting(items(50, 50, 50), 10, 100) == 2
    assert fitting(items(40, 40, 40), 1, 100) == 1
    assert fitting(items(), 10, 100) == 0


def test_one_that_is_too_large_goes_alone() -> None:
    assert fitting(items(120, 10), 10, 100) == 1
    assert fitting(items(10, 120), 10, 100) == 1


def made(sizes: list[int], told: list[int]) -> Iterator[pb.AgentDrain]:
    """Messages that tell as they are made."""
    for item in items(*sizes):
        told.append(item.ByteSize())
        yield item


async def test_an_answer_is_made_as_far_as_it_goes_into_one_message() -> None:
    told: list[int] = []
    half = MESSAGE_BYTES // 2
    assert len(await all_of(made([half, half], told))) == 2
    told.clear()
    with pytest.raises(LimitExceeded, match="Ask for fewer at once"):
        await all_of(made([half, half, 40, half, half], told))
    assert told == [half, half, 40]


async def test_a_page_has_what_has_room_and_one_at_least() -> None:
    told: list[int] = []
    assert len(await first_of(made([40, 40, 40, 40], told), 100)) == 2
    assert told == [40, 40, 40]
    assert len(await first_of(made([120, 40], told), 100)) == 1
    assert await first_of(made([], told), 100) == []


async def test_others_have_their_turn_while_an_answer_takes_long_to_make() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ticks = iter(range(1000))
    beside = asyncio.create_task(other())
    seen = [turns async for _ in paced(items(*[40] * 5), lambda: float(next(ticks)))]
    beside.cancel()
    assert seen == [0, 1, 2, 3, 4]
    turns = 0
    assert len([one async for one in paced(items(*[40] * 5), lambda: 0.0)]) == 5
    assert turns == 0
