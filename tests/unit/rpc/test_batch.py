"""How many items go into one message."""

from longshore.rpc.batch import fitting
from longshore.v1 import agent_service_pb2 as pb


def items(*sizes: int) -> list[pb.AgentDrain]:
    """Messages of so many bytes each."""
    made = [pb.AgentDrain(reason="x" * (size - 2)) for size in sizes]
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
