"""Provisioning on a real database, with real processes in the place of agents."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import psutil
import pytest
from capacity_world import World, a_world, kill
from support.patience import PATIENCE_SECONDS

from longshore.domain.errors import InvalidRequest, NotFound, Unavailable
from longshore.provisioning.instances import stray
from longshore.rpc.errors import from_rpc_error
from longshore.v1 import provisioning_service_pb2 as pb

TERMINATED = "TERMINATED"


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(database_url, tmp_path / "instances") as made:
        await made.environment()
        yield made


def an_order(
    count: int = 1, *, kind: str = "local.quarter", order_id: str = "", target: int = 0
) -> pb.ProvisionRequest:
    """An order for instances of two vCPUs."""
    entry = pb.CapacityOrderEntry(
        instance_type=kind,
        purchase_option=pb.PURCHASE_OPTION_ON_DEMAND,
        weight=2,
        max_count=count,
    )
    return pb.ProvisionRequest(
        order=pb.CapacityOrder(
            order_id=order_id or str(uuid.uuid4()),
            compute_environment="default",
            target_vcpus=target or 2 * count,
            entries=[entry],
            reason="a test",
        )
    )


async def launch(world: World, count: int = 1) -> list[str]:
    """Instances that run."""
    response = await world.provisioning.Provision(an_order(count), timeout=PATIENCE_SECONDS)
    await world.reconciler.tick()
    return [instance.instance_id for instance in response.instances]


async def terminate(world: World, *instance_ids: str) -> list[str]:
    request = pb.TerminateInstancesRequest(instance_ids=instance_ids, reason="not needed")
    return list(
        (
            await world.provisioning.TerminateInstances(request, timeout=PATIENCE_SECONDS)
        ).instance_ids
    )


async def test_an_order_becomes_processes(world: World) -> None:
    """Each instance is a process that knows its instance, type and size."""
    (instance_id,) = await launch(world)
    assert await world.instances() == {instance_id: "LAUNCHED"}
    environ = await world.environ(instance_id)
    assert environ["LONGSHORE_INSTANCE_ID"] == instance_id
    assert environ["LONGSHORE_COMPUTE_ENVIRONMENT"] == "default"
    assert environ["LONGSHORE_INSTANCE_TYPE"] == "local.quarter"
    assert environ["LONGSHORE_VCPU_MILLI"] == "2000"
    assert environ["LONGSHORE_MEMORY_MIB"] == str(2048 - 32)
    assert environ["LONGSHORE_DATA_DIR"] == str(world.directory / instance_id)
    assert "LONGSHORE_DATABASE_URL" not in environ


async def test_an_order_is_answered_once(world: World) -> None:
    """The same id again gets the same instances, before and after they were launched."""
    order = an_order(2)
    first, same = await asyncio.gather(
        world.provisioning.Provision(order, timeout=PATIENCE_SECONDS),
        world.provisioning.Provision(order, timeout=PATIENCE_SECONDS),
    )
    await world.reconciler.tick()
    third = await world.provisioning.Provision(order, timeout=PATIENCE_SECONDS)
    await world.reconciler.tick()
    assert first == same == third
    assert len(await world.pids()) == len(await world.instances()) == 2


async def test_an_order_gets_what_there_is(world: World) -> None:
    """Beyond the machine's limit the answer says what was short, and stays so."""
    order = an_order(20)
    response = await world.provisioning.Provision(order, timeout=PATIENCE_SECONDS)
    assert len(response.instances) == 8
    assert [error.reason for error in response.errors] == ["INSTANCE_LIMIT"]
    assert await world.provisioning.Provision(order, timeout=PATIENCE_SECONDS) == response


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"kind": "x1.tiny"}, InvalidRequest, "order.entries[0].instanceType"),
        ({"order_id": "seven"}, InvalidRequest, "order.orderId"),
        ({"target": -1}, InvalidRequest, "order.targetVcpus"),
        ({"count": 0, "target": 1}, InvalidRequest, "order.entries[0].maxCount"),
    ],
)
async def test_a_wrong_order_is_refused(
    world: World, change: dict[str, int | str], error: type[InvalidRequest], text: str
) -> None:
    """The answer names the member, and nothing is on record."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.provisioning.Provision(an_order(**change), timeout=PATIENCE_SECONDS)  # type: ignore[arg-type]
    refused = from_rpc_error(caught.value)
    assert isinstance(refused, error)
    assert refused.fields["member"] == text
    assert await world.db.fetchval("SELECT count(*) FROM capacity_orders") == 0


async def test_an_order_needs_its_environment(world: World) -> None:
    """An unknown compute environment is NOT_FOUND."""
    await world.db.execute("DELETE FROM compute_environments")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.provisioning.Provision(an_order(), timeout=PATIENCE_SECONDS)
    assert isinstance(from_rpc_error(caught.value), NotFound)


async def test_an_agent_that_dies_is_started_again(world: World) -> None:
    """Same instance, same directory, new process."""
    (instance_id,) = await launch(world)
    first = (await world.pids())[instance_id]
    kill(first)

    async def restarted() -> bool:
        return (await world.pids()).get(instance_id, first) != first

    await world.tick_until(restarted)
    assert await world.instances() == {instance_id: "LAUNCHED"}


async def test_an_agent_that_does_not_stay_up_fails_its_instance(
    database_url: str, tmp_path: Path
) -> None:
    """After several deaths in a row the instance is FAILED, and its log is kept."""
    command = ("/bin/sh", "-c", "echo no luck; exit 3")
    async with a_world(database_url, tmp_path, agent_command=command) as world:
        await world.environment()
        (instance_id,) = await launch(world)

        async def failed() -> bool:
            return await world.instances() == {instance_id: "FAILED"}

        await world.tick_until(failed)
        directory = tmp_path / instance_id
        assert [path.name for path in directory.iterdir()] == ["agent.log"]
        assert (directory / "agent.log").read_text() == "no luck\n" * 5
        reason = await world.db.fetchval("SELECT status_reason FROM instances")
        assert reason == "Its agent ended 5 times in a row; see its log."


async def test_a_command_that_is_not_there_fails_the_instance(
    database_url: str, tmp_path: Path
) -> None:
    """The provider's words are the reason."""
    async with a_world(database_url, tmp_path, agent_command=("/nowhere/agent",)) as world:
        await world.environment()
        await launch(world)
        status, reason = await world.db.fetchrow("SELECT status, status_reason FROM instances")
        assert status == "FAILED"
        assert "No such file or directory" in reason


async def test_a_draining_agent_ends_by_itself(world: World) -> None:
    """TERMINATING waits for live attempts, however long, and for the agent to exit."""
    (instance_id,) = await launch(world)
    await world.register(instance_id)
    attempt = await world.attempt(instance_id)
    assert await terminate(world, instance_id, "i-" + "0" * 17) == [instance_id]
    assert await terminate(world, instance_id) == []
    await world.register(instance_id, status="DRAINING")
    await world.reconciler.tick()
    assert await world.instances() == {instance_id: "TERMINATING"}
    assert instance_id in await world.pids()
    await world.end_attempt(attempt)
    await world.reconciler.tick()
    assert instance_id in await world.pids()
    psutil.Process((await world.pids())[instance_id]).terminate()

    async def over() -> bool:
        return await world.instances() == {instance_id: TERMINATED}

    await world.tick_until(over)
    assert await world.db.fetchval("SELECT status_reason FROM instances") == "not needed"


async def test_a_draining_agent_with_a_live_attempt_is_started_again(world: World) -> None:
    """It died while an attempt ran: the attempt is not given up for that."""
    (instance_id,) = await launch(world)
    await world.register(instance_id, status="DRAINING")
    await world.attempt(instance_id)
    await terminate(world, instance_id)
    first = (await world.pids())[instance_id]
    kill(first)

    async def restarted() -> bool:
        return (await world.pids()).get(instance_id, first) != first

    await world.tick_until(restarted)
    assert await world.instances() == {instance_id: "TERMINATING"}


async def test_an_empty_agent_that_stays_is_ended(database_url: str, tmp_path: Path) -> None:
    """SIGUSR1 after the grace, SIGKILL after another; a live attempt would have held it."""
    stubborn = ("/bin/sh", "-c", "trap '' USR1; while :; do /bin/sleep 0.1; done")
    async with a_world(database_url, tmp_path, agent_command=stubborn, grace=0.3) as world:
        await world.environment()
        held, empty = await launch(world, 2)
        for instance_id in (held, empty):
            await world.register(instance_id, status="DRAINING")
        await world.attempt(held)
        await terminate(world, held, empty)

        async def over() -> bool:
            return (await world.instances())[empty] == TERMINATED

        await world.tick_until(over)
        assert (await world.instances())[held] == "TERMINATING"
        assert list(await world.pids()) == [held]


async def test_an_instance_that_never_joined_fails(world: World) -> None:
    """Given back before its agent registered: it is ended at once, and counts as failed."""
    (instance_id,) = await launch(world)
    await terminate(world, instance_id)

    async def failed() -> bool:
        return await world.instances() == {instance_id: "FAILED"}

    await world.tick_until(failed)
    assert await world.pids() == {}


async def test_an_order_given_back_before_launch_is_never_launched(world: World) -> None:
    """ORDERED, TERMINATING, TERMINATED without a process."""
    response = await world.provisioning.Provision(an_order(), timeout=PATIENCE_SECONDS)
    instance_id = response.instances[0].instance_id
    await terminate(world, instance_id)
    await world.reconciler.tick()
    assert await world.instances() == {instance_id: TERMINATED}
    assert not (world.directory / instance_id).exists()


async def test_a_lost_instance_is_over(world: World) -> None:
    """Its agent was given up: it is not started again."""
    (instance_id,) = await launch(world)
    await world.register(instance_id, status="LOST")
    kill((await world.pids())[instance_id])

    async def over() -> bool:
        return await world.instances() == {instance_id: TERMINATED}

    await world.tick_until(over)


async def test_what_nobody_ordered_is_ended(world: World) -> None:
    """A process whose record is over goes."""
    (instance_id,) = await launch(world)
    await world.db.execute("UPDATE instances SET status = 'TERMINATED', ended_at = now()")

    async def gone() -> bool:
        return not await world.pids()

    await world.tick_until(gone)
    await world.reconciler.tick()
    assert [path.name for path in (world.directory / instance_id).iterdir()] == ["agent.log"]


async def test_who_lost_the_lease_changes_nothing(world: World) -> None:
    """Another machine is at work now: this one orders nothing and launches nothing."""
    await world.provisioning.Provision(an_order(), timeout=PATIENCE_SECONDS)
    await world.db.execute("UPDATE leases SET token = token + 1, holder = 'other'")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.provisioning.Provision(an_order(), timeout=PATIENCE_SECONDS)
    assert isinstance(from_rpc_error(caught.value), Unavailable)
    assert await world.reconciler.tick() is False
    assert await world.reconciler.tick() is False
    assert list((await world.instances()).values()) == ["ORDERED"]
    assert await world.pids() == {}


async def test_all_instances_stop_with_the_service(world: World) -> None:
    """Processes end, records end, with the reason."""
    await launch(world, 2)
    await world.reconciler.stop_all()
    assert set((await world.instances()).values()) == {TERMINATED}
    assert await world.pids() == {}
    reasons = await world.db.fetch("SELECT DISTINCT status_reason FROM instances")
    assert [row[0] for row in reasons] == ["The instance was stopped together with longshore."]


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_what_could_not_be_cleaned_up_is_tried_again(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_restarted: bool
) -> None:
    """The record ends, so that its jobs go on elsewhere; what it left behind is not forgotten."""
    monkeypatch.setattr(stray, "CLEAN_AGAIN", timedelta())
    engine_answers = tmp_path / "engine-answers"
    command = ("/bin/sh", "-c", f"test -e {engine_answers}")
    directory = tmp_path / "instances"
    async with contextlib.AsyncExitStack() as stack:
        world = await stack.enter_async_context(
            a_world(database_url, directory, cleanup_command=command)
        )
        await world.environment()
        over, live = await launch(world, 2)
        for instance_id in (over, live):
            (directory / instance_id / "journal").touch()
        await world.register(over, status="LOST")
        kill((await world.pids())[over])

        async def ended() -> bool:
            return (await world.instances())[over] == TERMINATED

        await world.tick_until(ended)
        assert (directory / over / "journal").exists()
        if is_restarted:
            await world.leadership.release()
            world = await stack.enter_async_context(
                a_world(database_url, directory, cleanup_command=command)
            )
        engine_answers.touch()
        await world.reconciler.tick()
        assert [path.name for path in (directory / over).iterdir()] == ["agent.log"]
        assert (directory / live / "journal").exists()
