"""The scaler on a real database, with provisioning over gRPC and real processes."""

import asyncio
import unittest.mock
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from capacity_world import CATALOGUE, World, a_world
from support.patience import PATIENCE_SECONDS

from longshore.domain.errors import Unavailable
from longshore.domain.instance import InstanceStatus
from longshore.domain.scaling import round as scaling_round
from longshore.domain.scaling.decision import ScalingSettings
from longshore.scaler.ordering import Ordering
from longshore.scaler.service import Scaler
from longshore.state import lease
from longshore.state.pool import transaction
from longshore.state.provisioning import instance
from longshore.v1 import provisioning_service_pb2 as pb


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    settings = ScalingSettings(idle=timedelta(seconds=5), boot=timedelta(seconds=60))
    async with a_world(database_url, tmp_path / "instances", settings=settings) as made:
        yield made


async def test_demand_becomes_running_instances(world: World) -> None:
    """Three jobs of a vCPU become two instances of two, once."""
    await world.environment()
    await world.queue(on=["default"])
    await world.demand(3)
    (decision,) = await world.scaler.evaluate()
    assert decision.reason.startswith("3 RUNNABLE jobs did not fit: ordering 2 x local.quarter")
    await world.reconciler.tick()
    assert list((await world.instances()).values()) == ["LAUNCHED", "LAUNCHED"]
    assert len(await world.pids()) == 2
    assert await world.desired() == 4
    await world.scaler.evaluate()
    assert len(await world.instances()) == 2
    activity = await world.db.fetch("SELECT * FROM scaling_activities")
    assert [(row["ordered"], row["desiredv_cpus"]) for row in activity] == [(2, 4)]


async def test_idle_instances_go(world: World) -> None:
    """After the idle delay, unless an attempt is live or minvCpus needs them."""
    await world.environment(minv_cpus=2)
    await world.queue(on=["default"])
    await world.demand(5)
    await world.scaler.evaluate()
    await world.reconciler.tick()
    busy, idle, fresh = await world.instances()
    await world.demand(0)
    await world.register(busy, idle=100)
    await world.register(idle, idle=100)
    await world.register(fresh, idle=1)
    await world.attempt(busy)
    (decision,) = await world.scaler.evaluate()
    assert [give.instance_id for give in decision.terminate] == [idle]
    assert await world.desired() == 4
    assert (await world.instances())[idle] == "TERMINATING"
    await world.register(fresh, idle=100)
    (decision,) = await world.scaler.evaluate()
    assert [give.instance_id for give in decision.terminate] == [fresh]
    await world.db.execute("UPDATE attempts SET status = 'ENDED', stopped_at = now()")
    (decision,) = await world.scaler.evaluate()
    assert decision.terminate == ()


async def test_an_instance_that_can_start_nothing_is_replaced(world: World) -> None:
    """Nothing is free on it: what waits gets another one, and it goes once it is idle.

    Not so where the other one would be on the same machine.
    """
    await world.environment()
    await world.queue(on=["default"])
    await world.demand(1)
    await world.scaler.evaluate()
    await world.reconciler.tick()
    (unfit,) = await world.instances()
    await world.register(unfit, idle=1)
    (decision,) = await world.scaler.evaluate()
    assert decision.launches == ()
    await world.db.execute("UPDATE agents SET health = 'DISK_FULL'")
    (decision,) = await world.scaler.evaluate()
    assert (decision.launches, decision.terminate) == ((), ())
    await world.db.execute("UPDATE instances SET provider = 'cloud'")
    (decision,) = await world.scaler.evaluate()
    assert (sum(launch.count for launch in decision.launches), decision.terminate) == (1, ())
    await world.register(unfit, idle=100)
    await world.db.execute("UPDATE agents SET health = 'DISK_FULL'")
    (decision,) = await world.scaler.evaluate()
    assert [give.instance_id for give in decision.terminate] == [unfit]


async def test_an_order_that_comes_late_gets_nothing(world: World) -> None:
    """It was on its way when the pass that decided it failed; the next one decided anew."""
    await world.environment(minv_cpus=4)
    stuck: list[pb.ProvisionRequest] = []

    async def away(request: pb.ProvisionRequest, **_: object) -> pb.ProvisionResponse:
        stuck.append(request)
        raise grpc.aio.AioRpcError(
            grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata()
        )

    scaler = Scaler(world.pool, Ordering(world.provisioning), CATALOGUE, ScalingSettings())
    with unittest.mock.patch.object(world.provisioning, "Provision", away):
        await scaler.evaluate()
    await world.scaler.evaluate()
    assert len(await world.instances()) == 2
    (request,) = stuck
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await world.provisioning.Provision(request, timeout=PATIENCE_SECONDS)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert len(await world.instances()) == 2
    assert await world.db.fetchval("SELECT count(*) FROM capacity_orders") == 1


async def test_an_order_whose_answer_was_lost_counts(world: World) -> None:
    """A pass died after placing: what was ordered is capacity for the next pass."""
    await world.environment()
    await world.queue(on=["default"])
    await world.demand(2)
    await world.scaler.evaluate()
    await world.db.execute("UPDATE compute_environments SET desiredv_cpus = 0")
    await world.db.execute("DELETE FROM scaling_activities")
    await world.scaler.evaluate()
    assert len(await world.instances()) == 1
    assert await world.desired() == 2


async def test_a_raise_of_desired_is_filled_once(world: World) -> None:
    """A client's raise brings instances; when they are gone again, they stay gone."""
    await world.environment(desiredv_cpus=4)
    await world.scaler.evaluate()
    ordered = list(await world.instances())
    assert len(ordered) == 2
    await world.reconciler.tick()
    for instance_id in ordered:
        await world.register(instance_id, idle=100)
    await world.scaler.evaluate()
    await world.scaler.evaluate()
    assert list((await world.instances()).values()) == ["TERMINATING", "TERMINATING"]
    assert await world.desired() == 0


async def test_a_raise_to_what_is_there_holds_nothing(world: World) -> None:
    """It is met at once, and does not keep instances from going later."""
    await world.environment(minv_cpus=2)
    await world.scaler.evaluate()
    await world.reconciler.tick()
    (instance_id,) = await world.instances()
    await world.register(instance_id, idle=100)
    await world.db.execute("DELETE FROM scaling_activities")
    await world.db.execute("UPDATE compute_environments SET minv_cpus = 0")
    await world.scaler.evaluate()
    assert await world.instances() == {instance_id: "LAUNCHED"}
    await world.scaler.evaluate()
    assert await world.instances() == {instance_id: "TERMINATING"}


async def test_one_scaler_at_a_time(world: World) -> None:
    """While another holds the lease nothing is decided."""
    await world.environment(minv_cpus=2)
    async with transaction(world.pool) as conn:
        assert await lease.acquire(conn, lease.SCALER, "other", 60)
    with pytest.raises(Unavailable):
        await world.scaler.evaluate()
    assert await world.instances() == {}


async def test_a_pass_that_lost_its_lease_writes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another scaler takes over in the middle: the first one's order is never recorded."""
    await world.environment(minv_cpus=2)
    real = scaling_round.make

    def slow(*args: object) -> object:
        world_loop.call_soon_threadsafe(taken.set)
        assert gone.result(timeout=PATIENCE_SECONDS)
        return real(*args)

    world_loop, taken = asyncio.get_running_loop(), asyncio.Event()

    async def take_over() -> bool:
        await taken.wait()
        await world.db.execute("UPDATE leases SET token = token + 1, holder = 'other'")
        return True

    gone = asyncio.run_coroutine_threadsafe(take_over(), world_loop)
    monkeypatch.setattr(scaling_round, "make", slow)
    with pytest.raises(Unavailable):
        await world.scaler.evaluate()
    assert await world.db.fetchval("SELECT count(*) FROM capacity_orders") == 0


async def test_a_short_provider_is_told_and_left_alone(world: World) -> None:
    """What could not be had lowers desiredvCpus, and the type is not asked for again at once."""
    foreign = "m6g.medium" if CATALOGUE.get("local.host").architecture == "x86_64" else "m6i.large"
    await world.environment(types=[foreign], strategy="BEST_FIT_PROGRESSIVE")
    await world.queue(on=["default"])
    await world.demand(1, vcpus=0.5)
    await world.scaler.evaluate()
    assert await world.desired() == 0
    activity = await world.db.fetchrow("SELECT ordered, reason FROM scaling_activities")
    assert activity["ordered"] == 0
    assert "This machine is" in activity["reason"]
    await world.scaler.evaluate()
    assert await world.db.fetchval("SELECT count(*) FROM capacity_orders") == 1


async def test_an_environment_whose_instances_fail_turns_invalid(world: World) -> None:
    """Three failures in a row, with AWS's text; an update by the client starts the count again."""
    await world.environment()
    await world.queue(on=["default"])
    await world.demand(1)
    for _ in range(3):
        await world.scaler.evaluate()
        await world.db.execute(
            "UPDATE instances SET status = 'FAILED', ended_at = now() WHERE ended_at IS NULL"
        )
    await world.scaler.evaluate()
    query = "SELECT status, status_reason FROM compute_environments"
    status, reason = await world.db.fetchrow(query)
    assert status == "INVALID"
    assert reason.startswith("CLIENT_ERROR - Your compute environment has been INVALIDATED")
    assert len(await world.instances()) == 3
    await world.db.execute("UPDATE compute_environments SET status = 'VALID', status_reason = ''")
    await world.scaler.evaluate()
    assert len(await world.instances()) == 4


async def test_failures_end_with_an_instance_that_came_up_and_is_over(world: World) -> None:
    """Its agent is forgotten by then; that it registered is on its own record."""
    await world.environment()
    await world.queue(on=["default"])
    await world.demand(1)
    for came_up in (False, False, True, False):
        await world.scaler.evaluate()
        (instance_id,) = (k for k, v in (await world.instances()).items() if v == "ORDERED")
        if came_up:
            await world.register(instance_id)
        async with transaction(world.pool) as conn:
            status = InstanceStatus.TERMINATED if came_up else InstanceStatus.FAILED
            await instance.ended(conn, instance_id, status, "a test")
        await world.db.execute("DELETE FROM agents")
    await world.scaler.evaluate()
    assert await status_of(world) == "VALID"


async def test_instances_that_were_taken_back_while_booting_do_not_count(world: World) -> None:
    """They are replaced; they neither fail the environment nor forgive what failed before."""
    await world.environment()
    await world.queue(on=["default"])
    await world.demand(1)
    for status in ("FAILED", "FAILED", "TERMINATED", "TERMINATED"):
        await world.scaler.evaluate()
        await world.db.execute(
            "UPDATE instances SET status = $1, ended_at = now() WHERE ended_at IS NULL", status
        )
    await world.scaler.evaluate()
    assert await status_of(world) == "VALID"
    assert len(await world.instances()) == 5
    await fail(world, list(await world.instances())[-1])
    await world.scaler.evaluate()
    assert await status_of(world) == "INVALID"


async def test_a_deleted_environment_goes_with_its_last_instance(world: World) -> None:
    """DELETING gives everything back, then the row goes."""
    await world.environment(minv_cpus=2)
    await world.scaler.evaluate()
    await world.db.execute("UPDATE compute_environments SET status = 'DELETING'")
    await world.scaler.evaluate()
    assert list((await world.instances()).values()) == ["TERMINATING"]
    await world.reconciler.tick()
    await world.scaler.evaluate()
    assert await world.db.fetchval("SELECT count(*) FROM compute_environments") == 0


@pytest.mark.parametrize(
    ("lease", "is_late"),
    [
        ("UPDATE leases SET since = now() - interval '1 day'", True),
        ("UPDATE leases SET since = now() - interval '10 seconds'", False),
        ("UPDATE leases SET expires_at = now()", False),
    ],
    ids=["served", "serves again", "nobody serves"],
)
async def test_an_instance_is_late_only_where_it_could_have_registered(
    world: World, lease: str, *, is_late: bool
) -> None:
    """While no scheduler took registrations, instances that boot are not to blame."""
    await world.environment()
    await world.queue(on=["default"])
    await world.demand(1)
    await world.scaler.evaluate()
    await world.db.execute("UPDATE instances SET ordered_at = now() - interval '1 hour'")
    await world.db.execute(lease)
    await world.scaler.evaluate()
    statuses = sorted((await world.instances()).values())
    assert statuses == (["ORDERED", "TERMINATING"] if is_late else ["ORDERED"])


async def fail(world: World, *instance_ids: str) -> None:
    """Instances never joined."""
    await world.db.execute(
        "UPDATE instances SET status = 'FAILED', ended_at = clock_timestamp()"
        " WHERE instance_id = ANY($1::text[])",
        instance_ids,
    )


async def status_of(world: World) -> str:
    """Status of the one environment."""
    status: str = await world.db.fetchval("SELECT status FROM compute_environments")
    return status


async def test_failures_beside_instances_of_the_same_order_that_joined(world: World) -> None:
    """Some joined: the environment is in order."""
    await world.environment(minv_cpus=8)
    await world.scaler.evaluate()
    joined, *failed = await world.instances()
    await world.register(joined)
    await fail(world, *failed)
    await world.scaler.evaluate()
    assert await status_of(world) == "VALID"
    assert len(await world.instances()) == 7


async def test_failures_of_old_instances_do_not_follow_a_repair(world: World) -> None:
    """Of those ordered before the environment turned INVALID some fail only afterwards."""
    await world.environment(minv_cpus=12, maxv_cpus=12)
    await world.scaler.evaluate()
    instance_ids = list(await world.instances())
    await fail(world, *instance_ids[:3])
    await world.scaler.evaluate()
    assert await status_of(world) == "INVALID"
    await fail(world, *instance_ids[3:])
    await world.db.execute("UPDATE compute_environments SET status = 'UPDATING'")
    await world.scaler.evaluate()
    assert await status_of(world) == "VALID"
    assert len(await world.instances()) == 12


async def test_failures_do_not_follow_a_name(world: World) -> None:
    """An environment that was made anew under an old name begins anew."""
    await world.environment(minv_cpus=8)
    await world.scaler.evaluate()
    await world.db.execute("DELETE FROM compute_environments")
    await fail(world, *await world.instances())
    await world.environment(minv_cpus=8, status="CREATING")
    await world.scaler.evaluate()
    assert await status_of(world) == "VALID"


async def test_who_places_jobs_hears_of_a_status(world: World) -> None:
    """An environment that turned INVALID must take no more jobs."""
    heard = asyncio.Event()
    await world.db.add_listener("longshore_environments", lambda *_: heard.set())
    await world.environment(types=["nothing.known"])
    await world.scaler.evaluate()
    assert await status_of(world) == "INVALID"
    async with asyncio.timeout(PATIENCE_SECONDS):
        await heard.wait()
