"""The simulated provider: idempotent orders, pools, prices, notices, all from the seed."""

import uuid
from datetime import timedelta
from typing import Any

import pytest

from longshore.domain.catalogue import Catalogue
from longshore.domain.instance import InstanceRecord, InstanceStatus
from longshore.domain.order import ON_DEMAND, SPOT, CapacityOrder, OrderEntry
from longshore.provisioning.provider import Fulfilment, LaunchError, Provider
from longshore.simulation.clock import EPOCH, Clock
from longshore.simulation.market import PoolRule, SimulatedMarket, SimulatedShortage
from longshore.simulation.provider import Happening, SimulatedProvider

CATALOGUE = Catalogue()
MINUTE = 60_000_000


class Stand:
    """A provider and its clock."""

    def __init__(self, *, seed: int = 1, **market: Any) -> None:
        self.clock = Clock()
        self.provider = SimulatedProvider(SimulatedMarket(**market), seed=seed, now=self.clock.read)
        self.orders = 0

    async def order(
        self, *entries: OrderEntry, target: float = 100, strategy: str = "BEST_FIT"
    ) -> Fulfilment:
        self.orders += 1
        order = CapacityOrder(
            order_id=uuid.UUID(int=self.orders),
            compute_environment="A",
            allocation_strategy=strategy,
            target_vcpus=target,
            entries=entries,
            reason="",
        )
        kinds = {kind.name: kind for kind in CATALOGUE}
        answer = await self.provider.fulfil(order, kinds, {}, 0)
        assert await self.provider.fulfil(order, kinds, {}, 0) == answer
        return answer

    def later(self, minutes: float) -> list[tuple[str, Happening]]:
        self.clock.set(self.clock.us + round(minutes * MINUTE))
        return [(event.instance_id, event.happening) for event in self.provider.take_due()]


def an_entry(name: str = "c6i.large", count: int = 2, **members: Any) -> OrderEntry:
    return OrderEntry(
        instance_type=name, weight=2, max_count=count, price_per_hour=0.085, **members
    )


async def test_an_instance_boots_and_ends_in_virtual_time() -> None:
    stand = Stand(boot=timedelta(minutes=1), shutdown=timedelta(minutes=2))
    answer = await stand.order(an_entry(count=1))
    (got,) = answer.instances
    assert (got.zone, got.entry.price_per_hour) == ("zone-a", 0.085)
    assert stand.provider.next_at() == EPOCH + timedelta(minutes=1)
    assert stand.later(0.5) == []
    assert stand.later(0.5) == [(got.instance_id, Happening.BOOTED)]
    await stand.provider.terminate([got.instance_id, "i-unknown"], force=False)
    await stand.provider.terminate([got.instance_id], force=False)
    assert len(await stand.provider.describe()) == 1
    assert stand.later(2) == [(got.instance_id, Happening.ENDED)]
    assert await stand.provider.describe() == []
    assert stand.provider.next_at() is None


async def test_what_is_ended_at_once_never_boots() -> None:
    stand = Stand()
    answer = await stand.order(an_entry(count=1))
    await stand.provider.terminate([answer.instances[0].instance_id], force=True)
    assert stand.later(5) == [(answer.instances[0].instance_id, Happening.ENDED)]


async def test_a_pool_gives_what_it_has_and_again_when_something_came_back() -> None:
    stand = Stand(pools=(PoolRule(instance_types=frozenset({"c6i.large"}), size=3),))
    answer = await stand.order(an_entry(count=5), an_entry("m6i.large", 1, rank=1))
    kinds = [got.entry.instance_type for got in answer.instances]
    assert kinds == ["c6i.large"] * 3 + ["m6i.large"]
    (error,) = answer.errors
    assert (error.reason, error.instance_type) == ("INSUFFICIENT_INSTANCE_CAPACITY", "c6i.large")
    await stand.provider.terminate([answer.instances[0].instance_id], force=False)
    stand.later(0)
    assert len((await stand.order(an_entry(count=5))).instances) == 1


async def test_an_order_stops_at_its_target() -> None:
    assert len((await Stand().order(an_entry(count=9), target=5)).instances) == 3


async def test_a_shortage_begins_and_ends() -> None:
    stand = Stand(
        shortages=(
            SimulatedShortage(
                rule=PoolRule(purchase_option=ON_DEMAND),
                begins_at=EPOCH + timedelta(minutes=1),
                ends_at=EPOCH + timedelta(minutes=2),
            ),
        )
    )
    counts = []
    for _ in range(3):
        counts.append(len((await stand.order(an_entry(count=1))).instances))
        stand.later(1)
    assert counts == [1, 0, 1]


async def test_zones_are_pools_of_their_own() -> None:
    stand = Stand(zones=("a", "b"), pools=(PoolRule(zone="a", size=1),))
    answer = await stand.order(an_entry(count=3))
    assert [got.zone for got in answer.instances] == ["a", "b", "b"]
    answer = await stand.order(an_entry(count=1, zone="a"))
    assert [error.zone for error in answer.errors] == ["a"]


async def test_spot_prices_move_stay_below_the_on_demand_price_and_follow_from_the_seed() -> None:
    def stand(seed: int) -> Stand:
        return Stand(seed=seed, zones=("a", "b"), spot_volatility=0.2)

    kind = CATALOGUE.get("c6i.large")
    assert kind is not None

    async def prices(stand: Stand) -> list[tuple[float, ...]]:
        found = []
        for _ in range(200):
            quotes = await stand.provider.quote([kind])
            assert {quote.purchase_option for quote in quotes} == {SPOT}
            found.append(tuple(quote.price_per_hour for quote in quotes))
            stand.later(5)
        return found

    first = await prices(stand(1))
    assert first == await prices(stand(1)) != await prices(stand(2))
    assert len(set(first)) > 100
    assert all(0 < price <= kind.price_per_hour for both in first for price in both)
    mean = sum(price for both in first for price in both) / 400
    assert mean == pytest.approx(0.35 * kind.price_per_hour, rel=0.4)


async def test_a_bid_below_the_price_gets_nothing() -> None:
    bid = an_entry(purchase_option=SPOT, max_price_per_hour=0.01)
    answer = await Stand().order(bid)
    assert not answer.instances
    assert [error.reason for error in answer.errors] == ["PRICE_TOO_LOW"]


@pytest.mark.parametrize(
    ("strategy", "chosen"),
    [
        ("SPOT_CAPACITY_OPTIMIZED", "m6i.large"),
        ("SPOT_CAPACITY_OPTIMIZED_PRIORITIZED", "r6i.large"),
        ("SPOT_PRICE_CAPACITY_OPTIMIZED", "m6i.large"),
        ("BEST_FIT_PROGRESSIVE", "c6i.large"),
    ],
)
async def test_of_entries_of_equal_rank_the_provider_takes_what_the_strategy_prefers(
    strategy: str, chosen: str
) -> None:
    depths = {"c6i.large": 0.2, "m6i.large": 0.92, "r6i.large": 0.88}
    stand = Stand(
        spot_volatility=0.0,
        pools=tuple(
            PoolRule(instance_types=frozenset({name}), depth=depth)
            for name, depth in depths.items()
        ),
    )
    names = ("c6i.large", "r6i.large", "m6i.large")
    entries = [an_entry(name, 1, purchase_option=SPOT) for name in names]
    answer = await stand.order(*entries, target=2, strategy=strategy)
    assert [got.entry.instance_type for got in answer.instances] == [chosen]


async def test_a_spot_instance_gets_notice_two_minutes_before_it_goes() -> None:
    stand = Stand(pools=(PoolRule(purchase_option=SPOT, interruptions_per_hour=3600.0),))
    answer = await stand.order(
        an_entry(count=1, purchase_option=SPOT), an_entry("m6i.large", 1, rank=1)
    )
    spot, fixed = (got.instance_id for got in answer.instances)
    seen = dict.fromkeys(stand.later(1.9))
    assert (spot, Happening.NOTICE) in seen
    assert (spot, Happening.RECLAIMED) not in seen
    assert (spot, Happening.RECLAIMED) in stand.later(1)
    assert [found.instance_id for found in await stand.provider.describe()] == [fixed]


async def test_an_interruption_can_be_played() -> None:
    stand = Stand()
    (got,) = (await stand.order(an_entry(count=1))).instances
    stand.provider.interrupt(got.instance_id)
    assert stand.later(0) == [(got.instance_id, Happening.NOTICE)]
    assert (got.instance_id, Happening.RECLAIMED) in stand.later(2)


async def test_some_instances_never_boot() -> None:
    stand = Stand(boot_failures=0.5)
    await stand.order(an_entry(count=200), target=1000)
    assert 60 < len(stand.later(5)) < 140


async def test_it_is_a_provider_like_every_other() -> None:
    stand = Stand()
    provider: Provider = stand.provider
    (got,) = (await stand.order(an_entry(count=1))).instances
    record = InstanceRecord(
        instance_id=got.instance_id,
        compute_environment="A",
        instance_type="c6i.large",
        vcpus=2,
        memory_mib=4096,
        gpus=0,
        status=InstanceStatus.ORDERED,
        agent=None,
        live_attempts=0,
    )
    assert (await provider.launch(record)).instance_id == got.instance_id
    await provider.terminate([got.instance_id], force=True)
    stand.later(0)
    with pytest.raises(LaunchError):
        await provider.launch(record)
    await provider.clean(got.instance_id)
    assert await provider.remains() == []
