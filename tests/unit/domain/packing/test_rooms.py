"""Room on instances: what many jobs alike find at a time is what they would find one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.packing.rooms import Rooms
from longshore.domain.resources import Resources

amounts = st.builds(
    Resources, st.integers(0, 16).map(lambda n: n * 500), st.integers(0, 4000), st.integers(0, 2)
)
needs = st.builds(Resources, st.integers(1, 8).map(lambda n: n * 250), st.integers(1, 2000))


@given(st.lists(amounts, max_size=6), st.lists(st.tuples(needs, st.integers(0, 30)), max_size=5))
def test_jobs_take_room_in_order(free: list[Resources], jobs: list[tuple[Resources, int]]) -> None:
    """Each goes to the first room that it fits in."""
    rooms, left, used = Rooms.of(free), list(free), set()
    for need, count in jobs:
        taken = rooms.take(need, count)
        placed = 0
        for _ in range(count):
            number = next((n for n, room in enumerate(left) if room.holds(need)), None)
            if number is None:
                break
            left[number] = left[number] - need
            used.add(number)
            placed += 1
        assert taken == placed
    assert rooms.free.T.tolist() == [[r.vcpu_milli, r.memory_mib, r.gpus] for r in left]
    assert set(np.flatnonzero(rooms.used).tolist()) == used


@given(st.integers(1, 9), st.lists(st.tuples(needs, st.integers(0, 60)), max_size=5))
def test_instances_alike_are_one_room(count: int, jobs: list[tuple[Resources, int]]) -> None:
    """It splits as they are filled."""
    size = Resources(4000, 4000, 1)
    together, apart = Rooms.empty(), Rooms.of([size] * count)
    together.add([(4000, 4000, 1)], [count])
    first, *others = jobs or [(Resources(1000, 1000), 3)]
    assert together.take(*first) == apart.take(*first)
    for need, number in others:  # the order of what was split may differ, so not the number
        assert (together.take(need, number) > 0) == (apart.take(need, number) > 0)


def test_a_try_leaves_the_rooms_as_they_are() -> None:
    rooms = Rooms.of([Resources(2000, 2000), Resources(4000, 4000)])
    twin = rooms.copy()
    assert twin.take(Resources(1000, 500), 4) == 4
    assert rooms.take(Resources(2000, 2000), 9) == 3


def test_rooms_without_some() -> None:
    """The tags of the others stay."""
    rooms = Rooms.of([Resources(2000, 2000), Resources(4000, 4000)])
    rest = rooms.without(np.array([True, False]))
    assert rest.take(Resources(1000, 500), 9) == 4
    assert rest.used.tolist() == [False, True]


def test_nodes_take_rooms_whole() -> None:
    rooms = Rooms.of([Resources(4000, 4000)] * 3)
    rooms.take_whole(np.array([0, 2]))
    assert rooms.used.tolist() == [True, False, True]
    assert rooms.take(Resources(1000, 1000), 9) == 4
