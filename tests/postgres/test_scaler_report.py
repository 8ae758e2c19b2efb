"""What ScalerService says of capacity, over gRPC on a real database."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from capacity_world import World, a_world

from longshore.domain.errors import InvalidRequest
from longshore.rpc.channel import open_channel
from longshore.rpc.errors import from_rpc_error
from longshore.rpc.server import GrpcServer
from longshore.scaler import history
from longshore.scaler.history import ActivityHistory
from longshore.scaler.report import CapacityReports
from longshore.scaler.servicer import ScalerServicer
from longshore.v1 import scaler_service_pb2 as pb
from longshore.v1 import scaler_service_pb2_grpc as pb_grpc


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(database_url, tmp_path / "instances") as made:
        yield made


@pytest.fixture
async def scaler(world: World) -> AsyncIterator[pb_grpc.ScalerServiceStub]:
    server = GrpcServer("127.0.0.1:0")
    server.add(
        pb_grpc.add_ScalerServiceServicer_to_server,
        ScalerServicer(world.scaler, CapacityReports(world.pool)),
        "longshore.v1.ScalerService",
    )
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(server)
        channel = await stack.enter_async_context(open_channel(f"127.0.0.1:{server.port}"))
        yield pb_grpc.ScalerServiceStub(channel)


async def test_capacity_is_summed_by_what_instances_do(
    world: World, scaler: pb_grpc.ScalerServiceStub
) -> None:
    """Busy, idle, booting, draining; what waits, what it costs, and what was decided last."""
    await world.environment("a", minv_cpus=8)
    await world.environment(
        "b", type="UNMANAGED", resource_type=None, maxv_cpus=None, unmanagedv_cpus=4
    )
    await world.queue("q", on=["a", "b"])
    await scaler.Evaluate(pb.EvaluateRequest())
    busy, idle, leaving, _booting = await world.instances()
    for instance_id in (busy, idle, leaving):
        await world.register(instance_id)
    await world.attempt(busy)
    await world.db.execute("UPDATE instances SET price_per_hour = 0.25")
    await world.db.execute(
        "UPDATE instances SET status = 'TERMINATING' WHERE instance_id = $1", leaving
    )
    await world.demand(7, queue="q")
    answer = await scaler.DescribeCapacity(pb.DescribeCapacityRequest())
    a, b = answer.compute_environments
    sums = [(part.instances, part.vcpus) for part in (a.busy, a.idle, a.booting, a.draining)]
    assert sums == [(1, 2)] * 4
    assert (a.held_vcpus, a.runnable_jobs, a.cost_per_hour) == (1, 7, 1)
    assert (a.min_vcpus, a.desired_vcpus, a.max_vcpus) == (8, 8, 8)
    assert (a.type, a.resource_type, a.state, a.status) == ("MANAGED", "EC2", "ENABLED", "VALID")
    assert a.last_activity.ordered == 4
    assert a.last_activity.order_id == str(
        await world.db.fetchval("SELECT order_id FROM capacity_orders")
    )
    assert (b.type, b.max_vcpus, b.runnable_jobs) == ("UNMANAGED", 4, 7)
    assert not b.HasField("last_activity")
    named = await scaler.DescribeCapacity(
        pb.DescribeCapacityRequest(compute_environments=["b", "none"])
    )
    assert [entry.compute_environment for entry in named.compute_environments] == ["b"]


async def test_a_slot_with_its_job_is_busy(world: World, scaler: pb_grpc.ScalerServiceStub) -> None:
    """Though it takes no other attempt."""
    await world.environment("a", minv_cpus=2)
    await world.scaler.evaluate()
    (slot,) = await world.instances()
    await world.register(slot, status="DRAINING")
    await world.attempt(slot)
    (capacity,) = (await scaler.DescribeCapacity(pb.DescribeCapacityRequest())).compute_environments
    assert (capacity.busy.instances, capacity.draining.instances) == (0, 1)
    await world.db.execute("UPDATE instances SET instance_type = 'fargate.2x4096'")
    (capacity,) = (await scaler.DescribeCapacity(pb.DescribeCapacityRequest())).compute_environments
    assert (capacity.busy.instances, capacity.draining.instances) == (1, 0)


async def test_activities_go_page_by_page(world: World, scaler: pb_grpc.ScalerServiceStub) -> None:
    """Newest first, of one environment or all."""
    for number in range(5):
        await world.db.execute(
            "INSERT INTO scaling_activities (compute_environment, desiredv_cpus, ordered,"
            " terminated, reason) VALUES ($1, $2, 1, 2, 'why')",
            "a" if number % 2 else "b",
            number,
        )
    request = pb.ListScalingActivitiesRequest(max_results=2)
    seen = []
    while True:
        page = await scaler.ListScalingActivities(request)
        seen += [activity.desired_vcpus for activity in page.activities]
        if not page.next_token:
            break
        request.next_token = page.next_token
    assert seen == [4, 3, 2, 1, 0]
    only = await scaler.ListScalingActivities(
        pb.ListScalingActivitiesRequest(compute_environment="a")
    )
    assert [activity.desired_vcpus for activity in only.activities] == [3, 1]
    first = only.activities[0]
    assert (first.ordered, first.terminated, first.reason, first.order_id) == (1, 2, "why", "")
    assert first.time.seconds > 0


@pytest.mark.parametrize(
    "request_",
    [
        pb.ListScalingActivitiesRequest(max_results=0),
        pb.ListScalingActivitiesRequest(max_results=1001),
        pb.ListScalingActivitiesRequest(next_token="rubbish"),  # noqa: S106 - no password
        pb.DescribeCapacityRequest(compute_environments=["x"] * 101),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    scaler: pb_grpc.ScalerServiceStub,
    request_: pb.ListScalingActivitiesRequest | pb.DescribeCapacityRequest,
) -> None:
    call = (
        scaler.DescribeCapacity(request_)
        if isinstance(request_, pb.DescribeCapacityRequest)
        else scaler.ListScalingActivities(request_)
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert isinstance(from_rpc_error(caught.value), InvalidRequest)


async def test_old_activities_are_forgotten(world: World) -> None:
    """But for the last one of each environment, and those from which failures count."""
    for name, days, reason, is_invalidated in (
        ("a", 50, "one", False),
        ("a", 49, "two", True),
        ("a", 48, "three", False),
        ("a", 1, "four", False),
        ("b", 50, "five", False),
    ):
        await world.db.execute(
            "INSERT INTO scaling_activities (compute_environment, desiredv_cpus, ordered,"
            " terminated, reason, is_invalidated, at)"
            " VALUES ($1, 0, 0, 0, $3, $4, now() - make_interval(days => $2))",
            name,
            days,
            reason,
            is_invalidated,
        )
    await ActivityHistory(world.pool, timedelta(days=42)).tick()
    left = await world.db.fetch("SELECT reason FROM scaling_activities ORDER BY activity_id")
    assert [row["reason"] for row in left] == ["two", "four", "five"]


async def test_activities_that_stay_do_not_keep_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are of those that are never forgotten."""
    monkeypatch.setattr(history, "PRUNE_BATCH", 2)
    names = ("a", "b", "c", "d", "d", "d", "d")
    for number, name in enumerate(names):
        await world.db.execute(
            "INSERT INTO scaling_activities (compute_environment, desiredv_cpus, ordered,"
            " terminated, reason, at) VALUES ($1, 0, 0, 0, $2, now() - make_interval(days => 50))",
            name,
            str(number),
        )
    keeper = ActivityHistory(world.pool, timedelta(days=42))
    await keeper.tick()
    await keeper.tick()
    left = await world.db.fetch("SELECT reason FROM scaling_activities ORDER BY activity_id")
    assert [row["reason"] for row in left] == ["0", "1", "2", "6"]
