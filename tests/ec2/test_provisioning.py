"""Provisioning on EC2: a real database, moto's server, faults between."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from ec2.stand import Stand, an_order, entry
from support.cloud import CloudWorld, a_cloud_world
from support.identity import tls_settings
from support.patience import PATIENCE_SECONDS
from support.ports import free_port

from longshore.domain.errors import Unavailable
from longshore.provisioning.instances.loop import TAKEN


async def _set_resources(
    db: "asyncpg.Connection[asyncpg.Record]", resources: dict[str, Any]
) -> None:
    """The environment `blue`, as it is stored; a change of it is its next generation."""
    await db.execute(
        "INSERT INTO compute_environments (name, uuid, type, state, status, detail, "
        "resource_type, minv_cpus, maxv_cpus, desiredv_cpus) VALUES ('blue', gen_random_uuid(), "
        "'MANAGED', 'ENABLED', 'VALID', $1, 'EC2', 0, 64, 0) "
        "ON CONFLICT (name) DO UPDATE SET detail = $1, "
        "generation = compute_environments.generation + 1",
        json.dumps({"computeResources": {"instanceTypes": ["c6i.large"], **resources}}),
    )


@pytest.fixture
async def url(database_url: str, stand: Stand) -> str:
    db = await asyncpg.connect(database_url)
    await _set_resources(db, stand.resources)
    await db.close()
    return database_url


@pytest.fixture
async def world(url: str, stand: Stand) -> AsyncIterator[CloudWorld]:
    provider: Any = stand.provider
    async with a_cloud_world(url, provider) as made:
        yield made


async def _ids(stand: Stand) -> set[str]:
    return {instance["InstanceId"] for instance in await stand.instances()}


async def test_the_life_of_instances(world: CloudWorld, stand: Stand) -> None:
    """Ordered, launched under EC2's ids, seen, given back, gone."""
    answer = await world.provisioning.provision(an_order(entry("c6i.large", 2)))
    ids = {instance_id for instance_id, _, _ in answer.instances}
    assert ids == await _ids(stand)
    assert {(kind, zone) for _, kind, zone in answer.instances} == {("c6i.large", "us-east-1a")}
    await world.reconciler.tick()
    assert {status for status, _ in (await world.statuses()).values()} == {"BOOTING"}
    # One has registered, drains, and ends by itself; the other never does any of that.
    first, second = sorted(ids)
    await world.register(first)
    await world.provisioning.terminate([first, second], "no need of it")
    await world.register(first, "DRAINING")
    await world.reconciler.tick()
    assert await _ids(stand) == {first}
    await stand.ec2.call("terminate_instances", InstanceIds=[first])
    await world.reconciler.tick()
    assert {key: status for key, (status, _) in (await world.statuses()).items()} == {
        first: "TERMINATED",
        second: "FAILED",
    }


@pytest.mark.parametrize("fault", ["unanswered", "broken", "throttled"])
async def test_trouble_while_launching(world: CloudWorld, stand: Stand, fault: str) -> None:
    """Each order is launched once, and its instances are on record."""
    getattr(stand.proxy, fault)["CreateFleet"] = 1
    answer = await world.provisioning.provision(an_order(entry("c6i.large", 3)))
    assert len(answer.instances) == 3
    assert await _ids(stand) == set(await world.statuses())


async def test_what_was_short_is_on_record(world: CloudWorld, stand: Stand) -> None:
    """By type, zone and purchase option, for the time in which it is not asked for again."""
    stand.proxy.short = {("c6i.large", "us-east-1a"): "InsufficientInstanceCapacity"}
    answer = await world.provisioning.provision(an_order(entry("c6i.large", 1)))
    assert [zone for _, _, zone in answer.instances] == ["us-east-1b"]
    assert [(e.instance_type, e.zone, e.purchase_option, e.reason) for e in answer.errors] == [
        ("c6i.large", "us-east-1a", "ON_DEMAND", "INSUFFICIENT_INSTANCE_CAPACITY")
    ]


async def test_an_order_that_was_given_up_leaves_nothing(world: CloudWorld, stand: Stand) -> None:
    """EC2 launches, and never answers: what came of it is ended as a stray."""
    # With a template that is there, EC2 is asked to launch long before the order is given up.
    ((kept, _, _),) = (await world.provisioning.provision(an_order(entry()))).instances
    before = stand.proxy.count("CreateFleet")
    stand.proxy.unanswered["CreateFleet"] = 1000
    stand.proxy.delays["CreateFleet"] = 0.3
    order = an_order(entry("c6i.large", 2))
    # Once it is asked to launch, EC2 does not even show instances any more.
    launching = asyncio.create_task(world.provisioning.provision(order, 5))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while stand.proxy.count("CreateFleet") == before:
            await asyncio.sleep(0.01)
    stand.proxy.refused["DescribeInstances"] = ("UnauthorizedOperation", "No.")
    with pytest.raises(Unavailable):
        await launching
    stand.proxy.refused.clear()
    stand.proxy.unanswered.clear()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(await _ids(stand)) < 3:
            await asyncio.sleep(0.05)
    await world.reconciler.tick()
    assert await _ids(stand) == set(await world.statuses()) == {kept}


@pytest.fixture
async def hasty(url: str, stand: Stand) -> AsyncIterator[CloudWorld]:
    """Provisioning that waits for a call of EC2's for a moment only, and knows its template."""
    provider: Any = await stand.another(replace(stand.config, call_seconds=2))
    await stand.fulfil(an_order(entry()), provider)
    async with a_cloud_world(url, provider) as made:
        await made.reconciler.tick()
        yield made


async def asked(stand: Stand, times: int) -> None:
    """Waits until EC2 was asked to launch so often."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while stand.proxy.count("CreateFleet") < times:
            await asyncio.sleep(0.01)


async def test_what_a_slow_call_launches_is_taken(hasty: CloudWorld, stand: Stand) -> None:
    """EC2 launches after longer than anybody waits: asked again, it says what it launched."""
    launches = stand.proxy.held["CreateFleet"] = asyncio.Event()
    before = stand.proxy.count("CreateFleet")
    order = an_order(entry("c6i.large", 2))
    answering = asyncio.create_task(hasty.provisioning.provision(order, PATIENCE_SECONDS))
    await asked(stand, before + 2)
    launches.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(await _ids(stand)) < 2:
            # Passes meanwhile leave alone what is there before its record.
            await hasty.reconciler.tick()
    answer = await answering
    assert {instance_id for instance_id, _, _ in answer.instances} == await _ids(stand)
    await hasty.reconciler.tick()
    assert set(await hasty.statuses()) == await _ids(stand)
    assert len(await _ids(stand)) == 2


async def test_what_is_launched_when_nobody_asks_any_more_is_ended(
    hasty: CloudWorld, stand: Stand
) -> None:
    """The order is given up while EC2 still launches; the one in its place keeps what it got."""
    launches = stand.proxy.held["CreateFleet"] = asyncio.Event()
    with pytest.raises(Unavailable):
        await hasty.provisioning.provision(an_order(entry("c6i.large", 3)), 5)
    assert await _ids(stand) == set()
    query = "SELECT count(*) FROM capacity_orders WHERE closed_at IS NULL"
    assert await hasty.db.fetchval(query) == 0
    stand.proxy.held.clear()
    answer = await hasty.provisioning.provision(an_order(entry("c6i.large", 1)))
    ((kept, _, _),) = answer.instances
    launches.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(await _ids(stand)) < 4:
            await asyncio.sleep(0.05)
    await hasty.provisioning.resume()
    await hasty.reconciler.tick()
    assert await _ids(stand) == {kept}
    assert set(await hasty.statuses()) == {kept}


async def test_strays_are_ended_and_others_left_alone(world: CloudWorld, stand: Stand) -> None:
    """Instances of this stack that are not on record; never another stack's."""
    await stand.fulfil(an_order(entry("c6i.large", 2)))
    foreign = await stand.fulfil(an_order(entry()), await stand.another(holder="other"))
    await world.reconciler.tick()
    assert await _ids(stand) == {one.instance_id for one in foreign.instances}


async def test_an_instance_that_ec2_takes(world: CloudWorld, stand: Stand) -> None:
    """Gone is gone: its record ends, and it is not started again."""
    answer = await world.provisioning.provision(an_order(entry()))
    ((instance_id, _, _),) = answer.instances
    await world.reconciler.tick()
    await world.register(instance_id)
    await stand.ec2.call("terminate_instances", InstanceIds=[instance_id])
    await world.reconciler.tick()
    assert (await world.statuses())[instance_id] == ("LOST", TAKEN)
    assert await _ids(stand) == set()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("Server.SpotInstanceTermination", "LOST"),
        ("Server.InsufficientInstanceCapacity", "LOST"),
        ("Server.InternalError", "FAILED"),
    ],
)
async def test_an_instance_that_goes_while_it_boots(
    world: CloudWorld, stand: Stand, code: str, status: str
) -> None:
    """One that EC2 takes back for its capacity is no failure of the environment's."""
    ((instance_id, _, _),) = (await world.provisioning.provision(an_order(entry()))).instances
    await world.reconciler.tick()
    await stand.ec2.call("terminate_instances", InstanceIds=[instance_id])
    stand.proxy.replaced["Client.UserInitiatedShutdown"] = code
    await world.reconciler.tick()
    assert (await world.statuses())[instance_id][0] == status


async def test_while_ec2_is_away_nothing_is_concluded(world: CloudWorld, stand: Stand) -> None:
    """Instances stay on record, and are there when it is back."""
    await world.provisioning.provision(an_order(entry()))
    await world.reconciler.tick()
    before = await world.statuses()
    stand.proxy.broken["DescribeInstances"] = 5
    with pytest.raises(Unavailable):
        await world.reconciler.tick()
    assert await world.statuses() == before
    await world.reconciler.tick()
    assert await world.statuses() == before


async def test_an_update_boots_from_a_new_template(world: CloudWorld, stand: Stand) -> None:
    """Instances of the next generation beside those of the one before."""
    await world.provisioning.provision(an_order(entry(), generation=1))
    await _set_resources(world.db, {**stand.resources, "imageId": "ami-00000000000000002"})
    await world.provisioning.provision(an_order(entry(), generation=2))
    await world.reconciler.tick()
    instances = await stand.instances()
    generations = {
        next(tag["Value"] for tag in i["Tags"] if tag["Key"] == "longshore:generation"): i
        for i in instances
    }
    assert set(generations) == {"1", "2"}
    assert generations["2"]["ImageId"] == "ami-00000000000000002"
    assert generations["1"]["ImageId"] != generations["2"]["ImageId"]
    rows = await world.db.fetch("SELECT instance_id, generation FROM instances")
    assert {(row["instance_id"], str(row["generation"])) for row in rows} == {
        (instance["InstanceId"], generation) for generation, instance in generations.items()
    }


async def test_the_service_runs_on_ec2(url: str, stand: Stand) -> None:
    """The process itself: it opens the provider, and ends what is no instance of its own."""
    db = await asyncpg.connect(url)
    stack_id = str(await db.fetchval("SELECT stack_id FROM stack"))
    own = await stand.another(replace(stand.config), holder=stack_id)
    await stand.fulfil(an_order(entry("c6i.large", 2)), own)
    environ = os.environ | {
        "LONGSHORE_PROVIDER": "ec2",
        "LONGSHORE_DATABASE_URL": url,
        "LONGSHORE_EC2_ENDPOINT_URL": stand.proxy.url,
        "LONGSHORE_EC2_PACKAGE": "longshore[server]",
        "LONGSHORE_EC2_SCHEDULER_ADDRESS": "10.0.0.1:7071",
        "LONGSHORE_EC2_LOGS_ADDRESS": "10.0.0.1:7074",
        "LONGSHORE_EC2_JOIN_ADDRESS": "10.0.0.1:7076",
        "LONGSHORE_PROVISIONING_ADDRESS": f"127.0.0.1:{free_port()}",
        "LONGSHORE_PROVISIONING_METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
        "LONGSHORE_PROVISIONING_PEER_ADDRESS": "127.0.0.1:0",
        "LONGSHORE_JOIN_ADDRESS": "127.0.0.1:0",
        "LONGSHORE_PROVISION_INTERVAL": "0.2",
        **tls_settings(),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "longshore.provisioning", env=environ
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await _ids(stand):
                assert process.returncode is None
                await asyncio.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), PATIENCE_SECONDS) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await db.close()
