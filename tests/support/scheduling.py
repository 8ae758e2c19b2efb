"""A scheduler on a real database, jobs put in as submission does, agents on real streams."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import asyncpg
import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from support.patience import PATIENCE_SECONDS

from longshore.domain.catalogue import Catalogue, local_types
from longshore.domain.job.job import JobKey
from longshore.rpc.channel import open_channel
from longshore.rpc.server import GrpcServer
from longshore.runtime.loop import Loop
from longshore.scheduler.service import Scheduler
from longshore.scheduler.wire.servicer import AgentServicer
from longshore.state.listen import CAPACITY, CONSUMABLES, ENVIRONMENTS, JOBS, Listener
from longshore.state.pool import open_pool
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import agent_service_pb2_grpc, job_definition_pb2, resources_pb2

DEADLINE = PATIENCE_SECONDS
#: Nothing prolongs the lease: it lapses where a test says so, and not because the machine is busy.
LEASE_SECONDS = 3600.0
#: Its agents say that they live only where a test lets them.
LOST_SECONDS = 3600.0


def local_catalogue() -> Catalogue:
    """A machine of 16 vCPUs and 16 GiB."""
    return Catalogue(local_types(vcpus=16, memory_mib=16384, gpus=0, architecture="x86_64"))


@dataclass
class Ended:
    """How a job's attempt ends on an agent of the test."""

    exit_code: int | None = 0
    reason: str | None = None
    status_reason: str = "Essential container in task exited"


class Agent:
    """An agent on a real stream: reports RUNNING at once, and an end when its test says so."""

    def __init__(
        self,
        port: int,
        instance_id: str,
        environment: str,
        vcpus: int,
        instance_type: str = "unmanaged",
        memory_mib: int | None = None,
    ) -> None:
        self.instance_id = instance_id
        self.environment = environment
        self.vcpus = vcpus
        self.instance_type = instance_type
        self.memory_mib = vcpus * 1024 if memory_mib is None else memory_mib
        self.assigned: dict[str, pb.Assignment] = {}
        self.seen: list[tuple[str, int]] = []
        self.stops: list[pb.AttemptStop] = []
        self.draining = asyncio.Event()
        self.health: pb.AgentHealth | None = None
        self.acknowledged = 0
        #: Bytes of the largest message after the registration.
        self.largest = 0
        self.answers: Callable[[pb.Assignment], Ended | None] = lambda _: None
        self.process_id = ""
        self._port = port
        self._sequence = 0
        self._changed = asyncio.Event()

    async def connect(self, attempts: Sequence[pb.AttemptKey] = ()) -> pb.AgentRegistered:
        """Opens the stream and registers."""
        self._channel = open_channel(f"127.0.0.1:{self._port}")
        self._call = agent_service_pb2_grpc.AgentServiceStub(self._channel).Connect()
        await self._call.write(
            pb.ConnectRequest(
                register=pb.AgentRegister(
                    instance_id=self.instance_id,
                    compute_environment=self.environment,
                    resources=resources_pb2.Resources(
                        vcpu_milli=self.vcpus * 1000, memory_mib=self.memory_mib
                    ),
                    runtime=resources_pb2.RUNTIME_SIMULATED,
                    instance_type=self.instance_type,
                    architecture="x86_64",
                    attempts=attempts,
                    unmanaged=self.instance_type == "unmanaged",
                    health=self.health,
                    process_id=self.process_id,
                )
            )
        )
        first = await asyncio.wait_for(self._call.read(), DEADLINE)
        assert first is not grpc.aio.EOF
        registered = part = first.registered
        while part.more:
            message = await asyncio.wait_for(self._call.read(), DEADLINE)
            assert message is not grpc.aio.EOF
            part = message.registered
            registered.MergeFrom(part)
        await self._take(registered.assignments)
        self.stops.extend(registered.stops)
        self._reader = asyncio.create_task(self._read())
        return registered

    @property
    def ended(self) -> Awaitable[None]:
        """Until the other side ends the stream."""
        return asyncio.wait_for(asyncio.shield(self._reader), DEADLINE)

    async def _read(self) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
            while (message := await self._call.read()) is not grpc.aio.EOF:
                kind = message.WhichOneof("message")
                self.largest = max(self.largest, message.ByteSize())
                if kind == "assign":
                    await self._take(message.assign.assignments)
                elif kind == "stop":
                    # As a real one: what it does not know it cannot stop.
                    known = [s for s in message.stop.stops if s.key.job_id in self.assigned]
                    self.stops.extend(known)
                elif kind == "acknowledge":
                    self.acknowledged = message.acknowledge.sequence
                elif kind == "drain":
                    self.draining.set()
                self._changed.set()

    async def _take(self, assignments: Sequence[pb.Assignment]) -> None:
        for assignment in assignments:
            self.assigned[assignment.key.job_id] = assignment
            self.seen.append((assignment.key.job_id, assignment.key.attempt))
        for assignment in assignments:
            answer = self.answers(assignment)
            if answer is not None:
                await self.end(assignment.key.job_id, answer, started=True)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for something to come down the stream."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._changed.clear()
                if condition():
                    return
                await self._changed.wait()

    async def notice(self, reason: str, ends_at: datetime | None = None) -> None:
        """Says that the instance will be taken away."""
        message = pb.AgentNotice(reason=reason)
        if ends_at is not None:
            message.end_time.FromDatetime(ends_at)
        await self._call.write(pb.ConnectRequest(notice=message))

    async def fare(self, condition: int, detail: str = "", **more: str) -> None:
        """Says how the instance fares."""
        health = pb.AgentHealth(condition=condition, detail=detail, **more)
        await self._call.write(pb.ConnectRequest(heartbeat=pb.AgentHeartbeat(health=health)))

    async def give_back(self, *job_ids: str) -> None:
        """Reports that jobs' attempts never reached the engine; waits until that is stored."""
        self._sequence += 1
        sequence = self._sequence
        report = pb.AgentReport(sequence=sequence)
        for job_id in job_ids:
            report.changes.add(
                key=self.assigned[job_id].key,
                status=pb.ATTEMPT_STATUS_RETURNED,
                status_reason="Given back: the engine is away",
            )
        await self._call.write(pb.ConnectRequest(report=report))
        await self.until(lambda: self.acknowledged >= sequence)

    async def start(
        self, job_id: str, address: str = "", images: Sequence[pb.ImageStart] = ()
    ) -> None:
        """Reports that a job runs, a node with its address, and how it came by its images."""
        await self._report(
            pb.ATTEMPT_STATUS_RUNNING,
            job_id,
            Ended(None),
            started=True,
            address=address,
            images=images,
        )

    async def end(self, job_id: str, how: Ended, *, started: bool = False) -> None:
        """Reports that a job's attempt ended."""
        await self._report(pb.ATTEMPT_STATUS_ENDED, job_id, how, started=started)

    async def _report(
        self,
        status: int,
        job_id: str,
        how: Ended,
        *,
        started: bool,
        address: str = "",
        images: Sequence[pb.ImageStart] = (),
    ) -> None:
        now = Timestamp()
        now.FromDatetime(datetime.now(UTC))
        change = pb.AttemptChange(
            key=self.assigned[job_id].key,
            status=status,
            status_reason=how.status_reason,
            address=address,
            images=images,
        )
        if started:
            change.start_time.CopyFrom(now)
        if status == pb.ATTEMPT_STATUS_ENDED:
            change.stop_time.CopyFrom(now)
            if how.exit_code is not None:
                change.exit_code = how.exit_code
            if how.reason is not None:
                change.reason = how.reason
        self._sequence += 1
        await self._call.write(
            pb.ConnectRequest(report=pb.AgentReport(sequence=self._sequence, changes=[change]))
        )

    async def close(self) -> None:
        """Breaks the stream."""
        self._call.cancel()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._channel.close()


def _node_properties(
    nodes: int, main_node: int, vcpus: int, memory_mib: int
) -> job_definition_pb2.NodeProperties:
    """All nodes need the same; the main one has an image of its own."""
    properties = job_definition_pb2.NodeProperties(num_nodes=nodes, main_node=main_node)
    for targets, image in ((":", "others"), (f"{main_node}:{main_node}", "main")):
        part = properties.node_range_properties.add(target_nodes=targets)
        part.container.image = image
        part.container.resource_requirements.add(type="VCPU", value=str(vcpus))
        part.container.resource_requirements.add(type="MEMORY", value=str(memory_mib))
    return properties


def _shown(properties: job_definition_pb2.NodeProperties) -> dict[str, object]:
    """Properties of nodes as a submission keeps them."""
    return {
        "numNodes": properties.num_nodes,
        "mainNode": properties.main_node,
        "nodeRangeProperties": [
            {"targetNodes": part.target_nodes, "container": {"image": part.container.image}}
            for part in properties.node_range_properties
        ],
    }


@dataclass
class Stand:
    """Everything of one test."""

    scheduler: Scheduler
    port: int
    conn: "asyncpg.Connection[asyncpg.Record]"
    agents: list[Agent] = field(default_factory=list)

    async def environment(self, name: str = "machines", *, state: str = "ENABLED") -> str:
        """An unmanaged compute environment."""
        await self.conn.execute(
            "INSERT INTO compute_environments (name, uuid, type, state, status, detail) "
            "VALUES ($1, gen_random_uuid(), 'UNMANAGED', $2, 'VALID', '{}')",
            name,
            state,
        )
        await self.conn.execute(f"NOTIFY {ENVIRONMENTS}")
        return name

    async def managed(
        self,
        name: str = "fleet",
        *,
        resource_type: str = "EC2",
        types: Sequence[str] = ("local",),
        maxv_cpus: int = 256,
    ) -> str:
        """A managed compute environment."""
        await self.conn.execute(
            "INSERT INTO compute_environments (name, uuid, type, state, status, detail, "
            "resource_type, minv_cpus, maxv_cpus, desiredv_cpus) VALUES "
            "($1, gen_random_uuid(), 'MANAGED', 'ENABLED', 'VALID', $2, $3, 0, $4, 0)",
            name,
            {"computeResources": {"instanceTypes": list(types)}},
            resource_type,
            maxv_cpus,
        )
        await self.conn.execute(f"NOTIFY {ENVIRONMENTS}")
        return name

    async def order(
        self, environment: str = "fleet", errors: Sequence[dict[str, str]] = ()
    ) -> uuid.UUID:
        """An order that was answered, with what could not be had."""
        order_id = uuid.uuid4()
        await self.conn.execute(
            "INSERT INTO capacity_orders (order_id, compute_environment, target_vcpus, entries, "
            "errors, reason, closed_at) VALUES ($1, $2, 1, '[]', $3, 'a test', now())",
            order_id,
            environment,
            list(errors),
        )
        await self.conn.execute(f"NOTIFY {CAPACITY}")
        return order_id

    async def instance(
        self,
        instance_id: str,
        environment: str = "fleet",
        *,
        instance_type: str = "local.host",
        vcpus: float = 16,
        memory_mib: int = 16384,
    ) -> str:
        """An instance on record as LAUNCHED; its agent may join now."""
        order_id = await self.order(environment)
        await self.conn.execute(
            "INSERT INTO instances (instance_id, order_id, compute_environment, provider, "
            "instance_type, purchase_option, vcpus, memory_mib, price_per_hour, status) "
            "VALUES ($1, $2, $3, 'test', $4, 'ON_DEMAND', $5, $6, 0, 'LAUNCHED')",
            instance_id,
            order_id,
            environment,
            instance_type,
            vcpus,
            memory_mib,
        )
        await self.conn.execute(f"NOTIFY {CAPACITY}")
        return instance_id

    async def terminating(self, instance_id: str, drain_until: datetime | None = None) -> None:
        """Provisioning takes an instance away, at once or when its attempts have ended."""
        await self.conn.execute(
            "UPDATE instances SET status = 'TERMINATING', terminating_at = now(), "
            "drain_until = $2 WHERE instance_id = $1",
            instance_id,
            drain_until,
        )
        await self.conn.execute(f"NOTIFY {CAPACITY}")

    async def join(
        self,
        vcpus: int = 8,
        *,
        environment: str = "fleet",
        instance_type: str = "local.host",
        memory_mib: int | None = None,
        answers: Callable[[pb.Assignment], Ended | None] | None = None,
    ) -> Agent:
        """A connected agent on an instance of a managed environment."""
        agent = Agent(
            self.port,
            f"i-{len(self.agents):017x}",
            environment,
            vcpus,
            instance_type,
            memory_mib,
        )
        if answers is not None:
            agent.answers = answers
        self.agents.append(agent)
        await self.instance(
            agent.instance_id,
            environment,
            instance_type=instance_type,
            vcpus=vcpus,
            memory_mib=agent.memory_mib,
        )
        await agent.connect()
        return agent

    async def policy(self, name: str = "p", **fairshare: object) -> str:
        """A scheduling policy, or new members of one."""
        await self.conn.execute(
            "INSERT INTO scheduling_policies (name, fairshare) VALUES ($1, $2) "
            "ON CONFLICT (name) DO UPDATE SET fairshare = excluded.fairshare",
            name,
            fairshare,
        )
        await self.conn.execute(f"NOTIFY {ENVIRONMENTS}")
        return name

    async def consumable(
        self, name: str = "licence", total: int = 1, kind: str = "REPLENISHABLE"
    ) -> str:
        """A consumable resource, or a new total of one."""
        await self.conn.execute(
            "INSERT INTO consumable_resources (name, resource_type, total_quantity) "
            "VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET total_quantity = $3",
            name,
            kind,
            total,
        )
        await self.conn.execute(f"NOTIFY {CONSUMABLES}")
        return name

    async def queue(
        self,
        name: str = "q",
        *environments: str,
        priority: int = 1,
        policy: str | None = None,
        detail: dict[str, object] | None = None,
    ) -> str:
        """A queue on environments, in order."""
        await self.conn.execute(
            "INSERT INTO job_queues (name, state, status, priority, scheduling_policy, detail) "
            "VALUES ($1, 'ENABLED', 'VALID', $2, $3, $4)",
            name,
            priority,
            policy,
            detail or {},
        )
        for ordinal, environment in enumerate(environments or ("machines",)):
            await self.conn.execute(
                "INSERT INTO job_queue_environments VALUES ($1, $2, $3)", name, environment, ordinal
            )
        await self.conn.execute(f"NOTIFY {ENVIRONMENTS}")
        return name

    async def cap(self, most: int, queue: str = "q") -> None:
        """UpdateJobQueue: so many jobs of a queue run at one time, 0 for any number."""
        await self.conn.execute(
            "UPDATE job_queues SET max_running = $2 WHERE name = $1", queue, most
        )
        await self.conn.execute(f"NOTIFY {ENVIRONMENTS}")

    async def agent(
        self,
        vcpus: int = 8,
        environment: str = "machines",
        answers: Callable[[pb.Assignment], Ended | None] | None = None,
    ) -> Agent:
        """A connected agent."""
        agent = Agent(self.port, f"i-{len(self.agents):017x}", environment, vcpus)
        if answers is not None:
            agent.answers = answers
        self.agents.append(agent)
        await agent.connect()
        return agent

    async def submit(
        self,
        queue: str = "q",
        *,
        vcpus: int = 1,
        memory_mib: int = 64,
        size: int | None = None,
        attempts: int = 1,
        timeout_seconds: int | None = None,
        rules: Sequence[dict[str, str]] = (),
        depends_on: Sequence[tuple[str | None, str] | tuple[str | None, str, str]] = (),
        nodes: int = 0,
        main_node: int = 0,
        share: str | None = None,
        priority: int = 0,
        max_running: int = 0,
        units: str = "",
    ) -> str:
        """A job as submission stores it; dependencies are (job id, type, condition).

        Of a multi-node job the main node has the image `main`, the others have `others`.
        """
        job_id = uuid.uuid4()
        async with self.conn.transaction():
            shape = await self.conn.fetchval(
                "INSERT INTO shapes (job_queue, vcpu_milli, memory_mib, gpus, nodes, "
                "share_identifier, priority, array_job, max_running, consumables) "
                "VALUES ($1, $2, $3, 0, $4, $5, $6, $7, $8, $9) "
                "ON CONFLICT ON CONSTRAINT shapes_key DO UPDATE SET gpus = 0 RETURNING shape_id",
                queue,
                vcpus * 1000,
                memory_mib,
                nodes,
                share or "",
                priority,
                job_id if max_running else uuid.UUID(int=0),
                max_running,
                units,
            )
            await self.conn.execute(
                "INSERT INTO jobs (job_id, seq, job_queue, shape_id, name, definition_name, "
                "definition_revision, array_size, status, attempts_max, timeout_seconds, "
                "num_nodes, main_node, share_identifier) VALUES ($1, nextval('job_seq'), $2, $3, "
                "'job', 'def', 1, $4, 'SUBMITTED', $5, $6, $7, $8, $9)",
                job_id,
                queue,
                shape,
                size,
                attempts,
                timeout_seconds,
                nodes or None,
                main_node if nodes else None,
                share,
            )
            container = job_definition_pb2.ContainerProperties(image="busybox")
            properties = _node_properties(nodes, main_node, vcpus, memory_mib) if nodes else None
            await self.conn.execute(
                "INSERT INTO job_specs (job_id, detail, container, nodes) VALUES ($1, $2, $3, $4)",
                job_id,
                {
                    "retryStrategy": {"attempts": attempts, "evaluateOnExit": list(rules)},
                    **({"nodeProperties": _shown(properties)} if properties else {}),
                },
                None if properties else container.SerializeToString(),
                properties.SerializeToString() if properties else None,
            )
            for ordinal, (upstream, kind, *condition) in enumerate(depends_on):
                key = None if upstream is None else JobKey.parse(upstream)
                await self.conn.execute(
                    "INSERT INTO job_dependencies VALUES ($1, $2, $3, $4, $5, $6)",
                    job_id,
                    ordinal,
                    None if key is None else key.job_id,
                    -1 if key is None else key.array_index,
                    kind,
                    *(condition or ["SUCCESS"]),
                )
            await self.conn.execute(f"NOTIFY {JOBS}")
        return str(job_id)

    async def request(self, job_id: str, kind: str, reason: str = "by request") -> None:
        """A user's cancel or terminate."""
        key = JobKey.parse(job_id)
        await self.conn.execute(
            "INSERT INTO job_requests (job_id, array_index, kind, reason) VALUES ($1, $2, $3, $4)",
            key.job_id,
            key.array_index,
            kind,
            reason,
        )
        await self.conn.execute(f"NOTIFY {JOBS}")

    @contextlib.asynccontextmanager
    async def reconnected(self, database_url: str) -> AsyncIterator[None]:
        """A connection in place of one that was cut."""
        conn = await asyncpg.connect(database_url)
        self.conn, cut = conn, self.conn
        try:
            yield
        finally:
            self.conn = cut
            await conn.close()

    async def row(self, job_id: str) -> asyncpg.Record | None:
        """A job's row."""
        key = JobKey.parse(job_id)
        return await self.conn.fetchrow(
            "SELECT * FROM jobs WHERE job_id = $1 AND array_index = $2", key.job_id, key.array_index
        )

    async def until(self, job_id: str, *statuses: str) -> asyncpg.Record:
        """Waits until a job has one of some statuses."""
        seen = None
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    row = await self.row(job_id)
                    seen = None if row is None else row["status"]
                    if row is not None and seen in statuses:
                        return row
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{job_id} is {seen}, not {statuses}") from None

    async def silence(self, *agents: Agent, seconds: float = 2 * LOST_SECONDS) -> None:
        """Breaks agents' streams, and so long ago they gave their last signs of life."""
        for agent in agents:
            await agent.close()
        memory = self.scheduler.lead.memory
        assert memory is not None
        async with asyncio.timeout(DEADLINE):
            while self.scheduler.agents.sessions.keys() & {one.instance_id for one in agents}:
                await asyncio.sleep(0.01)
        for agent in agents:
            memory.instances[agent.instance_id].seen -= seconds

    async def who_has(self, job_id: str, attempt: int = 0) -> Agent:
        """The agent that a job, child or node was assigned to; from an attempt on."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for agent in self.agents:
                    if job_id in agent.assigned and agent.assigned[job_id].key.attempt >= attempt:
                        return agent
                await asyncio.sleep(0.01)

    async def explanation(self, job_id: str) -> str:
        """Why a waiting job is not placed, once the scheduler has said so."""
        async with asyncio.timeout(DEADLINE):
            while True:
                said = await self.conn.fetchval(
                    "SELECT d.explanation FROM demand d JOIN jobs j USING (shape_id) "
                    "WHERE j.job_id = $1",
                    uuid.UUID(job_id),
                )
                if said is not None:
                    return str(said)
                await asyncio.sleep(0.01)

    async def until_blocked(self, job_id: str, reason: str | None) -> str:
        """Waits until AWS's reason why a job is blocked is this; returns ours beside it."""
        seen: object = "nothing"
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    row = await self.conn.fetchrow(
                        "SELECT d.blocked_reason, d.explanation FROM demand d "
                        "JOIN jobs j USING (shape_id) WHERE j.job_id = $1",
                        uuid.UUID(job_id),
                    )
                    if row is not None and row["explanation"] is not None:
                        seen = row["blocked_reason"]
                        if seen == reason:
                            return str(row["explanation"])
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{job_id} is blocked by {seen}, not {reason}") from None

    async def statuses(self, job_id: str) -> dict[int, str]:
        """Statuses of the children that have a row."""
        rows = await self.conn.fetch(
            "SELECT array_index, status FROM jobs WHERE job_id = $1 AND array_index >= 0",
            uuid.UUID(job_id),
        )
        return {row["array_index"]: row["status"] for row in rows}

    async def check(self) -> None:
        """What must hold at any time between transactions."""
        mismatch = await self.conn.fetch(
            "SELECT shape_id, d.runnable, coalesce(r.runnable, 0) AS counted FROM demand d "
            "FULL JOIN (SELECT shape_id, sum(end_index - next_index) AS runnable FROM ready "
            "GROUP BY 1) r USING (shape_id) "
            "WHERE d.runnable IS DISTINCT FROM r.runnable"
        )
        assert not mismatch, mismatch
        blocks = await self.conn.fetch(
            "SELECT job_queue, rank, first_seq, b.jobs, r.jobs AS counted FROM ready_blocks b "
            "FULL JOIN (SELECT job_queue, rank, ready_block(seq) AS first_seq, "
            "sum(end_index - next_index) AS jobs FROM ready GROUP BY 1, 2, 3) r "
            "USING (job_queue, rank, first_seq) WHERE b.jobs IS DISTINCT FROM r.jobs"
        )
        assert not blocks, blocks
        over = await self.conn.fetch(
            "SELECT a.instance_id FROM attempts a JOIN agents g USING (instance_id) "
            "WHERE a.status <> 'ENDED' GROUP BY a.instance_id, g.vcpu_milli, g.memory_mib "
            "HAVING sum(a.vcpu_milli) > g.vcpu_milli OR sum(a.memory_mib) > g.memory_mib"
        )
        assert not over, over
        held = await self.conn.fetch(
            "SELECT resource, u.held, a.held AS counted FROM consumable_usages u FULL JOIN ("
            "SELECT split_part(need, '=', 1) AS resource, sum(split_part(need, '=', 2)::bigint) "
            "AS held FROM (SELECT DISTINCT j.job_id, greatest(a.array_index, -1), s.consumables "
            "FROM attempts a JOIN jobs j ON j.job_id = a.job_id AND j.array_index = -1 "
            "JOIN shapes s USING (shape_id) WHERE a.status <> 'ENDED') o, "
            "unnest(string_to_array(consumables, ',')) AS need GROUP BY 1) a USING (resource) "
            "WHERE u.held IS DISTINCT FROM a.held"
        )
        assert not held, held


@contextlib.asynccontextmanager
async def scheduler_stand(
    database_url: str,
    *,
    lost_seconds: float = LOST_SECONDS,
    unmanaged_lost_seconds: float | None = None,
    cool_down: timedelta = timedelta(seconds=60),
    traced: float | None = None,
) -> AsyncIterator[Stand]:
    """A scheduler with its loops, as its `__main__` builds it, but none that holds its lease."""
    async with contextlib.AsyncExitStack() as stack:
        pool = await open_pool(database_url)
        stack.push_async_callback(pool.close)
        conn = await asyncpg.connect(database_url)
        stack.push_async_callback(conn.close)
        await conn.set_type_codec(
            "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
        )
        scheduler = Scheduler(
            pool,
            domain="default",
            holder=f"test:{uuid.uuid4()}",
            catalogue=local_catalogue(),
            lease_seconds=LEASE_SECONDS,
            lost_seconds=lost_seconds,
            unmanaged_lost_seconds=unmanaged_lost_seconds,
            cool_down=cool_down,
            traced=traced,
        )
        server = GrpcServer("127.0.0.1:0")
        server.add(
            agent_service_pb2_grpc.add_AgentServiceServicer_to_server,
            AgentServicer(scheduler, 0.2),
            "longshore.v1.AgentService",
        )
        await stack.enter_async_context(server)
        stack.push_async_callback(scheduler.release_lease)
        ticks = Loop("tick", scheduler.tick, 0.2, gather=0.002)
        scheduler.wake = ticks.wake
        listener = Listener(
            database_url,
            {
                JOBS: ticks.wake,
                CAPACITY: scheduler.note_capacity,
                ENVIRONMENTS: scheduler.note_topology,
                CONSUMABLES: scheduler.note_consumables,
            },
        )
        assert await scheduler.hold_lease()
        stand = Stand(scheduler, server.port, conn)
        runners = [asyncio.create_task(ticks.run()), asyncio.create_task(listener.run())]
        try:
            yield stand
            if not conn.is_closed():
                await stand.check()
        finally:
            for agent in stand.agents:
                await agent.close()
            for runner in runners:
                runner.cancel()
            await asyncio.gather(*runners, return_exceptions=True)
