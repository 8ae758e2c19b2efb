"""The local provider: slots, interruptions, many at one time, with real processes."""

import contextlib
import platform
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from capacity_world import World, a_world
from support.patience import PATIENCE_SECONDS

from longshore.provisioning.instances.reporting import InstanceFilter, InstanceReports
from longshore.provisioning.local import provider
from longshore.v1 import provisioning_service_pb2 as pb

STUBBORN = ("/bin/sh", "-c", "trap '' USR1; while :; do /bin/sleep 0.1; done")
ON_X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="those slots are x86_64")


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    directory = tmp_path / "instances"
    async with a_world(database_url, directory, agent_command=STUBBORN, limit=3) as made:
        await made.environment()
        yield made


def an_order(kind: str, weight: float, count: int) -> pb.ProvisionRequest:
    entry = pb.CapacityOrderEntry(
        instance_type=kind,
        purchase_option=pb.PURCHASE_OPTION_ON_DEMAND,
        weight=weight,
        max_count=count,
    )
    return pb.ProvisionRequest(
        order=pb.CapacityOrder(
            order_id=str(uuid.uuid4()),
            compute_environment="default",
            target_vcpus=weight * count,
            entries=[entry],
            reason="a test",
        )
    )


async def order(world: World, kind: str = "local.quarter", count: int = 1) -> list[str]:
    """Instances that are to be launched."""
    weight = 0.25 if kind.startswith("fargate") else 2
    response = await world.provisioning.Provision(
        an_order(kind, weight, count), timeout=PATIENCE_SECONDS
    )
    return [instance.instance_id for instance in response.instances]


async def launch(world: World, kind: str = "local.quarter", count: int = 1) -> list[str]:
    """Instances that run."""
    instance_ids = await order(world, kind, count)
    await world.reconciler.tick()
    return instance_ids


async def until(world: World, instance_id: str, status: str) -> None:
    async def is_so() -> bool:
        return (await world.instances())[instance_id] == status

    await world.tick_until(is_so)


@ON_X86
async def test_a_slot_is_an_agent_of_exactly_its_size(world: World) -> None:
    """All of its memory is the job's."""
    (instance_id,) = await launch(world, "fargate.0.25x512")
    environ = await world.environ(instance_id)
    assert environ["LONGSHORE_VCPU_MILLI"] == "250"
    assert environ["LONGSHORE_MEMORY_MIB"] == "512"
    row = await world.db.fetchrow("SELECT vcpus, memory_mib, price_per_hour FROM instances")
    assert (row["vcpus"], row["memory_mib"]) == (0.25, 512)


async def test_what_an_agent_prints_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log is put aside while it runs, and both are what stays of the instance."""
    monkeypatch.setattr(provider, "LOG_BYTES", 1_000)
    (instance_id,) = await launch(world)
    log = world.directory / instance_id / "agent.log"
    for text in ("x" * 2_000, "y" * 2_000, "end"):
        with log.open("a") as file:
            file.write(text)
        await world.reconciler.tick()
    assert log.read_text() == "end"
    assert (log.parent / "agent.log.1").read_text() == "y" * 2_000
    provider._keep_only_log(log.parent)
    assert provider._is_only_log(log.parent)
    assert len(list(log.parent.iterdir())) == 2


@ON_X86
async def test_a_slot_whose_agent_has_gone_is_over(world: World) -> None:
    """It was drained from the start: it exits with its only attempt, and that is its end."""
    (instance_id,) = await launch(world, "fargate.0.25x512")
    await world.register(instance_id, status="DRAINING")
    attempt = await world.attempt(instance_id)
    await world.end_attempt(attempt)
    psutil.Process((await world.pids())[instance_id]).kill()
    await until(world, instance_id, "TERMINATED")
    page = await InstanceReports(world.pool).instances(InstanceFilter("", "", ended=True), 10, "")
    assert [(item.status, item.status_reason) for item in page.items] == [
        ("TERMINATED", "It was drained.")
    ]


async def test_the_machine_runs_so_many_whatever_is_ordered_at_one_time(world: World) -> None:
    """The bound holds across orders; it is lifted by the end of an instance."""
    first = await launch(world, count=2)
    response = await world.provisioning.Provision(
        an_order("local.quarter", 2, 2), timeout=PATIENCE_SECONDS
    )
    await world.reconciler.tick()
    assert len(await world.pids()) == 3
    assert [(error.reason, error.instance_type) for error in response.errors] == [
        ("INSTANCE_LIMIT", "local.quarter")
    ]
    await world.provisioning.InterruptInstance(
        pb.InterruptInstanceRequest(instance_id=first[0], notice_seconds=0),
        timeout=PATIENCE_SECONDS,
    )
    await until(world, first[0], "TERMINATED")
    assert len(await launch(world)) == 1


async def test_another_architecture_is_refused(world: World) -> None:
    """The reason is constant, the message names both."""
    kind = "c6i.large" if platform.machine() == "aarch64" else "c6g.large"
    response = await world.provisioning.Provision(an_order(kind, 2, 1), timeout=PATIENCE_SECONDS)
    (error,) = response.errors
    assert error.reason == "UNSUPPORTED_ARCHITECTURE"
    assert kind in error.message
    assert list(response.instances) == []


async def test_an_interruption_needs_no_grace(world: World) -> None:
    """The process takes no SIGUSR1 and has a live attempt: it is killed when the notice is over."""
    (instance_id,) = await launch(world)
    await world.register(instance_id)
    await world.attempt(instance_id)
    await world.provisioning.InterruptInstance(
        pb.InterruptInstanceRequest(instance_id=instance_id, notice_seconds=600),
        timeout=PATIENCE_SECONDS,
    )
    await world.reconciler.tick()
    assert instance_id in await world.pids()
    await world.db.execute("UPDATE instances SET ends_at = now()")
    await until(world, instance_id, "TERMINATED")
    assert await world.pids() == {}


async def test_instances_of_another_machine_are_left_to_it(
    database_url: str, tmp_path: Path
) -> None:
    """Whoever takes over does not start them too: an instance would be there twice."""
    directory = tmp_path / "instances"
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(a_world(database_url, directory, machine="first"))
        await first.environment()
        working, lost, leaving, booting = await launch(first, count=4)
        for instance_id in (working, lost, leaving):
            await first.register(instance_id, idle=3600)
        await first.attempt(working)
        (unborn,) = await order(first)
        before = await first.pids()
        await first.leadership.release()

        second = await stack.enter_async_context(
            a_world(database_url, tmp_path / "elsewhere", machine="second")
        )
        await second.db.execute("UPDATE agents SET status = 'LOST' WHERE instance_id = $1", lost)
        await second.db.execute(
            "UPDATE instances SET status = 'TERMINATING', terminating_at = now() - interval '1 h' "
            "WHERE instance_id = $1",
            leaving,
        )
        assert await second.reconciler.tick()
        ended = {lost: "TERMINATED", leaving: "TERMINATED", unborn: "TERMINATED"}
        assert await second.instances() == {working: "LAUNCHED", booting: "LAUNCHED", **ended}
        assert await second.pids() == {}
        (own,) = await launch(second)
        assert (await second.pids()).keys() == {own}
        await second.reconciler.stop_all()
        expected = {working: "LAUNCHED", booting: "LAUNCHED", own: "TERMINATED", **ended}
        assert await second.instances() == expected

        # The first one has not touched anything meanwhile, and finds its own again.
        await second.leadership.release()
        assert await first.reconciler.tick()
        pids = await first.pids()
        assert {key: pids[key] for key in (working, booting)} == {
            key: before[key] for key in (working, booting)
        }
