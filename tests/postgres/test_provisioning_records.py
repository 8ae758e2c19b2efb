"""What is on record of instances: notices, interruptions, listings, offers, costs."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from support.cloud import KIND, Cloud, CloudWorld, a_cloud_world, add_environment, an_order
from support.patience import PATIENCE_SECONDS

from longshore.domain.catalogue import Catalogue
from longshore.domain.errors import InvalidRequest, LongshoreError, NotFound, PreconditionFailed
from longshore.domain.instance import InstanceStatus
from longshore.domain.job.job import JobKey
from longshore.domain.job.record import AttemptMove
from longshore.domain.page import encode_token
from longshore.domain.scaling.market import Quote
from longshore.provisioning.instances.reporting import InstanceReports
from longshore.provisioning.orders.quoting import Quotes
from longshore.provisioning.servicer import ProvisioningServicer
from longshore.rpc.channel import open_channel
from longshore.rpc.errors import from_rpc_error
from longshore.rpc.server import GrpcServer
from longshore.state.provisioning import instance
from longshore.state.scheduler import attempt
from longshore.v1 import provisioning_service_pb2 as pb
from longshore.v1 import provisioning_service_pb2_grpc as pb_grpc

NOBODY = "i-" + "0" * 17


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[CloudWorld]:
    await add_environment(database_url, "default")
    async with a_cloud_world(database_url, Cloud()) as made:
        yield made


@pytest.fixture
async def stub(world: CloudWorld) -> AsyncIterator[pb_grpc.ProvisioningServiceStub]:
    server = GrpcServer("127.0.0.1:0")
    server.add(
        pb_grpc.add_ProvisioningServiceServicer_to_server,
        ProvisioningServicer(world.provisioning, InstanceReports(world.pool)),
        "longshore.v1.ProvisioningService",
    )
    async with server, open_channel(f"127.0.0.1:{server.port}") as channel:
        yield pb_grpc.ProvisioningServiceStub(channel)


async def running(world: CloudWorld, count: int = 1) -> list[str]:
    """Instances whose agents registered."""
    answer = await world.provisioning.provision(an_order(count))
    await world.reconciler.tick()
    ids = [instance_id for instance_id, _, _ in answer.instances]
    for instance_id in ids:
        await world.register(instance_id)
    return ids


async def notice(world: CloudWorld, instance_id: str, text: str, seconds: float | None) -> None:
    """What the scheduler stores when an agent tells of a notice."""
    at = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
    await world.db.execute(
        "UPDATE agents SET notice = $2, notice_at = $3, status = 'DRAINING' WHERE instance_id = $1",
        instance_id,
        text,
        at,
    )


async def times(world: CloudWorld, instance_id: str) -> tuple[float | None, float | None]:
    """Seconds until attempts are stopped, and until the instance is ended."""
    row = await world.db.fetchrow(
        "SELECT extract(epoch FROM drain_until - now())::float8, "
        "extract(epoch FROM ends_at - now())::float8 FROM instances WHERE instance_id = $1",
        instance_id,
    )
    return row[0], row[1]


async def refusal(call: Any) -> LongshoreError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_a_notice_drains_in_time(world: CloudWorld) -> None:
    """Attempts are stopped early enough before the end; a rebalance only drains."""
    spot, rebalanced, other = await running(world, 3)
    await notice(world, spot, "Spot instance interruption notice.", 120)
    await notice(world, rebalanced, "Rebalance recommendation.", None)
    await world.provisioning.take_notices()
    shown = await world.statuses()
    assert shown[spot] == ("DRAINING", "Spot instance interruption notice.")
    assert shown[rebalanced] == ("DRAINING", "Rebalance recommendation.")
    assert shown[other][0] == "READY"
    assert await times(world, spot) == pytest.approx((85, 120), abs=3)
    assert await times(world, rebalanced) == (None, None)


async def test_a_notice_after_a_recommendation_counts(world: CloudWorld) -> None:
    """What is on its way out already is told its end; one too short drains at once."""
    (instance_id,) = await running(world)
    await notice(world, instance_id, "Rebalance recommendation.", None)
    await world.provisioning.take_notices()
    await notice(world, instance_id, "Spot instance interruption notice.", 20)
    await world.provisioning.take_notices()
    assert (await world.statuses())[instance_id][1] == "Spot instance interruption notice."
    assert await times(world, instance_id) == pytest.approx((0, 20), abs=3)
    changed = await world.db.fetchval("SELECT xmin::text FROM instances")
    await world.provisioning.take_notices()
    assert await world.db.fetchval("SELECT xmin::text FROM instances") == changed


async def test_an_interruption_ends_the_instance_whatever_runs(
    world: CloudWorld, stub: pb_grpc.ProvisioningServiceStub
) -> None:
    """At the end of its notice, by force; before that it is left to the scheduler."""
    (instance_id,) = await running(world)
    await world.db.execute(
        "INSERT INTO attempts (job_id, array_index, attempt, attempt_id, instance_id, "
        "compute_environment, status, vcpu_milli, memory_mib, gpus, log_stream_name) "
        "VALUES (gen_random_uuid(), -1, 1, 'a', $1, 'default', 'RUNNING', 1000, 64, 0, 'log')",
        instance_id,
    )
    request = pb.InterruptInstanceRequest(instance_id=instance_id)
    answer = await stub.InterruptInstance(request, timeout=PATIENCE_SECONDS)
    left = answer.end_time.ToDatetime(UTC) - datetime.now(UTC)
    assert left.total_seconds() == pytest.approx(120, abs=3)
    await world.reconciler.tick()
    assert world.cloud.ended == []
    assert isinstance(
        await refusal(stub.InterruptInstance(request, timeout=PATIENCE_SECONDS)), PreconditionFailed
    )
    await world.db.execute("UPDATE instances SET ends_at = now()")
    await world.reconciler.tick()
    assert world.cloud.ended == [(instance_id, True)]
    await world.reconciler.tick()
    status, reason = (await world.statuses())[instance_id]
    assert status == "TERMINATED"
    assert reason.startswith("Spot interruption: the provider takes the instance back at ")


@pytest.mark.parametrize(
    ("instance_id", "seconds", "error"),
    [(NOBODY, 1, NotFound), ("i-1", 1, InvalidRequest), (NOBODY, 601, InvalidRequest)],
)
async def test_a_wrong_interruption_is_refused(
    stub: pb_grpc.ProvisioningServiceStub,
    instance_id: str,
    seconds: int,
    error: type[LongshoreError],
) -> None:
    request = pb.InterruptInstanceRequest(instance_id=instance_id, notice_seconds=seconds)
    assert isinstance(
        await refusal(stub.InterruptInstance(request, timeout=PATIENCE_SECONDS)), error
    )


async def test_a_time_to_be_empty_is_kept_and_only_gets_earlier(world: CloudWorld) -> None:
    """For what is on its way out already, too."""
    first, second = await running(world, 2)
    now = datetime.now(UTC)
    soon, later = now + timedelta(minutes=1), now + timedelta(minutes=2)
    assert await world.provisioning.terminate([first], "update", later) == [first]
    assert await world.provisioning.terminate([second], "idle") == [second]
    assert await world.provisioning.terminate([first, second], "now", soon) == []
    assert await world.provisioning.terminate([first, second], "late", later) == []
    rows = await world.db.fetch("SELECT drain_until, status_reason FROM instances")
    assert [tuple(row) for row in rows] == [(soon, "now")] * 2


async def test_instances_are_listed_in_pages(
    world: CloudWorld, stub: pb_grpc.ProvisioningServiceStub
) -> None:
    """The newest order first, then what is over, the newest end first; joined machines as well."""
    old, gone, lost = [(await running(world))[0] for _ in range(3)]
    await world.provisioning.terminate([gone], "not needed")
    await world.db.execute("UPDATE agents SET status = 'LOST' WHERE instance_id = $1", gone)
    del world.cloud.running[gone]
    await world.reconciler.tick()
    del world.cloud.running[lost]
    await world.reconciler.tick()
    (new,) = await running(world)
    joined = "i-" + "f" * 17
    await world.db.execute(
        "INSERT INTO agents (instance_id, compute_environment, instance_type, architecture, "
        "runtime, unmanaged, vcpu_milli, memory_mib, gpus, status) "
        "VALUES ($1, 'mine', 'unmanaged', 'x86_64', 'docker', true, 4000, 8192, 0, 'READY')",
        joined,
    )

    async def pages(**members: Any) -> list[pb.InstanceDetail]:
        found: list[pb.InstanceDetail] = []
        request = pb.ListInstancesRequest(max_results=2, **members)
        while True:
            page = await stub.ListInstances(request, timeout=PATIENCE_SECONDS)
            assert len(page.instances) <= 2
            found += page.instances
            if not page.next_token:
                return found
            request.next_token = page.next_token

    everything = await pages(ended=True)
    assert [(item.instance_id, item.status) for item in everything] == [
        (joined, "READY"),
        (new, "READY"),
        (old, "READY"),
        (lost, "LOST"),
        (gone, "TERMINATED"),
    ]
    assert [item.instance_id for item in await pages()] == [joined, new, old]
    assert [item.instance_id for item in await pages(compute_environment="mine")] == [joined]
    (detail,) = await pages(instance_id=gone, ended=True)
    assert (detail.status_reason, detail.order_reason) == ("not needed", "a test")
    assert (detail.purchase_option, detail.zone) == (pb.PURCHASE_OPTION_SPOT, "a")
    marks = [
        detail.order_time,
        detail.launch_time,
        detail.register_time,
        detail.drain_time,
        detail.end_time,
    ]
    assert [mark.ToDatetime() for mark in marks] == sorted(mark.ToDatetime() for mark in marks)
    assert not everything[0].HasField("launch_time")
    for token in ("x", encode_token("instances:::False", [1, 1, "i\0"])):
        request = pb.ListInstancesRequest(next_token=token)
        assert isinstance(
            await refusal(stub.ListInstances(request, timeout=PATIENCE_SECONDS)), InvalidRequest
        )


def by_name(costs: Iterable[pb.Cost]) -> dict[str, float]:
    return {one.name: one.cost for one in costs}


async def test_costs_are_shared_by_what_attempts_held(
    world: CloudWorld, stub: pb_grpc.ProvisioningServiceStub
) -> None:
    """Of the environment all of it; of a job the mean of its shares of vCPU and memory."""
    (instance_id,) = await running(world)
    await world.db.execute(
        "UPDATE instances SET price_per_hour = 10, vcpus = 2, memory_mib = 1000, "
        "launched_at = now() - interval '2 hours'"
    )
    array, single = uuid.UUID(int=1), uuid.UUID(int=2)
    await world.db.execute(
        "INSERT INTO job_queues (name, state, status, priority) VALUES "
        "('busy', 'ENABLED', 'VALID', 1), ('idle', 'ENABLED', 'VALID', 1);"
        "INSERT INTO shapes (job_queue, vcpu_milli, memory_mib, gpus) VALUES ('busy', 1, 1, 0)"
    )
    for job_id, size in ((array, 2), (single, None)):
        await world.db.execute(
            "INSERT INTO jobs (job_id, seq, job_queue, shape_id, name, definition_name, "
            "definition_revision, array_size, status) "
            "SELECT $1, 1, 'busy', shape_id, 'j', 'd', 1, $2, 'RUNNING' FROM shapes",
            job_id,
            size,
        )
    # An hour each: half and a tenth of the instance; a quarter and a fifth; the whole of it.
    keys = [JobKey(array, 0), JobKey(array, 1), JobKey(single)]
    for key, vcpu_milli, memory_mib in zip(keys, (1000, 500, 2000), (100, 200, 1000), strict=True):
        await world.db.execute(
            "INSERT INTO attempts (job_id, array_index, attempt, attempt_id, instance_id, "
            "compute_environment, status, vcpu_milli, memory_mib, gpus, log_stream_name, "
            "placed_at) VALUES ($1, $2, 1, 'a', $3, 'default', 'RUNNING', $4, $5, 0, "
            "'log', now() - interval '1 hour')",
            key.job_id,
            key.array_index,
            instance_id,
            vcpu_milli,
            memory_mib,
        )
    request = pb.DescribeCostsRequest(
        job_ids=[f"{array}", f"{array}:1", f"{single}", f"{uuid.UUID(int=3)}", f"{array}:7"]
    )

    async def check() -> None:
        costs = await stub.DescribeCosts(request, timeout=PATIENCE_SECONDS)
        assert by_name(costs.compute_environments) == pytest.approx({"default": 20}, rel=1e-3)
        assert by_name(costs.job_queues) == pytest.approx(
            {"busy": 3 + 2.25 + 10, "idle": 0}, rel=1e-3
        )
        assert by_name(costs.jobs) == pytest.approx(
            {f"{array}": 3 + 2.25, f"{array}:1": 2.25, f"{single}": 10}, rel=1e-3
        )

    await check()
    # What is over costs what it did, also when its end is told twice.
    now = datetime.now(UTC)
    for _ in range(2):
        await attempt.move(
            world.db, [AttemptMove(key, 1, "ENDED", stopped_at=now) for key in keys[1:]]
        )
        await check()
    await attempt.move(world.db, [AttemptMove(keys[0], 1, "ENDED", stopped_at=now)])
    for _ in range(2):
        await instance.ended(world.db, instance_id, InstanceStatus.TERMINATED, None, now=now)
        await check()
    narrow = pb.DescribeCostsRequest(compute_environments=["none"], job_queues=["idle"])
    costs = await stub.DescribeCosts(narrow, timeout=PATIENCE_SECONDS)
    assert (len(costs.compute_environments), len(costs.job_queues), len(costs.jobs)) == (0, 1, 0)
    wrong = pb.DescribeCostsRequest(job_ids=["seven"])
    assert isinstance(await refusal(stub.DescribeCosts(wrong, timeout=PATIENCE_SECONDS)), NotFound)


async def test_a_gpu_counts_where_there_is_one(world: CloudWorld) -> None:
    """The mean is then of three shares."""
    (instance_id,) = await running(world)
    await world.db.execute(
        "UPDATE instances SET price_per_hour = 9, vcpus = 4, memory_mib = 1000, gpus = 1, "
        "launched_at = now() - interval '1 hour'"
    )
    await world.db.execute(
        "INSERT INTO shapes (job_queue, vcpu_milli, memory_mib, gpus) VALUES ('q', 1, 1, 0);"
        "INSERT INTO jobs (job_id, seq, job_queue, shape_id, name, definition_name, "
        "definition_revision, status) SELECT gen_random_uuid(), 1, 'q', shape_id, 'j', 'd', 1, "
        "'RUNNING' FROM shapes"
    )
    await world.db.execute(
        "INSERT INTO attempts (job_id, array_index, attempt, attempt_id, instance_id, "
        "compute_environment, status, vcpu_milli, memory_mib, gpus, log_stream_name, placed_at) "
        "SELECT job_id, -1, 1, 'a', $1, 'default', 'RUNNING', 1000, 250, 1, 'log', "
        "now() - interval '1 hour' FROM jobs",
        instance_id,
    )
    job_id = await world.db.fetchval("SELECT job_id FROM jobs")
    costs = await InstanceReports(world.pool).costs(["default"], [], [JobKey(job_id)])
    assert costs.jobs[0].cost == pytest.approx(9 * (0.25 + 0.25 + 1) / 3, rel=1e-3)


async def test_a_slot_has_the_tags_that_its_job_propagates(
    world: CloudWorld, stub: pb_grpc.ProvisioningServiceStub
) -> None:
    """While the job's attempt lives there; an instance that others share has none."""
    (instance_id,) = await running(world)
    await world.db.execute(
        "INSERT INTO shapes (job_queue, vcpu_milli, memory_mib, gpus) VALUES ('q', 1, 1, 0);"
        "INSERT INTO job_definitions (name, revision, status, type, detail, tags) "
        """VALUES ('d', 1, 'ACTIVE', 'container', '{}', '{"a": "theirs", "b": "theirs"}');"""
        "INSERT INTO jobs (job_id, seq, job_queue, shape_id, name, definition_name, "
        "definition_revision, status) SELECT gen_random_uuid(), 1, 'q', shape_id, 'j', 'd', 1, "
        "'RUNNING' FROM shapes;"
        "INSERT INTO job_specs (job_id, detail, container, tags) "
        """SELECT job_id, '{"propagateTags": true}', '', '{"b": "job"}' FROM jobs"""
    )
    await world.db.execute(
        "INSERT INTO attempts (job_id, array_index, attempt, attempt_id, instance_id, "
        "compute_environment, status, vcpu_milli, memory_mib, gpus, log_stream_name) "
        "SELECT job_id, -1, 1, 'a', $1, 'default', 'RUNNING', 1000, 2048, 0, 'log' FROM jobs",
        instance_id,
    )

    async def tags() -> dict[str, str]:
        answer = await stub.ListInstances(
            pb.ListInstancesRequest(instance_id=instance_id), timeout=PATIENCE_SECONDS
        )
        return dict(answer.instances[0].tags)

    assert await tags() == {}
    await world.db.execute("UPDATE instances SET instance_type = 'fargate.1x2048'")
    assert await tags() == {"a": "theirs", "b": "job"}
    await world.db.execute("""UPDATE job_specs SET detail = '{"propagateTags": false}'""")
    assert await tags() == {}
    await world.db.execute("""UPDATE job_specs SET detail = '{"propagateTags": true}'""")
    await world.db.execute("UPDATE attempts SET status = 'ENDED', stopped_at = now()")
    assert await tags() == {}


async def test_offers_follow_what_the_cloud_says(world: CloudWorld) -> None:
    """Kept, changed, forgotten; who follows capacity is woken when something changed."""
    woken = asyncio.Queue[str]()
    await world.db.add_listener("longshore_capacity", lambda *rest: woken.put_nowait(rest[-1]))
    a, b = (quote(zone, 0.03) for zone in ("a", "b"))

    async def ask(*quotes: Quote, interval: float = 0) -> list[tuple[str, float]]:
        world.cloud.quotes = list(quotes)
        keeper = Quotes(
            world.pool, world.leadership, world.cloud, Catalogue(), timedelta(seconds=interval)
        )
        for _ in range(2):
            await keeper.tick()
        rows = await world.db.fetch("SELECT zone, price_per_hour FROM offers ORDER BY zone")
        return [tuple(row) for row in rows]

    assert await ask(a, b) == [("a", 0.03), ("b", 0.03)]
    assert await ask(a, quote("b", 0.04)) == [("a", 0.03), ("b", 0.04)]
    assert await ask(a, interval=60) == [("a", 0.03)]
    assert world.cloud.quoted == [[KIND]] * 5
    await world.db.execute("NOTIFY longshore_capacity, 'end'")
    async with asyncio.timeout(PATIENCE_SECONDS):
        woken_by = [await woken.get()]
        while woken_by[-1] != "end":
            woken_by.append(await woken.get())
    assert len(woken_by) == 4


def quote(zone: str, price: float) -> Quote:
    return Quote(instance_type=KIND, zone=zone, purchase_option="SPOT", price_per_hour=price)
