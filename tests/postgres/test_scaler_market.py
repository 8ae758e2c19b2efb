"""The scaler against a provider that is short of things, away, or has a market."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from capacity_world import CATALOGUE, World, a_world
from structlog.testing import capture_logs
from support.patience import PATIENCE_SECONDS

from longshore.domain.catalogue import InstanceType
from longshore.domain.errors import InvalidRequest, Unavailable
from longshore.domain.order import (
    INSTANCE_LIMIT,
    INSUFFICIENT_INSTANCE_CAPACITY,
    CapacityError,
    CapacityOrder,
    Ordered,
    OrderEntry,
    allot,
    instance_ids,
)
from longshore.domain.scaling.decision import ScalingSettings
from longshore.provisioning import servicer
from longshore.provisioning.local.provider import LocalProvider
from longshore.provisioning.orders.fulfilling import ORDERS_AT_ONCE
from longshore.provisioning.provider import Fulfilment
from longshore.runtime.loop import Loop
from longshore.scaler import applying, service
from longshore.scaler.alarm import Alarm
from longshore.scaler.applying import NOTHING_YET
from longshore.scaler.ordering import Ordering
from longshore.scaler.service import Scaler

SETTINGS = ScalingSettings(idle=timedelta(seconds=5), boot=timedelta(seconds=60))
PROGRESSIVE = "BEST_FIT_PROGRESSIVE"


class Market:
    """A provider's side: what it is short of, and for whom it is away."""

    def __init__(self) -> None:
        self.short: dict[str, str] = {}
        self.away: set[str] = set()
        #: Instances that an order gets at most.
        self.room: int | None = None
        self.orders: list[CapacityOrder] = []
        self._asked = asyncio.Event()

    async def fulfil(
        self, order: CapacityOrder, kinds: Mapping[str, InstanceType], resources: Any, live: int
    ) -> Fulfilment:
        """Takes what it is not short of."""
        del kinds, resources, live
        self.orders.append(order)
        self._asked.set()
        if order.compute_environment in self.away:
            raise Unavailable("The provider is away.")
        taken, errors = allot(order, self._refuse)
        ids = instance_ids(order.order_id, len(taken))
        got = [Ordered(instance_id=i, entry=e) for i, e in zip(ids, taken, strict=True)]
        return Fulfilment(tuple(got), tuple(errors))

    def _refuse(self, entry: OrderEntry, count: int) -> CapacityError | None:
        reason = self.short.get(entry.instance_type)
        if self.room is not None and count >= self.room:
            reason = INSUFFICIENT_INSTANCE_CAPACITY
        if reason is None:
            return None
        text = f"None of {entry.instance_type} is left."
        return CapacityError(entry.instance_type, entry.zone, entry.purchase_option, reason, text)

    async def until(self, holds: Callable[[], Awaitable[object]]) -> None:
        """Waits until something holds, looking whenever an order was seen, and now and then."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await holds():
                self._asked.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._asked.wait(), 0.1)


@pytest.fixture
async def world(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    # As of a cloud, orders of several environments are answered side by side.
    monkeypatch.setattr(LocalProvider, "revives", False)
    async with a_world(database_url, tmp_path / "instances", settings=SETTINGS) as made:
        yield made


@pytest.fixture
def market(world: World, monkeypatch: pytest.MonkeyPatch) -> Market:
    made = Market()
    monkeypatch.setattr(world.provider, "fulfil", made.fulfil)
    return made


@contextlib.asynccontextmanager
async def looping(world: World, *, cool_down: float) -> AsyncIterator[Scaler]:
    """A scaler that nothing wakes but itself."""
    alarm = Alarm()
    scaler = Scaler(
        world.pool,
        Ordering(world.provisioning),
        CATALOGUE,
        SETTINGS,
        cool_down=timedelta(seconds=cool_down),
        patience=0.3,
        wake_at=alarm.set,
    )
    loop = Loop("scaler", scaler.evaluate, 3600)
    alarm.rings(loop.wake)
    async with asyncio.TaskGroup() as group:
        group.create_task(loop.run())
        try:
            yield scaler
        finally:
            alarm.stop()
            loop.stop()
            await scaler.close()


async def types(world: World) -> list[str]:
    """Types of all instances on record, in order of their names."""
    rows = await world.db.fetch("SELECT instance_type FROM instances ORDER BY 1")
    return [row["instance_type"] for row in rows]


async def test_another_type_is_tried_at_once(world: World, market: Market) -> None:
    """The provider is short of the first choice: the same pass takes the second one."""
    await world.environment(types=["c6i.large", "m6i.large"], strategy=PROGRESSIVE)
    await world.queue(on=["default"])
    await world.demand(2)
    market.short["c6i.large"] = INSUFFICIENT_INSTANCE_CAPACITY
    await world.scaler.evaluate()
    assert await types(world) == ["m6i.large"]
    assert await world.desired() == 2
    reasons = [r["reason"] for r in await world.db.fetch("SELECT reason FROM scaling_activities")]
    assert any("None of c6i.large is left." in reason for reason in reasons)


async def test_the_next_environment_is_tried_at_once(world: World, market: Market) -> None:
    """An environment whose types the provider is short of spills over in the same pass."""
    await world.environment("a", types=["c6i.large"], strategy=PROGRESSIVE)
    await world.environment("b", types=["m6i.large"], strategy=PROGRESSIVE)
    await world.queue(on=["a", "b"])
    await world.demand(2)
    market.short["c6i.large"] = INSUFFICIENT_INSTANCE_CAPACITY
    await world.scaler.evaluate()
    assert await types(world) == ["m6i.large"]
    assert (await world.desired("a"), await world.desired("b")) == (0, 2)


async def test_a_shortage_is_the_providers_not_the_environments(
    world: World, market: Market
) -> None:
    """What one environment could not get, another one does not ask for."""
    await world.environment("a", types=["c6i.large"], strategy=PROGRESSIVE)
    await world.environment("b", types=["c6i.large", "m6i.large"], strategy=PROGRESSIVE)
    await world.queue("a", on=["a"])
    await world.demand(1, queue="a")
    market.short["c6i.large"] = INSUFFICIENT_INSTANCE_CAPACITY
    await world.scaler.evaluate()
    asked = len(market.orders)
    await world.queue("b", on=["b"])
    await world.demand(1, queue="b")
    await world.scaler.evaluate()
    assert [e.instance_type for o in market.orders[asked:] for e in o.entries] == ["m6i.large"]


async def test_the_end_of_a_cool_down_wakes(world: World, market: Market) -> None:
    """BEST_FIT waits for its type; nobody but the scaler itself says when to ask again."""
    await world.environment(types=["c6i.large", "m6i.large"])
    await world.queue(on=["default"])
    await world.demand(1)
    market.short["c6i.large"] = INSUFFICIENT_INSTANCE_CAPACITY

    async def got() -> list[str]:
        return await types(world)

    async def asked() -> bool:
        return bool(await world.db.fetchval("SELECT count(*) FROM scaling_activities"))

    async with looping(world, cool_down=0.5):
        await market.until(asked)
        market.short.clear()
        await market.until(got)
    assert await types(world) == ["c6i.large"]


async def test_a_full_provider_is_asked_again_when_an_instance_ends(
    world: World, market: Market
) -> None:
    """Its own bound does not last for the cool-down."""
    await world.environment()
    await world.queue(on=["default"])
    await world.demand(2)
    await world.scaler.evaluate()
    market.short["local.quarter"] = INSTANCE_LIMIT
    await world.demand(4)
    await world.scaler.evaluate()
    asked = len(market.orders)
    await world.scaler.evaluate()
    assert len(market.orders) == asked
    await world.db.execute("UPDATE instances SET status = 'TERMINATED', ended_at = now()")
    market.short.clear()
    await world.scaler.evaluate()
    assert await types(world) == ["local.quarter"] * 3


async def test_one_environments_trouble_is_not_the_others(world: World, market: Market) -> None:
    """While the provider does not answer one, the others are served; it is when it answers."""
    for name in ("a", "b", "c"):
        await world.environment(name, minv_cpus=2)
    market.away.add("b")
    async with looping(world, cool_down=60) as scaler:
        await market.until(lambda: reached(world, 2, 0, 2))
        await world.db.execute("UPDATE compute_environments SET minv_cpus = 4")
        await scaler.evaluate()
        await market.until(lambda: reached(world, 4, 0, 4))
        assert (
            await world.db.fetchval(
                "SELECT count(*) FROM capacity_orders WHERE compute_environment = 'b'"
            )
            == 1
        )
        market.away.clear()
        await market.until(lambda: reached(world, 4, 4, 4))
    assert await world.db.fetchval("SELECT count(*) FROM instances") == 6
    history = await world.db.fetch(
        "SELECT ordered, desiredv_cpus, order_id FROM scaling_activities"
        " WHERE compute_environment = 'b' ORDER BY activity_id"
    )
    assert [(row["ordered"], row["desiredv_cpus"]) for row in history] == [(1, 2), (1, 4)]
    assert None not in {row["order_id"] for row in history}


async def test_many_environments_at_one_time_are_each_answered_once(
    world: World, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the provider is asked for at one time; passes go by meanwhile."""
    names = [f"e{number:02}" for number in range(2 * ORDERS_AT_ONCE)]
    for name in names:
        await world.environment(name, minv_cpus=2)
    answer, real = asyncio.Event(), market.fulfil

    async def slow(*order: Any) -> Fulfilment:
        await answer.wait()
        return await real(*order)

    monkeypatch.setattr(world.provider, "fulfil", slow)
    async with looping(world, cool_down=60) as scaler:
        for _ in range(2):
            await scaler.evaluate()
        answer.set()

        async def settled() -> bool:
            return [await world.desired(name) for name in names] == [2] * len(names)

        await market.until(settled)
    assert len(market.orders) == len(names)
    assert await world.db.fetchval("SELECT count(*) FROM capacity_orders") == len(names)


async def test_a_raise_outlives_an_order_that_is_not_answered(world: World, market: Market) -> None:
    """What a client asked for is had as soon as the provider answers, once."""
    await world.environment("a", desiredv_cpus=4)
    market.away.add("a")
    async with looping(world, cool_down=60) as scaler:
        await market.until(lambda: asyncio.sleep(0, market.orders))
        await scaler.evaluate()
        assert await world.desired("a") == 4
        market.away.clear()

        async def settled() -> bool:
            return await world.db.fetchval("SELECT max(desiredv_cpus) FROM scaling_activities") == 4

        await market.until(settled)
        await scaler.evaluate()
    assert await types(world) == ["local.quarter"] * 2
    assert await world.desired("a") == 4


async def test_a_raise_outlives_a_short_provider(world: World, market: Market) -> None:
    """It is had in part, shown whole, and had whole when the cool-down is over; then it is over."""
    await world.environment(types=["c6i.large"], desiredv_cpus=4)
    market.room = 1
    scaler = Scaler(
        world.pool,
        Ordering(world.provisioning),
        CATALOGUE,
        SETTINGS,
        cool_down=timedelta(days=1),
        patience=PATIENCE_SECONDS,
    )
    for _ in range(2):
        await scaler.evaluate()
        assert await world.desired() == 4
        assert await types(world) == ["c6i.large"]
    (first,) = await world.instances()
    await world.register(first, idle=100)
    market.room = None
    await scaler.evaluate()
    assert await world.instances() == {first: "ORDERED"}
    await world.db.execute("UPDATE capacity_orders SET closed_at = closed_at - interval '2 days'")
    await scaler.evaluate()
    assert await types(world) == ["c6i.large"] * 2
    assert await world.desired() == 4
    for instance_id in await world.instances():
        await world.register(instance_id, idle=100)
    await scaler.evaluate()
    await scaler.evaluate()
    assert set((await world.instances()).values()) == {"TERMINATING"}
    assert await world.desired() == 0


async def test_a_raise_waits_for_what_is_on_its_way_out(world: World, market: Market) -> None:
    """Instances that drain count towards maxvCpus until they are gone."""
    await world.environment(types=["c6i.large"], minv_cpus=2, maxv_cpus=4)
    await world.scaler.evaluate()
    (leaving,) = await world.instances()
    await world.db.execute("UPDATE instances SET status = 'TERMINATING'")
    await world.db.execute("UPDATE compute_environments SET desiredv_cpus = 4")
    for _ in range(2):
        await world.scaler.evaluate()
        assert await world.desired() == 4
        assert len(await world.instances()) == 2
    await world.db.execute(
        "UPDATE instances SET status = 'TERMINATED', ended_at = now() WHERE instance_id = $1",
        leaving,
    )
    await world.scaler.evaluate()
    assert await world.desired() == 4
    assert len(await world.instances()) == 3
    assert len(market.orders) == 3


@pytest.mark.parametrize("change", ["state = 'DISABLED'", "maxv_cpus = 2"])
async def test_a_raise_ends_where_nothing_more_may_be_had(
    world: World, market: Market, change: str
) -> None:
    """Although the provider is short."""
    await world.environment(types=["c6i.large"], desiredv_cpus=4)
    market.room = 1
    await world.scaler.evaluate()
    assert await world.desired() == 4
    await world.db.execute(f"UPDATE compute_environments SET {change}")  # noqa: S608 - of this test
    await world.scaler.evaluate()
    assert await world.desired() == 2


async def test_a_raise_that_no_instance_fits_ends(world: World, market: Market) -> None:
    """On-demand BEST_FIT does not pass maxvCpus: what there is room for is all there will be."""
    await world.environment(types=["c6i.large"], desiredv_cpus=5, maxv_cpus=5)
    await world.scaler.evaluate()
    assert len(market.orders) == 1
    assert await world.desired() == 4


async def reached(world: World, *desired: int) -> bool:
    """Whether environments a, b and c have come to these desiredvCpus."""
    return tuple([await world.desired(name) for name in "abc"]) == desired


async def test_history_does_not_claim_what_was_not_had(
    world: World, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order without an answer so far, and then given up."""
    await world.environment(types=["local.half", "local.quarter"], strategy=PROGRESSIVE)
    await world.queue(on=["default"])
    await world.demand(1)
    await world.scaler.evaluate()
    (idle,) = await world.instances()
    await world.register(idle, idle=100)
    await world.demand(0)
    await world.demand(1, vcpus=4)
    market.away.add("default")
    monkeypatch.setattr(servicer, "ANSWER_SECONDS", 0.5)
    scaler = Scaler(world.pool, Ordering(world.provisioning), CATALOGUE, SETTINGS, patience=0.1)
    await scaler.evaluate()
    query = "SELECT ordered, terminated, reason FROM scaling_activities ORDER BY activity_id"
    _, latest = await world.db.fetch(query)
    assert (latest["ordered"], latest["terminated"]) == (0, 1)
    assert "ordering 1 x local.half" in latest["reason"]
    assert latest["reason"].endswith(NOTHING_YET)
    await world.demand(0, vcpus=4)
    await market.until(lambda: asyncio.sleep(0, scaler._flights.any_landed))
    await scaler.evaluate()
    assert len(await world.db.fetch(query)) == 2
    await scaler.close()


async def test_an_order_that_is_refused_leaves_its_environment_alone(
    world: World, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a while that grows; the others are served at once."""
    monkeypatch.setattr(applying, "BACKOFF_FIRST_SECONDS", 3600)
    monkeypatch.setattr(applying, "BACKOFF_LAST_SECONDS", 3600)
    await world.environment("a", minv_cpus=2)
    await world.environment("b", minv_cpus=2)
    real = market.fulfil

    async def refuse(order: CapacityOrder, *rest: Any) -> Fulfilment:
        if order.compute_environment == "a":
            raise InvalidRequest("No.")
        return await real(order, *rest)

    monkeypatch.setattr(world.provider, "fulfil", refuse)
    with capture_logs() as logs:
        await world.scaler.evaluate()
        await world.scaler.evaluate()
    assert (await world.desired("a"), await world.desired("b")) == (0, 2)
    unanswered = [entry for entry in logs if entry["event"] == "order.unanswered"]
    assert [entry["compute_environment"] for entry in unanswered] == ["a"]


async def test_a_slow_pass_keeps_its_lease(
    world: World, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as it waits for an order."""
    monkeypatch.setattr(service, "RENEW_SECONDS", 0.05)
    await world.environment(minv_cpus=2)
    answer, real = asyncio.Event(), market.fulfil

    async def slow(*order: Any) -> Fulfilment:
        await answer.wait()
        return await real(*order)

    async def expiry() -> datetime | None:
        expires_at: datetime | None = await world.db.fetchval(
            "SELECT expires_at FROM leases WHERE domain = 'scaler'"
        )
        return expires_at

    monkeypatch.setattr(world.provider, "fulfil", slow)
    passing = asyncio.create_task(world.scaler.evaluate())
    seen = set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(seen) < 4:
            seen.add(await expiry())
    answer.set()
    await passing
    assert await world.desired() == 2


async def test_quotes_decide_about_zones_and_prices(world: World, market: Market) -> None:
    """Pools dearer than the bid are left out; the bid is the most that is paid."""
    on_demand = CATALOGUE.get("c6i.large").price_per_hour
    for zone, share in (("z1", 0.5), ("z2", 0.3), ("z3", 0.9)):
        await world.db.execute(
            "INSERT INTO offers (provider, instance_type, zone, purchase_option, price_per_hour,"
            " depth) VALUES ('local', 'c6i.large', $1, 'SPOT', $2, 0.5)",
            zone,
            on_demand * share,
        )
    await world.environment(
        types=["c6i.large"],
        strategy="SPOT_PRICE_CAPACITY_OPTIMIZED",
        resource_type="SPOT",
        resources={"bidPercentage": 60},
    )
    await world.queue(on=["default"])
    await world.demand(2)
    await world.scaler.evaluate()
    (order,) = market.orders
    assert {entry.zone for entry in order.entries} <= {"z1", "z2"}
    assert order.entries[0].zone == "z2"
    assert {entry.purchase_option for entry in order.entries} == {"SPOT"}
    assert all(e.max_price_per_hour == pytest.approx(on_demand * 0.6) for e in order.entries)


async def test_prices_above_the_bid_are_waited_for(world: World, market: Market) -> None:
    """No pool is cheap enough: nothing is ordered, and the environment stays VALID."""
    await world.db.execute(
        "INSERT INTO offers (provider, instance_type, zone, purchase_option, price_per_hour)"
        " VALUES ('local', 'c6i.large', 'z', 'SPOT', 5)"
    )
    await world.environment(
        types=["c6i.large"], strategy="SPOT_CAPACITY_OPTIMIZED", resource_type="SPOT"
    )
    await world.queue(on=["default"])
    await world.demand(2)
    (decision,) = await world.scaler.evaluate()
    assert (market.orders, decision.status) == ([], "VALID")


async def test_an_environment_becomes_valid_or_says_why_not(world: World) -> None:
    """CREATING and UPDATING end with the first look."""
    await world.environment("a", status="CREATING")
    await world.environment("b", status="UPDATING", generation=2)
    await world.environment("c", status="CREATING", types=["nothing.known"])
    await world.environment("d", status="CREATING", resource_type="FARGATE", types=[])
    await world.scaler.evaluate()
    rows = await world.db.fetch(
        "SELECT name, status, status_reason FROM compute_environments ORDER BY name"
    )
    found = {row["name"]: (row["status"], row["status_reason"]) for row in rows}
    healthy = ("VALID", "ComputeEnvironment Healthy")
    assert (found["a"], found["b"], found["d"]) == (healthy, healthy, healthy)
    assert found["c"][0] == "INVALID"
    assert found["c"][1].startswith("CLIENT_ERROR - ")


async def test_an_infrastructure_update_replaces_instances(world: World, market: Market) -> None:
    """New ones beside the old: idle old ones go, busy ones end when their jobs' time is over."""
    await world.environment(minv_cpus=4, strategy=PROGRESSIVE)
    await world.scaler.evaluate()
    busy, idle = await world.instances()
    for instance_id in (busy, idle):
        await world.register(instance_id)
    await world.attempt(busy)
    updated_at = datetime.now(UTC)
    await world.db.execute(
        "UPDATE compute_environments SET status = 'UPDATING', generation = 2,"
        " infrastructure_updated_at = $1",
        updated_at,
    )
    for _ in range(3):
        await world.scaler.evaluate()
    rows = await world.db.fetch(
        "SELECT instance_id, generation, status, drain_until FROM instances"
    )
    old = {row["instance_id"]: row for row in rows if row["generation"] == 1}
    assert {row["status"] for row in old.values()} == {"TERMINATING"}
    assert old[busy]["drain_until"] == updated_at + timedelta(minutes=30)
    new = [row for row in rows if row["generation"] == 2]
    assert [row["status"] for row in new] == ["ORDERED"] * len(new)
    assert len(new) == 2
    assert market.orders[-1].generation == 2


async def test_terminate_jobs_on_update_leaves_no_time(world: World, market: Market) -> None:
    """The time limit does not count then."""
    await world.environment(minv_cpus=2, strategy=PROGRESSIVE)
    await world.scaler.evaluate()
    (busy,) = await world.instances()
    await world.register(busy)
    await world.attempt(busy)
    updated_at = datetime.now(UTC)
    await world.db.execute(
        "UPDATE compute_environments SET status = 'UPDATING', generation = 2,"
        " infrastructure_updated_at = $1, detail = detail || jsonb_build_object('updatePolicy',"
        " jsonb_build_object('terminateJobsOnUpdate', true, 'jobExecutionTimeoutMinutes', '9'))",
        updated_at,
    )
    for _ in range(3):
        await world.scaler.evaluate()
    drain_until = await world.db.fetchval(
        "SELECT drain_until FROM instances WHERE instance_id = $1", busy
    )
    assert drain_until == updated_at


async def test_each_fargate_job_gets_its_slot(world: World, market: Market) -> None:
    """Of exactly its size, counted against maxvCpus; a shortage is one of the provider's slots."""
    await world.environment(types=[], resource_type="FARGATE", maxv_cpus=1)
    await world.queue(on=["default"])
    await world.demand(5, vcpus=0.25, memory_mib=512)
    await world.scaler.evaluate()
    assert await types(world) == ["fargate.0.25x512"] * 4
    slot = await world.db.fetchrow("SELECT vcpus, memory_mib FROM instances")
    assert tuple(slot) == (0.25, 512)
    assert await world.desired() == 1


async def test_environments_of_others_are_removed_when_empty(world: World) -> None:
    """An unmanaged one that is being deleted goes with its last machine."""
    await world.environment("u", type="UNMANAGED", status="DELETING", resource_type=None)
    await world.db.execute(
        "INSERT INTO agents (instance_id, compute_environment, instance_type, architecture,"
        " runtime, unmanaged, vcpu_milli, memory_mib, gpus, status)"
        " VALUES ('i-00000000000000001', 'u', 'x', 'x86_64', 'process', true, 1000, 64, 0, 'READY')"
    )
    await world.scaler.evaluate()
    assert await world.db.fetchval("SELECT count(*) FROM compute_environments") == 1
    await world.db.execute("UPDATE agents SET status = 'LOST'")
    await world.scaler.evaluate()
    assert await world.db.fetchval("SELECT count(*) FROM compute_environments") == 0
