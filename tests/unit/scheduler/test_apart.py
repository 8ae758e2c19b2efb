"""Bad items are found in bounded work, and passed over for pauses that double."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.errors import StaleLease, Unavailable
from longshore.scheduler import apart as apart_module
from longshore.scheduler import apart as module
from longshore.scheduler.apart import Apart, Aside, apart


class Connection:
    """As much of one as savepoints need."""

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield


async def tried(
    items: Sequence[int], bad: set[int], error: type[Exception] = ValueError
) -> tuple[Apart[int], list[int], int]:
    """What came of it, what was applied, and the number of items in all tries."""
    applied: list[int] = []
    work = 0

    async def apply(part: Sequence[int]) -> None:
        nonlocal work
        work += len(part)
        applied.extend(part)
        if bad & set(part):
            raise error("bad")

    def save(_: Sequence[int]) -> Callable[[], None]:
        length = len(applied)
        return lambda: applied.__delitem__(slice(length, None))

    connection: Any = Connection()
    return await apart(connection, items, apply, save), applied, work


@given(st.integers(0, 300), st.sets(st.integers(0, 299)))
async def test_every_item_is_applied_or_fails_or_is_left_in_its_order(
    number: int, bad: set[int]
) -> None:
    result, applied, work = await tried(range(number), bad)
    failed = [item for item, _ in result.failed]
    assert sorted(applied) == applied
    assert sorted(failed) == failed
    assert set(failed) <= bad
    assert not bad & set(applied)
    assert sorted([*applied, *failed]) + result.left == list(range(number))
    assert work <= 10 * number + module.TRIES


async def test_one_bad_item_costs_a_few_tries() -> None:
    result, applied, _ = await tried(range(1_000), {617})
    assert [item for item, _ in result.failed] == [617]
    assert len(applied) == 999
    assert not result.left


async def test_where_all_are_bad_some_are_found_and_the_rest_is_left() -> None:
    result, applied, work = await tried(range(1_000), set(range(1_000)))
    assert not applied
    assert len(result.failed) > 10
    assert work < 3_000


@pytest.mark.parametrize("error", [Unavailable, StaleLease])
async def test_what_is_nobodys_fault_ends_it_all(error: type[Exception]) -> None:
    with pytest.raises(error):
        await tried(range(10), {3}, error)


def test_what_fails_is_passed_over_for_pauses_that_double() -> None:
    now = 0.0
    aside = Aside(lambda: now)
    for pause in (2, 4, 8, 16):
        aside.add("job", 7, ValueError())
        assert aside.paused("job") == {7}
        assert aside.paused("request") == set()
        now += pause - 0.1
        assert aside.paused("job") == {7}
        assert not aside.due("job")
        now += 0.2
        assert aside.paused("job") == set()
        assert aside.due("job") == [7]
    now += module.PAUSE_MOST_SECONDS
    aside.paused("job")
    assert not aside.keys("job")


def test_what_is_passed_over_is_bounded() -> None:
    aside = Aside(lambda: 0.0)
    for key in range(module.PAUSED_MOST + 5):
        aside.add("job", key, ValueError())
    assert aside.paused("job") == set(range(5, module.PAUSED_MOST + 5))


def test_what_fails_for_weeks_is_set_aside_as_ever() -> None:
    aside = apart_module.Aside(lambda: 0.0)
    for _ in range(1_100):
        aside.add("job", "one", ValueError("refused"))
    assert aside.paused("job") == {"one"}
