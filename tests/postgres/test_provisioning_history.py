"""What is over is kept for a time, and then forgotten."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from support.cloud import Cloud, CloudWorld, a_cloud_world, add_environment, an_order

from longshore.provisioning.instances import history
from longshore.provisioning.instances.history import InstanceHistory
from longshore.provisioning.instances.reporting import InstanceFilter, InstanceReports
from longshore.scheduler import history as scheduler_history
from longshore.state.leadership import Leadership
from longshore.state.views.instance_report import InstanceDetail


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[CloudWorld]:
    await add_environment(database_url, "default")
    async with a_cloud_world(database_url, Cloud()) as made:
        yield made


async def over(world: CloudWorld, count: int, *, days: float) -> list[str]:
    """Instances of one order that registered, and that are over since so many days."""
    answer = await world.provisioning.provision(an_order(count))
    ids = [instance_id for instance_id, _, _ in answer.instances]
    await world.reconciler.tick()
    for instance_id in ids:
        await world.register(instance_id)
        del world.cloud.running[instance_id]
    await world.reconciler.tick()
    await world.db.execute("UPDATE agents SET status = 'LOST' WHERE instance_id = ANY($1)", ids)
    await world.db.execute(
        "UPDATE instances SET ended_at = now() - make_interval(secs => $2), "
        "launched_at = launched_at - make_interval(secs => $2) WHERE instance_id = ANY($1)",
        ids,
        days * 86_400,
    )
    await world.db.execute(
        "UPDATE capacity_orders SET closed_at = now() - make_interval(secs => $2) "
        "WHERE order_id = $1",
        answer.order_id,
        days * 86_400,
    )
    return ids


async def known(world: CloudWorld) -> set[str]:
    """Instances on record."""
    return set(await world.statuses())


async def test_what_is_over_is_forgotten_after_its_time(
    world: CloudWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bounded parts; with its order; never what is live, however old its order."""
    monkeypatch.setattr(history, "BATCH", 1)
    monkeypatch.setattr(history, "BATCHES_MOST", 2)
    old = await over(world, 3, days=100)
    young = await over(world, 1, days=10)
    answer = await world.provisioning.provision(an_order())
    live = [instance_id for instance_id, _, _ in answer.instances]
    await world.db.execute(
        "UPDATE capacity_orders SET closed_at = '2020-01-01' WHERE order_id = $1", answer.order_id
    )
    keeper = InstanceHistory(world.leadership, timedelta(days=30))
    await keeper.tick()
    assert len(await known(world)) == 3
    for _ in range(3):
        await keeper.tick()
    assert await known(world) == {*young, *live}
    assert not set(old) & await known(world)
    assert await world.db.fetchval("SELECT count(*) FROM capacity_orders") == 2


async def test_a_lost_agent_is_forgotten_with_its_instance(world: CloudWorld) -> None:
    """What is worth keeping is on the instance's record; agents that may come back stay."""
    (ended,) = await over(world, 1, days=0)
    answer = await world.provisioning.provision(an_order(2))
    (lost, _, _), (ready, _, _) = answer.instances
    await world.register(lost, "LOST")
    await world.register(ready)
    for machine, status, days in (
        ("own-old", "LOST", 100),
        ("own-new", "LOST", 1),
        ("own", "READY", 100),
    ):
        await world.db.execute(
            "INSERT INTO agents (instance_id, compute_environment, instance_type, architecture, "
            "runtime, unmanaged, vcpu_milli, memory_mib, gpus, status, last_seen_at) VALUES "
            "($1, 'own', 'x', 'x86_64', 'process', true, 1, 1, 0, $2, "
            "now() - make_interval(days => $3))",
            machine,
            status,
            days,
        )
    (before,) = await detail(world, ended)
    scheduler = Leadership(world.pool, "test", "a scheduler", 30)
    assert await scheduler.hold()
    await scheduler_history.History(scheduler, timedelta(days=30)).tick()
    rows = await world.db.fetch("SELECT instance_id FROM agents")
    assert {row["instance_id"] for row in rows} == {lost, ready, "own-new", "own"}
    assert await detail(world, ended) == [before]
    assert before.registered_at is not None


async def detail(world: CloudWorld, instance_id: str) -> list[InstanceDetail]:
    """What users are told of an instance."""
    page = await InstanceReports(world.pool).instances(
        InstanceFilter("", instance_id, ended=True), 10, ""
    )
    return list(page.items)


async def test_who_does_not_lead_forgets_nothing(world: CloudWorld) -> None:
    """Another provisioning service is at work."""
    await over(world, 1, days=100)
    await world.db.execute("UPDATE leases SET token = token + 1, holder = 'other'")
    await InstanceHistory(world.leadership, timedelta(days=30)).tick()
    assert len(await known(world)) == 1
