"""A world for scaler and provisioning: the other services' rows, and real processes."""

import asyncio
import contextlib
import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from support.patience import PATIENCE_SECONDS

from longshore.domain.catalogue import Catalogue, local_types
from longshore.domain.instance import RestartPolicy
from longshore.domain.scaling.decision import ScalingSettings
from longshore.provisioning.instances.loop import Reconciler
from longshore.provisioning.instances.reporting import InstanceReports
from longshore.provisioning.local.provider import LocalProvider
from longshore.provisioning.orders.fulfilling import Fulfilling
from longshore.provisioning.service import Provisioning
from longshore.provisioning.servicer import ProvisioningServicer
from longshore.rpc.channel import open_channel
from longshore.rpc.server import GrpcServer
from longshore.runtime.host import host_architecture
from longshore.scaler.ordering import Ordering
from longshore.scaler.service import Scaler
from longshore.state import lease
from longshore.state.leadership import Leadership
from longshore.state.pool import Pool, open_pool
from longshore.v1 import provisioning_service_pb2_grpc as provisioning_grpc

SLEEPER = ("/bin/sleep", "3600")
NOTHING = ("/bin/true",)
CATALOGUE = Catalogue(
    local_types(vcpus=8, memory_mib=8192, gpus=0, architecture=host_architecture())
)


@dataclass
class World:
    """Provisioning and scaler in this process, on a real database, with real agents' stand-ins."""

    database_url: str
    directory: Path
    pool: Pool
    db: "asyncpg.Connection[asyncpg.Record]"
    provider: LocalProvider
    leadership: Leadership
    reconciler: Reconciler
    provisioning: provisioning_grpc.ProvisioningServiceStub
    scaler: Scaler
    due: list[float] = field(default_factory=list)
    exited: asyncio.Event = field(default_factory=asyncio.Event)
    #: Where provisioning is served.
    port: int = 0

    async def environment(
        self, name: str = "default", *, types: Sequence[str] = ("local.quarter",), **members: Any
    ) -> None:
        """A managed compute environment."""
        resources = {
            "instanceTypes": list(types),
            "allocationStrategy": members.pop("strategy", "BEST_FIT"),
        }
        row = {
            "name": name,
            "uuid": uuid.uuid4(),
            "type": "MANAGED",
            "state": "ENABLED",
            "status": "VALID",
            "detail": {"computeResources": resources | members.pop("resources", {})},
            "resource_type": "EC2",
            "minv_cpus": 0,
            "maxv_cpus": 8,
            "desiredv_cpus": 0,
            **members,
        }
        await self._insert("compute_environments", row)

    async def queue(self, name: str = "default", *, priority: int = 1, on: Sequence[str]) -> None:
        """A job queue on compute environments, in order."""
        row = {"name": name, "state": "ENABLED", "status": "VALID", "priority": priority}
        await self._insert("job_queues", row)
        for ordinal, environment in enumerate(on):
            await self.db.execute(
                "INSERT INTO job_queue_environments VALUES ($1, $2, $3)", name, environment, ordinal
            )

    async def demand(
        self, runnable: int, *, queue: str = "default", vcpus: float = 1, memory_mib: int = 64
    ) -> int:
        """RUNNABLE jobs of a new or known shape, as the scheduler counts them."""
        shape_id: int = await self.db.fetchval(
            "INSERT INTO shapes (job_queue, vcpu_milli, memory_mib, gpus) VALUES ($1, $2, $3, 0) "
            "ON CONFLICT ON CONSTRAINT shapes_key "
            "DO UPDATE SET gpus = 0 RETURNING shape_id",
            queue,
            int(vcpus * 1000),
            memory_mib,
        )
        await self.db.execute(
            "INSERT INTO demand (shape_id, runnable) VALUES ($1, $2) "
            "ON CONFLICT (shape_id) DO UPDATE SET runnable = $2",
            shape_id,
            runnable,
        )
        return shape_id

    async def register(self, instance_id: str, *, idle: float = 0, status: str = "READY") -> None:
        """The scheduler's row of an instance's agent, idle for so many seconds."""
        await self.db.execute(
            "INSERT INTO agents (instance_id, compute_environment, instance_type, architecture, "
            "runtime, unmanaged, vcpu_milli, memory_mib, gpus, status, idle_since) "
            "SELECT instance_id, compute_environment, instance_type, 'x86_64', 'process', false, "
            "vcpus * 1000, memory_mib - 32, gpus, $3, now() - make_interval(secs => $2) "
            "FROM instances WHERE instance_id = $1 "
            "ON CONFLICT (instance_id) DO UPDATE SET status = $3, "
            "idle_since = excluded.idle_since",
            instance_id,
            idle,
            status,
        )

    async def attempt(self, instance_id: str) -> uuid.UUID:
        """A live attempt of one vCPU on an instance."""
        job_id = uuid.uuid4()
        await self.db.execute(
            "INSERT INTO attempts (job_id, array_index, attempt, attempt_id, instance_id, "
            "compute_environment, status, vcpu_milli, memory_mib, gpus, log_stream_name) "
            "VALUES ($1, -1, 1, $2, $3, 'default', 'RUNNING', 1000, 64, 0, 'log')",
            job_id,
            job_id.hex,
            instance_id,
        )
        return job_id

    async def end_attempt(self, job_id: uuid.UUID) -> None:
        """The end of an attempt."""
        await self.db.execute(
            "UPDATE attempts SET status = 'ENDED', stopped_at = now() WHERE job_id = $1", job_id
        )

    async def instances(self) -> dict[str, str]:
        """Status of every instance on record."""
        rows = await self.db.fetch(
            "SELECT instance_id, status FROM instances ORDER BY ordered_at, instance_id"
        )
        return {row["instance_id"]: row["status"] for row in rows}

    async def desired(self, name: str = "default") -> int:
        """An environment's desiredvCpus."""
        value: int = await self.db.fetchval(
            "SELECT desiredv_cpus FROM compute_environments WHERE name = $1", name
        )
        return value

    async def pids(self) -> dict[str, int]:
        """Process ids of the provider's instances."""
        return {
            entry.instance_id: int(entry.provider_id) for entry in await self.provider.describe()
        }

    async def environ(self, instance_id: str) -> dict[str, str]:
        """What an instance's process was given, once the kernel shows it, soon after exec."""
        process = psutil.Process((await self.pids())[instance_id])
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (environ := process.environ()):
                await asyncio.sleep(0.001)
        return environ

    async def tick_until(self, holds: Callable[[], Any]) -> None:
        """Passes of provisioning, each when a process ends or something is due, until it holds."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await holds():
                self.due.clear()
                self.exited.clear()
                await self.reconciler.tick()
                if await holds():
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.exited.wait(), min([0.2, *self.due]))

    async def _insert(self, table: str, row: dict[str, Any]) -> None:
        names = ", ".join(row)
        numbers = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        query = f"INSERT INTO {table} ({names}) VALUES ({numbers})"  # noqa: S608 - our own names
        async with self.pool.acquire() as conn:  # its codec turns dictionaries into jsonb
            await conn.execute(query, *row.values())


@contextlib.asynccontextmanager
async def a_world(
    database_url: str,
    directory: Path,
    *,
    agent_command: Sequence[str] = SLEEPER,
    cleanup_command: Sequence[str] = NOTHING,
    grace: float = 30,
    limit: int = 8,
    machine: str = "",
    settings: ScalingSettings | None = None,
) -> AsyncIterator[World]:
    """Everything but the scheduler; processes that are left are killed at the end."""
    async with contextlib.AsyncExitStack() as stack:
        pool = await open_pool(database_url)
        stack.push_async_callback(pool.close)
        db = await asyncpg.connect(database_url)
        stack.push_async_callback(db.close)
        # A scheduler has taken registrations for long.
        await db.execute(
            "INSERT INTO leases (domain, token, holder, since, expires_at) VALUES "
            "('default', 1, 'test', now() - interval '1 day', 'infinity') ON CONFLICT DO NOTHING"
        )
        due: list[float] = []
        exited = asyncio.Event()
        provider = LocalProvider(
            directory,
            CATALOGUE,
            architecture=host_architecture(),
            environment={"LONGSHORE_SCHEDULER_ADDRESS": "127.0.0.1:1"},
            instances_limit=limit,
            on_exit=exited.set,
            agent_command=agent_command,
            cleanup_command=cleanup_command,
        )
        stack.callback(kill_all, directory)
        stack.callback(provider.close)
        leadership = Leadership(
            pool, lease.PROVISIONING, f"local:{machine}:{directory}", lease.SERVICE_SECONDS
        )
        reconciler = Reconciler(
            pool,
            provider,
            leadership=leadership,
            machine=machine,
            grace=timedelta(seconds=grace),
            wake_after=due.append,
            restarts=RestartPolicy(first_delay=timedelta(milliseconds=10)),
        )
        service = Provisioning(
            pool,
            leadership=leadership,
            fulfilling=Fulfilling(leadership, provider, CATALOGUE, machine),
            provider_name=provider.name,
            wake=lambda: None,
        )
        server = GrpcServer("127.0.0.1:0")
        server.add(
            provisioning_grpc.add_ProvisioningServiceServicer_to_server,
            ProvisioningServicer(service, InstanceReports(pool)),
            "longshore.v1.ProvisioningService",
        )
        await stack.enter_async_context(server)
        channel = await stack.enter_async_context(open_channel(f"127.0.0.1:{server.port}"))
        stub = provisioning_grpc.ProvisioningServiceStub(channel)
        scaler = Scaler(
            pool,
            Ordering(stub),
            CATALOGUE,
            settings or ScalingSettings(),
            patience=PATIENCE_SECONDS,
        )
        yield World(
            database_url,
            directory,
            pool,
            db,
            provider,
            leadership,
            reconciler,
            stub,
            scaler,
            due,
            exited,
            server.port,
        )


def kill_all(directory: Path) -> None:
    """Kills what runs for instances with directories there, and reaps what is ours."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("LONGSHORE_DATA_DIR", "").startswith(f"{directory}/i-"):
                process.kill()
                process.wait(timeout=PATIENCE_SECONDS)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def kill(pid: int) -> None:
    """SIGKILL, as an accident would."""
    os.kill(pid, signal.SIGKILL)
