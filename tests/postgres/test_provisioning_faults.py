"""A cloud that is down, slow, throttling, lying: no double launch, no orphan, others go on."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.cloud import AWAY, Cloud, CloudWorld, a_cloud_world, add_environment, an_order
from support.patience import PATIENCE_SECONDS

from longshore.domain.errors import PreconditionFailed, Unavailable
from longshore.domain.order import CapacityOrder
from longshore.provisioning.instances.loop import (
    DRAINED,
    ENDED_BOOTING,
    NEVER_SHOWN,
    TAKEN,
    TAKEN_BOOTING,
)
from longshore.provisioning.orders import fulfilling
from longshore.provisioning.orders.fulfilling import ORDERS_AT_ONCE
from longshore.provisioning.provider import Fulfilment
from longshore.state import lease
from longshore.state.leadership import Leadership
from longshore.state.submission import environment_scaling


@pytest.fixture
async def url(database_url: str) -> str:
    for name in ("default", "other"):
        await add_environment(database_url, name)
    return database_url


@pytest.fixture
async def world(url: str) -> AsyncIterator[CloudWorld]:
    async with a_cloud_world(url, Cloud()) as made:
        yield made


@contextlib.asynccontextmanager
async def answering(world: CloudWorld, order: CapacityOrder) -> AsyncIterator[asyncio.Task[object]]:
    """An order whose instances run, and whose answer the cloud holds back."""
    held = world.cloud.slow[order.compute_environment] = asyncio.Event()
    world.cloud.launched.clear()
    task = asyncio.create_task(world.provisioning.provision(order, PATIENCE_SECONDS))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await world.cloud.launched.wait()
    yield task
    held.set()
    with contextlib.suppress(asyncio.CancelledError, Unavailable):
        await task


async def open_orders(world: CloudWorld) -> list[uuid.UUID]:
    """Orders that are being answered, the first one first."""
    query = "SELECT order_id FROM capacity_orders WHERE closed_at IS NULL ORDER BY created_at"
    return [row["order_id"] for row in await world.db.fetch(query)]


async def one_running(world: CloudWorld) -> str:
    """An instance that the cloud has shown, whose agent registered."""
    answer = await world.provisioning.provision(an_order())
    await world.reconciler.tick()
    ((instance_id, _, _),) = answer.instances
    await world.register(instance_id)
    return instance_id


async def test_an_order_is_launched_when_it_is_answered(world: CloudWorld) -> None:
    """Once, under the cloud's own names; what was short is said."""
    world.cloud.room = 2
    order = an_order(3)
    answer = await world.provisioning.provision(order)
    assert await world.provisioning.provision(order) == answer
    assert {found[0] for found in answer.instances} == set(world.cloud.running)
    assert [error.reason for error in answer.errors] == ["INSUFFICIENT_INSTANCE_CAPACITY"]
    assert {status for status, _ in (await world.statuses()).values()} == {"LAUNCHING"}
    await world.reconciler.tick()
    assert {status for status, _ in (await world.statuses()).values()} == {"BOOTING"}


@pytest.mark.parametrize("fault", ["refuses", "loses"])
async def test_a_cloud_that_throttles_is_asked_again(world: CloudWorld, fault: str) -> None:
    """Before or after it launched: one launch."""
    setattr(world.cloud, fault, 2)
    order = an_order(2)
    answer = await world.provisioning.provision(order)
    assert len(answer.instances) == 2
    assert world.cloud.launches == {order.order_id: 2}
    assert set(await world.statuses()) == set(world.cloud.running)


async def test_an_order_is_given_up_when_the_cloud_is_away(world: CloudWorld) -> None:
    """At once, so that another one may be made; it gets nothing more, whoever asks for it."""
    world.cloud.refuses = 1000
    order = an_order()
    with pytest.raises(Unavailable):
        await world.provisioning.provision(order, 0.5)
    assert await open_orders(world) == []
    world.cloud.refuses = 0
    await world.provisioning.resume()
    assert (await world.provisioning.provision(order)).instances == []
    assert world.cloud.running == {}


async def test_a_slow_order_holds_up_nobody_else(world: CloudWorld) -> None:
    """Orders of other environments, and passes, go on; it is neither given up nor a stray."""
    async with answering(world, an_order()) as slow:
        (early,) = world.cloud.running
        assert len((await world.provisioning.provision(an_order(2, "other"))).instances) == 2
        await world.provisioning.resume()
        await world.reconciler.tick()
        assert early in world.cloud.running
        assert not slow.done()
    assert set(await world.statuses()) == set(world.cloud.running)
    assert len(world.cloud.running) == 3


async def test_orders_wait_for_each_other(
    world: CloudWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the cloud is asked for at one time: those that wait are not given up."""
    held = world.cloud.slow["default"] = asyncio.Event()
    orders = [an_order() for _ in range(ORDERS_AT_ONCE + 3)]
    tasks = [
        asyncio.create_task(world.provisioning.provision(order, PATIENCE_SECONDS))
        for order in orders
    ]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(await open_orders(world)) < len(orders):
            await world.cloud.launched.wait()
    assert len(world.cloud.running) == ORDERS_AT_ONCE
    await world.provisioning.resume()
    await world.reconciler.tick()
    monkeypatch.setattr(fulfilling, "ORDERS_WAITING", len(orders))
    with pytest.raises(Unavailable, match="11 orders"):
        await world.provisioning.provision(an_order())
    held.set()
    answers = [await task for task in tasks]
    assert [len(answer.instances) for answer in answers] == [1] * len(orders)
    assert world.cloud.launches == {order.order_id: 1 for order in orders}


async def test_the_same_order_twice_at_one_time_is_asked_for_once(world: CloudWorld) -> None:
    """The second waits for the first one's answer."""
    order = an_order()
    async with answering(world, order) as first:
        second = asyncio.create_task(world.provisioning.provision(order, PATIENCE_SECONDS))
        await asyncio.sleep(0)
    assert await first == await second
    assert world.cloud.launches == {order.order_id: 1}


async def test_a_second_caller_that_goes_gives_up_nothing(world: CloudWorld) -> None:
    """The first is still asking: its order stays open, and what it has is no stray."""
    order = an_order()
    async with answering(world, order):
        with pytest.raises(Unavailable):
            await world.provisioning.provision(order, 0.1)
        assert await open_orders(world) == [order.order_id]
        await world.reconciler.tick()
        assert len(world.cloud.running) == 1
    assert set(await world.statuses()) == set(world.cloud.running)


async def test_orders_at_one_time_do_not_each_take_the_last_room(world: CloudWorld) -> None:
    """The provider is told also what those before may get, of which nothing is on record yet."""
    before = await one_running(world)
    fulfil, told = world.cloud.fulfil, []

    async def listening(*args: Any) -> Fulfilment:
        told.append(args[3])
        return await fulfil(*args)

    world.cloud.fulfil = listening  # type: ignore[method-assign]
    async with answering(world, an_order(3)):
        await world.provisioning.provision(an_order(2, "other"))
    await world.provisioning.provision(an_order())
    assert told == [1, 1 + 3, 1 + 3 + 2]
    assert before in world.cloud.running


async def test_an_environment_stays_until_its_order_is_answered(world: CloudWorld) -> None:
    """What the order gets would belong to nobody, and cost for ever."""
    async with answering(world, an_order()):
        assert not await environment_scaling.delete_unused(world.db, "default")
        assert await environment_scaling.delete_unused(world.db, "other")
    assert not await environment_scaling.delete_unused(world.db, "default")


async def test_a_caller_that_goes_away_loses_no_instance(world: CloudWorld) -> None:
    """The order is taken up again, as the same."""
    order = an_order()
    async with answering(world, order) as task:
        task.cancel()
        await asyncio.wait([task])
        assert await open_orders(world) == [order.order_id]
        await world.reconciler.tick()
    await world.provisioning.resume()
    assert set(await world.statuses()) == set(world.cloud.running)
    assert world.cloud.launches == {order.order_id: 1}


async def test_who_comes_after_a_crash_takes_orders_up(url: str, world: CloudWorld) -> None:
    """It died between launch and record: the next one asks again; the first records nothing."""
    order = an_order()
    async with answering(world, order) as first:
        async with a_cloud_world(url, world.cloud) as second:
            resuming = asyncio.create_task(second.provisioning.resume())
            await second.reconciler.tick()
            assert len(world.cloud.running) == 1
            world.cloud.slow["default"].set()
            await resuming
            assert set(await second.statuses()) == set(world.cloud.running)
        with pytest.raises(Unavailable):
            await first
    assert world.cloud.launches == {order.order_id: 1}
    assert len(await world.statuses()) == 1


async def test_who_comes_too_long_after_a_crash_gives_orders_up(world: CloudWorld) -> None:
    """Others were decided meanwhile: what the cloud launched for them is ended."""
    order = an_order()
    async with answering(world, order) as task:
        task.cancel()
        await asyncio.wait([task])
    await world.db.execute("UPDATE capacity_orders SET answering_until = now()")
    await world.provisioning.resume()
    assert await open_orders(world) == []
    await world.reconciler.tick()
    assert world.cloud.running == {}
    assert (await world.provisioning.provision(order)).instances == []
    assert await world.statuses() == {}


async def test_an_order_counts_while_the_pass_that_decided_it_goes_on(world: CloudWorld) -> None:
    """One that comes late gets nothing; the same again is answered, however late."""
    scaler = Leadership(world.pool, lease.SCALER, "the scaler", 30)
    assert await scaler.hold()
    token = scaler.token
    order = an_order()
    answer = await world.provisioning.provision(order, decision_token=token)
    assert len(answer.instances) == 1
    await scaler.release()
    assert await scaler.hold()
    late = an_order()
    with pytest.raises(PreconditionFailed, match="Decide anew"):
        await world.provisioning.provision(late, decision_token=token)
    assert await world.provisioning.provision(order, decision_token=token) == answer
    assert world.cloud.launches == {order.order_id: 1}
    query = "SELECT array_agg(order_id) FROM capacity_orders"
    assert await world.db.fetchval(query) == [order.order_id]
    # It was not a word about provisioning's own lease.
    assert world.leadership.held


async def test_what_is_launched_after_the_deadline_is_a_stray(world: CloudWorld) -> None:
    """Nobody asks for it any more: it is ended, although no record knows it."""
    order = an_order()
    world.cloud.slow["default"] = asyncio.Event()
    with pytest.raises(Unavailable):
        await world.provisioning.provision(order, 2)
    assert len(world.cloud.running) == 1
    assert await open_orders(world) == []
    await world.provisioning.resume()
    await world.reconciler.tick()
    assert world.cloud.running == {}
    assert await world.statuses() == {}


async def test_nothing_is_concluded_from_a_cloud_that_does_not_answer(world: CloudWorld) -> None:
    """The pass is put off; what is there stays on record."""
    instance_id = await one_running(world)
    world.cloud.is_blind = True
    with pytest.raises(Unavailable, match=AWAY):
        await world.reconciler.tick()
    assert (await world.statuses())[instance_id][0] == "READY"
    world.cloud.is_blind = False
    await world.reconciler.tick()
    assert (await world.statuses())[instance_id][0] == "READY"


async def test_what_the_cloud_does_not_show_yet_is_waited_for(world: CloudWorld) -> None:
    """It says that it launched it, and shows it later."""
    ((instance_id, _, _),) = (await world.provisioning.provision(an_order())).instances
    world.cloud.hidden.add(instance_id)
    await world.reconciler.tick()
    assert (await world.statuses())[instance_id][0] == "LAUNCHING"
    assert world.due
    assert 0 < min(world.due) <= 30
    world.cloud.hidden.clear()
    await world.reconciler.tick()
    assert (await world.statuses())[instance_id][0] == "BOOTING"


async def test_what_the_cloud_never_shows_failed(url: str) -> None:
    """After a while; and if it shows it after all, it is ended."""
    async with a_cloud_world(url, Cloud(), patience=0.1) as world:
        ((instance_id, _, _),) = (await world.provisioning.provision(an_order())).instances
        world.cloud.hidden.add(instance_id)
        await world.reconciler.tick()
        await world.db.execute("UPDATE instances SET launched_at = launched_at - interval '1 s'")
        await world.reconciler.tick()
        assert await world.statuses() == {instance_id: ("FAILED", NEVER_SHOWN)}
        world.cloud.hidden.clear()
        await world.reconciler.tick()
        assert world.cloud.running == {}


async def test_what_the_cloud_takes_is_over(world: CloudWorld) -> None:
    """It is not launched again; users see that nobody asked for its end."""
    ran = await one_running(world)
    booting = await one_running(world)
    await world.db.execute("DELETE FROM agents WHERE instance_id = $1", booting)
    world.cloud.running.clear()
    await world.reconciler.tick()
    assert await world.statuses() == {ran: ("LOST", TAKEN), booting: ("FAILED", ENDED_BOOTING)}


async def test_what_the_cloud_takes_back_while_it_boots_did_not_fail(world: CloudWorld) -> None:
    """Seen before or not; nothing is concluded while the cloud does not say why."""
    taken = await one_running(world)
    ((unseen, _, _),) = (await world.provisioning.provision(an_order())).instances
    await world.db.execute("DELETE FROM agents")
    await world.db.execute("UPDATE instances SET launched_at = launched_at - interval '1 hour'")
    world.cloud.running.clear()
    world.cloud.took = {taken: "It is needed elsewhere.", unseen: "It was short."}
    describe = world.cloud.describe

    async def then_away() -> object:
        found = await describe()
        world.cloud.is_blind = True
        return found

    world.cloud.describe = then_away  # type: ignore[method-assign,assignment]
    await world.reconciler.tick()
    assert {status for status, _ in (await world.statuses()).values()} == {"BOOTING", "LAUNCHING"}
    assert min(world.due) <= 2
    world.cloud.describe, world.cloud.is_blind = describe, False  # type: ignore[method-assign]
    await world.reconciler.tick()
    assert await world.statuses() == {
        taken: ("LOST", TAKEN_BOOTING.format("It is needed elsewhere.")),
        unseen: ("LOST", TAKEN_BOOTING.format("It was short.")),
    }


async def test_an_end_that_the_cloud_did_not_hear_of_is_asked_for_again(world: CloudWorld) -> None:
    """Throttled once; the pass does everything else, and comes again."""
    leaving = await one_running(world)
    gone = await one_running(world)
    await world.provisioning.terminate([leaving], "not needed")
    await world.db.execute("DELETE FROM agents WHERE instance_id = $1", leaving)
    del world.cloud.running[gone]
    describe = world.cloud.describe

    async def throttled() -> object:
        found = await describe()
        world.cloud.is_blind = True
        return found

    world.cloud.describe = throttled
    await world.reconciler.tick()
    assert world.cloud.ended == []
    assert (await world.statuses())[gone][0] == "LOST"
    assert min(world.due) <= 2
    world.cloud.describe, world.cloud.is_blind = describe, False
    await world.reconciler.tick()
    assert world.cloud.ended == [(leaving, False)]


async def test_a_used_slot_whose_agent_hangs_is_ended(world: CloudWorld) -> None:
    """Nobody gives it back: its agent was to exit once its one attempt had ended."""
    instance_id = await one_running(world)
    await world.register(instance_id, "DRAINING")
    await world.reconciler.tick()
    assert world.cloud.ended == []
    assert 0 < min(world.due) <= 30
    await world.db.execute("UPDATE agents SET idle_since = idle_since - interval '1 min'")
    await world.reconciler.tick()
    assert world.cloud.ended == [(instance_id, False)]
    await world.reconciler.tick()
    assert await world.statuses() == {instance_id: ("TERMINATED", DRAINED)}


async def test_what_does_not_end_is_made_to(url: str) -> None:
    """Asked, and after a grace time ended by force."""
    async with a_cloud_world(url, Cloud(), grace=0) as world:
        world.cloud.keeps_all = True
        instance_id = await one_running(world)
        await world.provisioning.terminate([instance_id], "not needed")
        for _ in range(3):
            await world.reconciler.tick()
        assert world.cloud.ended == [(instance_id, False), (instance_id, True)]
        assert await world.statuses() == {instance_id: ("TERMINATED", "not needed")}
