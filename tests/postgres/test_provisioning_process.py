"""Provisioning and scaler as processes of their own: killed, stopped, started again."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import grpc
import psutil
import pytest
from capacity_world import kill_all
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.identity import tls_settings
from support.patience import PATIENCE_SECONDS
from support.ports import free_port_base

from longshore.rpc.channel import open_channel
from longshore.v1 import scaler_service_pb2 as pb
from longshore.v1 import scaler_service_pb2_grpc as pb_grpc

Start = Callable[..., Awaitable[subprocess.Popen[bytes]]]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Where instances live; what still runs there is killed at the end."""
    yield tmp_path / "instances"
    kill_all(tmp_path / "instances")


@pytest.fixture
async def start(database_url: str, directory: Path) -> AsyncIterator[Start]:
    """Starts a service and waits until it is serving."""
    base = free_port_base()
    started: list[subprocess.Popen[bytes]] = []

    async def start_service(name: str, **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: ASYNC220 - it outlives the test's event loop
            [sys.executable, "-m", f"longshore.{name}"],
            env=os.environ
            | {
                "LONGSHORE_DATABASE_URL": database_url,
                "LONGSHORE_PORT_BASE": str(base),
                "LONGSHORE_INSTANCES_DIR": str(directory),
                "LONGSHORE_AGENT_COMMAND": "/bin/sleep 3600",
                "LONGSHORE_AGENT_CLEANUP_COMMAND": "/bin/true",
                "LONGSHORE_LOCAL_VCPUS": "8",
                **tls_settings(),
                **environment,
            },
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        port = base + {"scaler": 2, "provisioning": 3}[name]
        await serving(f"127.0.0.1:{port}")
        process.address = f"127.0.0.1:{port}"  # type: ignore[attr-defined]
        return process

    yield start_service
    for process in started:
        process.kill()
        process.wait(timeout=PATIENCE_SECONDS)


async def serving(address: str) -> None:
    """Waits until a service says SERVING."""
    async with asyncio.timeout(PATIENCE_SECONDS), open_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                request = health_pb2.HealthCheckRequest()
                answer = await health.Check(request, timeout=2, wait_for_ready=True)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            await asyncio.sleep(0.05)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection, and an environment that wants two instances at all times."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO compute_environments (name, uuid, type, state, status, detail, resource_type, "
        "minv_cpus, maxv_cpus, desiredv_cpus) VALUES ('default', gen_random_uuid(), 'MANAGED', "
        "'ENABLED', 'VALID', $1, 'EC2', 4, 8, 0)",
        json.dumps({"computeResources": {"instanceTypes": ["local.quarter"]}}),
    )
    yield connection
    await connection.close()


async def until(db: "asyncpg.Connection[asyncpg.Record]", status: str) -> dict[str, int]:
    """Waits until both instances have a status; returns their process ids."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            rows = await db.fetch("SELECT instance_id, status, provider_id FROM instances")
            if [row["status"] for row in rows] == [status] * 2:
                return {row["instance_id"]: int(row["provider_id"]) for row in rows}
            await asyncio.sleep(0.02)


async def evaluate(scaler: subprocess.Popen[bytes]) -> pb.EvaluateResponse:
    address = scaler.address  # type: ignore[attr-defined]
    async with open_channel(address) as channel:
        stub = pb_grpc.ScalerServiceStub(channel)
        return await stub.Evaluate(pb.EvaluateRequest(), timeout=PATIENCE_SECONDS)


async def test_provisioning_finds_its_instances_after_a_kill(
    start: Start, db: "asyncpg.Connection[asyncpg.Record]", directory: Path
) -> None:
    """They run on, and the next process adopts them."""
    provisioning = await start("provisioning")
    scaler = await start("scaler")
    before = await until(db, "LAUNCHED")
    provisioning.send_signal(signal.SIGKILL)
    provisioning.wait(timeout=PATIENCE_SECONDS)
    assert all(psutil.pid_exists(pid) for pid in before.values())
    await start("provisioning")
    response = await evaluate(scaler)
    assert [decision.desired_vcpus for decision in response.decisions] == [4]
    assert await until(db, "LAUNCHED") == before
    assert {child.pid for child in psutil.process_iter() if is_of(child, directory)} == set(
        before.values()
    )


async def test_an_instance_that_died_while_nobody_looked_is_started_again(
    start: Start, db: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Same instance, new process."""
    provisioning = await start("provisioning")
    await start("scaler")
    before = await until(db, "LAUNCHED")
    provisioning.send_signal(signal.SIGTERM)
    assert provisioning.wait(timeout=PATIENCE_SECONDS) == 0
    instance_id, pid = next(iter(before.items()))
    psutil.Process(pid).kill()
    await start("provisioning")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await until(db, "LAUNCHED"))[instance_id] == pid:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("setting", "number"), [("true", signal.SIGTERM), ("false", signal.SIGUSR1)]
)
async def test_instances_end_with_the_service_when_told_to(
    start: Start,
    db: "asyncpg.Connection[asyncpg.Record]",
    directory: Path,
    setting: str,
    number: signal.Signals,
) -> None:
    """`longshore down` leaves nothing running, and says so on record."""
    provisioning = await start("provisioning", LONGSHORE_STOP_INSTANCES=setting)
    scaler = await start("scaler")
    await until(db, "LAUNCHED")
    scaler.send_signal(signal.SIGTERM)
    assert scaler.wait(timeout=PATIENCE_SECONDS) == 0
    provisioning.send_signal(number)
    assert provisioning.wait(timeout=PATIENCE_SECONDS) == 0
    await until(db, "TERMINATED")
    assert not [process for process in psutil.process_iter() if is_of(process, directory)]


async def test_instances_of_another_provider_are_not_forgotten(
    start: Start,
    db: "asyncpg.Connection[asyncpg.Record]",
    database_url: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Nobody would end them: it says what to do, and does not start."""
    provisioning = await start("provisioning")
    await start("scaler")
    await until(db, "LAUNCHED")
    provisioning.kill()
    provisioning.wait(timeout=PATIENCE_SECONDS)
    await db.execute("UPDATE instances SET provider = 'ec2'")
    settings = {
        "LONGSHORE_DATABASE_URL": database_url,
        "LONGSHORE_PORT_BASE": str(free_port_base()),
    }
    refused = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "longshore.provisioning"), env=os.environ | settings
    )
    assert await asyncio.wait_for(refused.wait(), PATIENCE_SECONDS) == 2
    assert "instances of 'ec2' are live: set it to 'ec2' until" in capfd.readouterr().err


async def test_a_notification_wakes_the_scaler(
    start: Start, db: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Long before its interval is over."""
    await db.execute("UPDATE compute_environments SET minv_cpus = 0")
    await start("provisioning")
    scaler = await start("scaler", LONGSHORE_SCALE_INTERVAL="3600")
    await evaluate(scaler)
    await db.execute("UPDATE compute_environments SET minv_cpus = 4")
    await db.execute("NOTIFY longshore_environments")
    await until(db, "LAUNCHED")


async def test_a_notice_is_taken_up_at_once(
    start: Start, db: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """The scheduler stored it and said so: long before provisioning's interval is over."""
    await start("provisioning", LONGSHORE_PROVISION_INTERVAL="3600")
    await start("scaler", LONGSHORE_SCALE_INTERVAL="3600")
    (noticed, _) = await until(db, "LAUNCHED")
    await db.execute(
        "INSERT INTO agents (instance_id, compute_environment, instance_type, architecture, "
        "runtime, unmanaged, vcpu_milli, memory_mib, gpus, status, notice, notice_at) "
        "VALUES ($1, 'default', 'local.quarter', 'x86_64', 'process', false, 2000, 2016, 0, "
        "'DRAINING', 'It goes.', now() + interval '1 s')",
        noticed,
    )
    await db.execute("NOTIFY longshore_demand")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await db.fetchval(
            "SELECT status = 'TERMINATED' FROM instances WHERE instance_id = $1", noticed
        ):
            await asyncio.sleep(0.02)
    row = await db.fetchrow(
        "SELECT status_reason, ends_at <= ended_at AS in_time FROM instances "
        "WHERE instance_id = $1",
        noticed,
    )
    assert tuple(row) == ("It goes.", True)


def is_of(process: psutil.Process, directory: Path) -> bool:
    """Whether a process is an instance of a directory."""
    try:
        return process.environ().get("LONGSHORE_DATA_DIR", "").startswith(f"{directory}/i-")
    except psutil.Error:
        return False
