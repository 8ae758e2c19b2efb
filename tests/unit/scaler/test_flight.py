"""Orders that are answered after the pass that placed them."""

import asyncio
import uuid
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from longshore.domain.errors import Unavailable
from longshore.domain.order import CapacityOrder
from longshore.domain.scaling.decision import Decision
from longshore.scaler.applying import Applying, Troubles
from longshore.scaler.flight import Flights, Landed
from longshore.scaler.ordering import Ordering, OrderResult
from longshore.state.scaler import scaling

DECISION = cast("Decision", None)


class Slow:
    """Answers orders when told to."""

    def __init__(self, answer: OrderResult | Exception) -> None:
        self.answer = answer
        self.answered = asyncio.Event()

    async def place(self, _: CapacityOrder, __: Decision, ___: int | None) -> OrderResult:
        """What an order got."""
        await self.answered.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Storing:
    """A lease whose transactions fail a few times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def transaction(self) -> "Storing":
        """One that may fail."""
        return self

    async def __aenter__(self) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")

    async def __aexit__(self, *_: object) -> None:
        pass


async def _landed(answer: OrderResult | Exception, *names: str) -> Flights:
    """Flights with an answered order for each of some environments."""
    slow = Slow(answer)
    told = asyncio.Event()
    flights = Flights(cast("Ordering", slow), 0.0, told.set)
    for name in names:
        order = CapacityOrder(
            order_id=uuid.uuid4(),
            compute_environment=name,
            generation=1,
            allocation_strategy="BEST_FIT",
            target_vcpus=1,
            entries=(),
            reason="a test",
        )
        assert await flights.place(order, DECISION, 1) is None
    slow.answered.set()
    await told.wait()
    await asyncio.sleep(0)
    return flights


async def test_what_a_late_order_got_is_kept_until_it_is_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pass that fails leaves it, and all behind it, to the next one."""
    stored: list[str] = []

    async def add_late(_: object, name: str, *__: Any, **___: Any) -> None:
        stored.append(name)

    monkeypatch.setattr(scaling, "add_late", add_late)
    flights = await _landed(OrderResult(ordered=1, vcpus=1), "a", "b")
    lease = cast("Any", Storing(failures=1))
    writer = Applying(lease, cast("Ordering", None), flights, Troubles())
    with pytest.raises(Unavailable):
        await writer.take_landed()
    assert (stored, flights.any_landed) == ([], True)
    assert flights.environments == {"a", "b"}
    await writer.take_landed()
    assert (stored, flights.any_landed) == (["a", "b"], False)
    assert flights.environments == frozenset()
    await writer.take_landed()
    assert stored == ["a", "b"]


async def test_an_order_that_fails_unforeseen_costs_no_other() -> None:
    flights = await _landed(KeyError("instance_type"), "a", "b")
    with capture_logs() as logs:
        landed = flights.landed()
    assert [type(one.outcome) for one in landed] == [Unavailable, Unavailable]
    assert [entry["event"] for entry in logs] == ["order.failed"] * 2
    _settle(flights, landed)
    assert not flights.any_landed


def _settle(flights: Flights, landed: list[Landed]) -> None:
    for one in landed:
        flights.settle(one)
