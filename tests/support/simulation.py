"""The scheduler in the hands of a seeded driver: real streams and tables, chosen steps and faults.

No loop runs and no clock is waited for. The driver calls ticks itself, waits for what it sent to
arrive, and moves time by hand: a silent instance is one whose last sign of life is set back.
"""

import asyncio
import contextlib
import json
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from support.patience import PATIENCE_SECONDS
from support.scheduling import LEASE_SECONDS, LOST_SECONDS, Ended, Stand, local_catalogue

from longshore.agent.attempts.attempt import AttemptKey
from longshore.agent.reporting.journal import Journal, JournalEntry
from longshore.domain.errors import Unavailable
from longshore.domain.job.job import JobKey
from longshore.rpc.channel import open_channel
from longshore.rpc.server import GrpcServer
from longshore.scheduler.inbox import Report
from longshore.scheduler.memory import Memory
from longshore.scheduler.service import Scheduler
from longshore.scheduler.wire.servicer import AgentServicer
from longshore.scheduler.wire.session import Session
from longshore.state.pool import Connection, Pool, open_pool
from longshore.state.scheduler import agent as agent_table
from longshore.state.scheduler.agent import Notice
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import agent_service_pb2_grpc, resources_pb2

#: Job id and attempt number.
Ref = tuple[str, int]


class WatchedScheduler(Scheduler):
    """The scheduler, with signals of what reached it and two ways to fail."""

    def __init__(self, pool: Pool, changed: asyncio.Event) -> None:
        super().__init__(
            pool,
            domain="default",
            holder=str(uuid.uuid4()),
            catalogue=local_catalogue(),
            lease_seconds=LEASE_SECONDS,
            lost_seconds=LOST_SECONDS,
        )
        self._arrived = changed
        self.received: dict[str, int] = {}
        self.noticed: set[str] = set()
        self.fail_before_commit = False
        self.dies_after_commit = False
        self._watch()

    def _watch(self) -> None:
        transaction, forget = self.lead.transaction, self.agents.forget

        @contextlib.asynccontextmanager
        async def failing() -> AsyncIterator[tuple[Connection, Memory]]:
            async with transaction() as (conn, memory):
                yield conn, memory
                if self.fail_before_commit:
                    self.fail_before_commit = False
                    raise Unavailable("The database went away before the commit.")

        def forgetting(session: Session) -> None:
            forget(session)
            self._arrived.set()

        self.lead.transaction = failing
        self.agents.forget = forgetting

    async def report(self, report: Report) -> None:
        await super().report(report)
        assert report.session is not None
        self.received[report.session.instance_id] = report.sequence
        self._arrived.set()

    def notice(self, notice: Notice) -> None:
        super().notice(notice)
        self.noticed.add(notice.instance_id)
        self._arrived.set()

    def _send(self, reports: list[Report], outcome: object) -> None:
        if not self.dies_after_commit:
            super()._send(reports, outcome)


class SimulatedAgent:
    """Keeps what runs and what was not acknowledged over broken streams, as real agents do."""

    def __init__(
        self,
        port: int,
        instance_id: str,
        vcpus: int,
        changed: asyncio.Event,
        *,
        environment: str = "machines",
        instance_type: str = "unmanaged",
        memory_mib: int | None = None,
        directory: Path | None = None,
    ) -> None:
        self.instance_id = instance_id
        self.vcpus = vcpus
        self.environment = environment
        self.instance_type = instance_type
        self.memory_mib = vcpus * 1024 if memory_mib is None else memory_mib
        self.notice: pb.AgentNotice | None = None
        self.draining = False
        self.running: dict[Ref, bool] = {}
        self.stops: dict[Ref, str] = {}
        self.ended: set[Ref] = set()
        #: How those ended of which the scheduler has acknowledged it.
        self._past: dict[Ref, pb.AttemptChange] = {}
        self.connected = False
        #: Whether what it reports stays in its journal for now.
        self.is_late = False
        #: Without a directory its journal is in memory, and it cannot start again.
        self._path = directory / f"{instance_id}-{uuid.uuid4()}" if directory else None
        self._journal = Journal(self._path)
        self._latest: pb.AgentReport | None = None
        self._port = port
        self._changed = changed

    @property
    def journal(self) -> list[pb.AgentReport]:
        """What was reported and is not acknowledged."""
        return list(self._journal.reports.values())

    async def restart(self) -> None:
        """Its process dies and starts again. What it knows is what its journal says."""
        await self.disconnect()
        self._journal.close()
        self._journal = Journal(self._path)
        known = {(key.job_id, key.attempt): one for key, one in self._journal.entries.items()}
        assert self.running.keys() <= known.keys()
        live = {ref: one for ref, one in known.items() if not _has_ended(one)}
        assert live.keys() == self.running.keys(), "the journal knows what runs"
        self.running = {key: one.change is not None for key, one in live.items()}
        self.stops = {
            key: one.stop.status_reason for key, one in live.items() if one.stop is not None
        }
        self.is_late = False
        await self.connect()

    async def catch_up(self) -> None:
        """Sends what was held back, and all else that is not acknowledged once more."""
        self.is_late = False
        if self.connected:
            for report in self.journal:
                await self._call.write(pb.ConnectRequest(report=report))

    async def connect(self) -> None:
        """Registers with what runs, takes over what should run, and reports again."""
        self._channel = open_channel(f"127.0.0.1:{self._port}")
        self._call = agent_service_pb2_grpc.AgentServiceStub(self._channel).Connect()
        await self._call.write(
            pb.ConnectRequest(
                register=pb.AgentRegister(
                    instance_id=self.instance_id,
                    compute_environment=self.environment,
                    instance_type=self.instance_type,
                    resources=resources_pb2.Resources(
                        vcpu_milli=self.vcpus * 1000, memory_mib=self.memory_mib
                    ),
                    runtime=resources_pb2.RUNTIME_SIMULATED,
                    attempts=[pb.AttemptKey(job_id=j, attempt=n) for j, n in self.running],
                    unmanaged=self.instance_type == "unmanaged",
                )
            )
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            first = await self._call.read()
        assert first is not grpc.aio.EOF, await self._call.details()
        assert not first.registered.more
        wanted = {(a.key.job_id, a.key.attempt) for a in first.registered.assignments}
        # What is not wanted any more is over: it is stopped without a report.
        for ref in self.running.keys() - wanted:
            del self.running[ref]
            self._journal.forgotten(AttemptKey(*ref))
        for assignment in first.registered.assignments:
            ref = (assignment.key.job_id, assignment.key.attempt)
            if ref not in self.running and ref not in self.ended:
                self._accept(assignment)
            elif ref in self._past:
                # It could not be stored: it is said once more, with the rest of the journal.
                self._journal.report(
                    pb.AgentReport(
                        sequence=self._journal.sequence + 1, changes=[self._past.pop(ref)]
                    )
                )
        self._take_stops(first.registered.stops)
        self.draining = first.registered.draining
        self.connected = True
        self._reader = asyncio.create_task(self._read())
        if self.notice is not None:
            await self._call.write(pb.ConnectRequest(notice=self.notice))
        for report in self.journal:
            await self._call.write(pb.ConnectRequest(report=report))

    async def disconnect(self) -> None:
        """Breaks the stream."""
        if self.connected:
            self.connected = False
            self._call.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            await self._channel.close()

    async def _read(self) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
            while (message := await self._call.read()) is not grpc.aio.EOF:
                for assignment in message.assign.assignments:
                    ref = (assignment.key.job_id, assignment.key.attempt)
                    assert ref not in self.running, f"{ref} is assigned twice on one stream"
                    assert ref not in self.ended, f"{ref} is assigned although it ended here"
                    self._accept(assignment)
                self._take_stops(message.stop.stops)
                self.draining = self.draining or message.HasField("drain")
                for report in self._journal.acknowledged(message.acknowledge.sequence):
                    for change in report.changes:
                        if change.status == pb.ATTEMPT_STATUS_ENDED:
                            self._journal.forgotten(AttemptKey.of(change.key))
                            self._past[change.key.job_id, change.key.attempt] = change
                self._changed.set()
        self.connected = False
        self._changed.set()

    def check(self) -> None:
        """Raises what the reader found wrong."""
        if self._reader.done() and not self._reader.cancelled():
            self._reader.result()

    def _take_stops(self, stops: Sequence[pb.AttemptStop]) -> None:
        """What it does not know it cannot stop, and the first reason stays, as with real ones."""
        for stop in stops:
            ref = (stop.key.job_id, stop.key.attempt)
            if ref in self.running and ref not in self.stops:
                self.stops[ref] = stop.status_reason
                self._journal.stop_wanted(stop)

    def _accept(self, assignment: pb.Assignment) -> None:
        self.running[assignment.key.job_id, assignment.key.attempt] = False
        self._journal.assigned(assignment)

    async def be_noticed(self) -> None:
        """The provider says that it will take the instance away."""
        if self.notice is None:
            self.notice = pb.AgentNotice(reason="Spot interruption", end_time=_now())
        if self.connected:
            await self._call.write(pb.ConnectRequest(notice=self.notice))

    async def start(self, ref: Ref) -> None:
        """An attempt runs."""
        self.running[ref] = True
        await self._report(
            pb.AttemptChange(
                key=pb.AttemptKey(job_id=ref[0], attempt=ref[1]),
                status=pb.ATTEMPT_STATUS_RUNNING,
                start_time=_now(),
            )
        )

    async def end(self, ref: Ref, how: Ended) -> None:
        """An attempt ended, perhaps before anybody heard that it ran."""
        ran = self.running.pop(ref) or how.exit_code is not None
        self.ended.add(ref)
        change = pb.AttemptChange(
            key=pb.AttemptKey(job_id=ref[0], attempt=ref[1]),
            status=pb.ATTEMPT_STATUS_ENDED,
            status_reason=how.status_reason,
            stop_time=_now(),
        )
        if ran:
            change.start_time.CopyFrom(_now())
        if how.exit_code is not None:
            change.exit_code = how.exit_code
        await self._report(change)

    async def _report(self, change: pb.AttemptChange) -> None:
        sequence = self._journal.sequence + 1
        report = self._latest = pb.AgentReport(sequence=sequence, changes=[change])
        self._journal.report(report)
        if self.connected and not self.is_late:
            await self._call.write(pb.ConnectRequest(report=report))

    async def repeat(self) -> None:
        """Sends the latest report once more."""
        if self.connected and not self.is_late and self._latest is not None:
            await self._call.write(pb.ConnectRequest(report=self._latest))

    @property
    def sequence(self) -> int:
        """Number of the latest report that is not acknowledged."""
        return max(self._journal.reports, default=0)


class Simulation:
    """One scheduler at a time, its agents, and everything that may be done to them."""

    def __init__(self, stand: Stand, pool: Pool, servicer: AgentServicer, directory: Path) -> None:
        self.stand = stand
        self._directory = directory
        self.pool = pool
        self.servicer = servicer
        self.changed = asyncio.Event()
        self.agents: dict[str, SimulatedAgent] = {}
        self.scheduler = WatchedScheduler(pool, self.changed)
        #: On which table the database refuses changes of a job.
        self._refusing: str | None = None
        self._silent: set[str] = set()
        #: Attempts that there were, and instances that took nothing more, at the latest check.
        self._placed: set[tuple[object, ...]] = set()
        self._draining: set[str] = set()
        self._final: dict[JobKey, tuple[object, ...]] = {}

    async def lead(self) -> None:
        """The present scheduler takes the lease, whoever had it."""
        await self.stand.conn.execute("UPDATE leases SET expires_at = '-infinity'")
        self.servicer._scheduler = self.stand.scheduler = self.scheduler
        assert await self.scheduler.hold_lease()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until what was sent has arrived."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self.changed.clear()
                if not condition():
                    await self.changed.wait()

    # ------------------------------------------------------------------ steps

    async def tick(self) -> None:
        """One tick, and the arrival of what it sent."""
        if (memory := self.scheduler.lead.memory) is not None:
            for instance_id in (self._silent & memory.instances.keys()) - self._connected():
                memory.instances[instance_id].seen = float("-inf")
        with contextlib.suppress(Unavailable):
            await self.scheduler.tick()
        for agent in self.agents.values():
            if agent.connected:
                await self.until(lambda agent=agent: self._told(agent))
                agent.check()

    def _told(self, agent: SimulatedAgent) -> bool:
        memory = self.scheduler.lead.memory
        if memory is None or agent.instance_id not in self.scheduler.agents.sessions:
            return True
        lives = memory.instances[agent.instance_id].attempts.values()
        return all(
            (ref := (str(live.key), live.attempt)) in agent.ended
            or (ref in agent.running and (live.stop is None or ref in agent.stops))
            for live in lives
            if not live.held_back
        )

    async def settle(self) -> None:
        """Ticks until nothing more follows and everything is acknowledged.

        Where the database refuses what follows from something, that is tried again with every tick,
        as no clock is waited for here.
        """
        for agent in self.agents.values():
            await agent.catch_up()
        for number in range(1_000):
            await self.tick()
            if not self.scheduler.inbox.empty():
                continue
            # A report may still be on its way; once it is here, it is for the next tick.
            await self.until(
                lambda: (
                    not self.scheduler.inbox.empty()
                    or not any(a.connected and a.journal for a in self.agents.values())
                )
            )
            if self.scheduler.inbox.empty() and not await self.scheduler.tick():
                return
            memory = self.scheduler.lead.memory
            if number > 300 and self._refusing and memory and memory.aside.keys("happening"):
                return
        raise AssertionError("The scheduler never comes to rest.")

    async def arrived(self, agent: SimulatedAgent) -> None:
        """Waits until the scheduler has an agent's latest report."""
        await self.until(
            lambda: (
                not agent.connected
                or agent.is_late
                or self.scheduler.received.get(agent.instance_id, 0) >= agent.sequence
            )
        )

    async def join(self, instance_id: str, vcpus: int) -> SimulatedAgent:
        """A new machine."""
        agent = SimulatedAgent(
            self.stand.port, instance_id, vcpus, self.changed, directory=self._directory
        )
        return await self._enter(agent)

    async def join_managed(self, instance_id: str, vcpus: int) -> SimulatedAgent:
        """A new instance of the managed environment, as that is now."""
        await self.stand.instance(instance_id, vcpus=vcpus, memory_mib=vcpus * 1024)
        await self.stand.conn.execute(
            "UPDATE instances i SET generation = e.generation FROM compute_environments e "
            "WHERE i.instance_id = $1 AND e.name = i.compute_environment",
            instance_id,
        )
        return await self._enter(
            SimulatedAgent(
                self.stand.port,
                instance_id,
                vcpus,
                self.changed,
                directory=self._directory,
                environment="fleet",
                instance_type="local.host",
            )
        )

    async def join_slot(self, instance_id: str, vcpus: int, memory_mib: int) -> SimulatedAgent:
        """A new slot."""
        instance_type = f"fargate.{vcpus}x{memory_mib}"
        await self.stand.instance(
            instance_id, "slots", instance_type=instance_type, vcpus=vcpus, memory_mib=memory_mib
        )
        return await self._enter(
            SimulatedAgent(
                self.stand.port,
                instance_id,
                vcpus,
                self.changed,
                directory=self._directory,
                environment="slots",
                instance_type=instance_type,
                memory_mib=memory_mib,
            )
        )

    async def join_ordered(
        self, instance_id: str, environment: str, instance_type: str, vcpus: int, memory_mib: int
    ) -> SimulatedAgent:
        """An instance on record that was ordered: its agent is up."""
        return await self._enter(
            SimulatedAgent(
                self.stand.port,
                instance_id,
                vcpus,
                self.changed,
                directory=self._directory,
                environment=environment,
                instance_type=instance_type,
                memory_mib=memory_mib,
            )
        )

    async def _enter(self, agent: SimulatedAgent) -> SimulatedAgent:
        self.agents[agent.instance_id] = agent
        await agent.connect()
        return agent

    async def cut(self, agent: SimulatedAgent) -> None:
        """Breaks an agent's stream; the scheduler notices."""
        await agent.disconnect()
        await self.until(lambda: agent.instance_id not in self.scheduler.agents.sessions)

    async def lose(self, agent: SimulatedAgent) -> None:
        """An instance is gone for longer than the scheduler waits, and what ran on it too."""
        await self.cut(agent)
        del self.agents[agent.instance_id]
        self._silent.add(agent.instance_id)

    def _connected(self) -> set[str]:
        return {agent.instance_id for agent in self.agents.values() if agent.connected}

    async def silence(self, agent: SimulatedAgent) -> None:
        """The network is cut for so long that the instance is given up; its attempts run on."""
        await self.lose(agent)
        self.agents[agent.instance_id] = agent

    async def restart(self) -> None:
        """The scheduler dies and another takes over; the dead one's last words change nothing."""
        dead = self.scheduler
        for agent in self.agents.values():
            await agent.disconnect()
        await self.until(lambda: not dead.agents.sessions)
        self.scheduler = WatchedScheduler(self.pool, self.changed)
        await self.lead()
        before = await self._digest()
        with contextlib.suppress(Unavailable):
            await dead.tick()
        assert not dead.lead.held
        assert await self._digest() == before
        for agent in self.agents.values():
            await agent.connect()

    # ------------------------------------------------------------------ instances that go

    async def give_notice(self, agent: SimulatedAgent) -> None:
        """The provider announces an agent's instance's end; the scheduler hears of it if it can."""
        self.scheduler.noticed.discard(agent.instance_id)
        await agent.be_noticed()
        await self.until(lambda: not agent.connected or agent.instance_id in self.scheduler.noticed)

    async def take_away(self, agent: SimulatedAgent, drain_until: datetime | None) -> None:
        """Provisioning gives an instance back."""
        await self.stand.terminating(agent.instance_id, drain_until)
        self.scheduler.note_capacity()

    async def pass_drains(self) -> None:
        """Time passes until the attempts of every instance that has a time are to be stopped."""
        await self.stand.conn.execute(
            "UPDATE instances SET drain_until = now() WHERE drain_until IS NOT NULL"
        )
        self.scheduler.note_capacity()

    async def leave(self, agent: SimulatedAgent) -> None:
        """A drained agent with nothing left exits, and provisioning records its instance's end.

        Nothing is placed there that the agent never heard of.
        """
        live = await self.stand.conn.fetch(
            "SELECT * FROM attempts WHERE status <> 'ENDED' AND instance_id = $1", agent.instance_id
        )
        # An end that it reported may have been refused until now.
        heard = {(str(JobKey(r["job_id"], r["array_index"])), r["attempt"]): r for r in live}
        unheard = [dict(row) for ref, row in heard.items() if ref not in agent.ended]
        assert not unheard, unheard
        await self.lose(agent)
        await self.stand.conn.execute(
            "UPDATE instances SET status = 'TERMINATED', ended_at = now() WHERE instance_id = $1",
            agent.instance_id,
        )
        self.scheduler.note_capacity()

    async def _check_stopped(self) -> None:
        """Whatever runs on an instance whose time is over was told to stop with the tick."""
        if (
            self.scheduler.lead.memory is None
            or self.scheduler.lead.capacity_changed
            or self._refusing
        ):
            return
        forgotten = await self.stand.conn.fetch(
            "SELECT a.* FROM attempts a JOIN instances i USING (instance_id) "
            "WHERE a.status <> 'ENDED' AND a.stop_kind IS NULL "
            "AND i.status = 'TERMINATING' AND i.drain_until <= now() "
            # Those of a lost one are over, and ended so many a tick.
            "AND NOT EXISTS (SELECT FROM agents g "
            "WHERE g.instance_id = i.instance_id AND g.status = 'LOST')"
        )
        assert not forgotten, [dict(row) for row in forgotten]

    async def _check_placed(self) -> None:
        """Nothing was placed since the latest check on what drained then."""
        rows = await self.stand.conn.fetch(
            "SELECT job_id, array_index, attempt, instance_id FROM attempts"
        )
        now = {tuple(row) for row in rows}
        wrong = [row for row in now - self._placed if row[3] in self._draining]
        assert not wrong, ("nothing goes to an instance that drains", wrong)
        self._placed = now
        self._draining = {
            row["instance_id"]
            for row in await self.stand.conn.fetch(
                "SELECT instance_id FROM agents WHERE status = 'DRAINING' "
                "UNION SELECT i.instance_id FROM instances i JOIN compute_environments e "
                "ON e.name = i.compute_environment WHERE i.generation < e.generation"
            )
        }

    async def _digest(self) -> object:
        return await self.stand.conn.fetchval(
            "SELECT md5(string_agg(j::text, ',' ORDER BY job_id, array_index)) FROM jobs j"
        )

    async def refuse(self, table: str, job_id: str) -> None:
        """From now on the database refuses changes of a job in a table."""
        await self.refuse_nothing()
        await self.stand.conn.execute(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'unforeseen'; END $$"
        )
        await self.stand.conn.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW "
            f"WHEN (NEW.job_id = '{job_id}') EXECUTE FUNCTION refuse()"
        )
        self._refusing = table

    async def refuse_nothing(self) -> None:
        """It does no longer; what was set aside is tried again."""
        if self._refusing is not None:
            await self.stand.conn.execute(f"DROP TRIGGER refuse ON {self._refusing}")
            self._refusing = None
            await self.tick()

    async def pass_timeouts(self) -> None:
        """Time passes until every running attempt with a timeout is overdue."""
        if self.scheduler.lead.memory is not None:
            self.scheduler.lead.memory.deadlines[:] = [
                (datetime.min.replace(tzinfo=UTC), key, number)
                for _, key, number in self.scheduler.lead.memory.deadlines
            ]

    # ------------------------------------------------------------------ truth

    async def unfinished(self) -> list[str]:
        """Jobs and array parents that are not final."""
        rows = await self.stand.conn.fetch(
            "SELECT job_id, status FROM jobs WHERE array_index = -1 "
            "AND status NOT IN ('SUCCEEDED', 'FAILED') ORDER BY seq"
        )
        return [f"{row['job_id']} {row['status']}" for row in rows]

    async def check(self) -> None:
        """What must hold between any two transactions."""
        await self.stand.check()
        for name, query in MUST_BE_EMPTY.items():
            wrong = await self.stand.conn.fetch(query)
            assert not wrong, (name, [dict(row) for row in wrong])
        await self._check_final()
        await self._check_placed()
        await self._check_stopped()
        await self._check_mirror()

    async def _check_final(self) -> None:
        rows = await self.stand.conn.fetch(
            "SELECT job_id, array_index, status, status_reason, exit_code, attempt, stopped_at "
            "FROM jobs WHERE status IN ('SUCCEEDED', 'FAILED')"
        )
        now = {JobKey(row[0], row[1]): tuple(row)[2:] for row in rows}
        changed = {
            key: (was, now.get(key)) for key, was in self._final.items() if now.get(key) != was
        }
        assert not changed, ("final is final", changed)
        self._final = now

    async def _check_mirror(self) -> None:
        """The scheduler's memory says what the tables say."""
        memory = self.scheduler.lead.memory
        if memory is None:
            return
        fresh = await _load(self.pool)
        assert {s: n for s, n in memory.runnable.items() if n} == {
            s: n for s, n in fresh.runnable.items() if n
        }
        assert memory.live.keys() == fresh.live.keys()
        assert memory.running == fresh.running
        assert {i: (x.free, x.draining, x.instance_type) for i, x in memory.instances.items()} == {
            i: (x.free, x.draining, x.instance_type) for i, x in fresh.instances.items()
        }


async def _load(pool: Pool) -> Memory:
    async with pool.acquire() as conn:
        assert await agent_table.present(conn) is not None
        return await Memory.load(conn, 0.0)


_CHILD_STATES = """
    SELECT a.job_id, a.size, a.pending, a.runnable, a.starting, a.running, a.succeeded, a.failed,
        coalesce(r.runnable, 0) AS r_runnable, coalesce(c.starting, 0) AS r_starting,
        coalesce(c.running, 0) AS r_running, coalesce(c.succeeded, 0) AS r_succeeded,
        coalesce(c.failed, 0) AS r_failed
    FROM array_jobs a
    LEFT JOIN (SELECT job_id, sum(end_index - next_index) AS runnable FROM ready GROUP BY 1) r
        USING (job_id)
    LEFT JOIN (SELECT job_id, count(*) FILTER (WHERE status = 'STARTING') AS starting,
            count(*) FILTER (WHERE status = 'RUNNING') AS running,
            count(*) FILTER (WHERE status = 'SUCCEEDED') AS succeeded,
            count(*) FILTER (WHERE status = 'FAILED') AS failed
        FROM jobs WHERE array_index >= 0 GROUP BY 1) c USING (job_id)
"""
#: Whether what is waited for, u of the array or job p, has ended as the edge d asks for: what
#: never came to be has failed with its array.
_HOLDS = """
    coalesce(CASE WHEN u.status IS NOT NULL THEN u.status
        WHEN p.status IN ('SUCCEEDED', 'FAILED') THEN 'FAILED' END = ANY (CASE d.condition
            WHEN 'SUCCESS' THEN ARRAY['SUCCEEDED'] WHEN 'FAILURE' THEN ARRAY['FAILED']
            ELSE ARRAY['SUCCEEDED', 'FAILED'] END), false)
"""
#: Name of what must hold -> a query for what breaks it.
MUST_BE_EMPTY = {
    "at most one live attempt of a job": """
        SELECT job_id, array_index FROM attempts WHERE status <> 'ENDED'
        GROUP BY 1, 2 HAVING count(*) > 1""",
    "array counts are the truth": f"""
        SELECT * FROM ({_CHILD_STATES}) s
        WHERE (runnable, starting, running, succeeded, failed)
            IS DISTINCT FROM (r_runnable, r_starting, r_running, r_succeeded, r_failed)
        OR pending <> size - r_runnable - r_starting - r_running - r_succeeded - r_failed""",  # noqa: S608 - constant text
    "a parent ends with its last child": f"""
        SELECT s.*, p.status FROM ({_CHILD_STATES}) s
        JOIN jobs p ON p.job_id = s.job_id AND p.array_index = -1
        WHERE (p.status IN ('SUCCEEDED', 'FAILED')) <> (s.r_succeeded + s.r_failed = s.size)
        OR (p.status = 'SUCCEEDED') <> (s.r_succeeded = s.size)""",  # noqa: S608 - constant text
    "a placed job has its live attempt, and no other job has one": """
        SELECT j.job_id, j.array_index, j.status, j.attempt, a.attempt, a.status AS attempt_status
        FROM (SELECT * FROM jobs WHERE array_size IS NULL AND num_nodes IS NULL
            AND status IN ('STARTING', 'RUNNING')) j
        FULL JOIN (SELECT * FROM attempts WHERE status <> 'ENDED' AND array_index >= -1) a
            ON (a.job_id, a.array_index, a.attempt, a.status)
            = (j.job_id, j.array_index, j.attempt, j.status)
        WHERE a.job_id IS NULL OR j.job_id IS NULL""",
    "what is RUNNABLE is dispatchable, once": """
        SELECT j.job_id, j.array_index, count(r.job_id) FROM jobs j
        LEFT JOIN ready r ON r.job_id = j.job_id
            AND r.next_index <= j.array_index AND j.array_index < r.end_index
        WHERE j.array_size IS NULL
        GROUP BY j.job_id, j.array_index, j.status
        HAVING count(r.job_id) <> (j.status = 'RUNNABLE')::integer""",
    "no child is dispatchable twice": """
        SELECT a.job_id, a.next_index, a.end_index, b.next_index, b.end_index
        FROM ready a JOIN ready b USING (job_id)
        WHERE a.ctid < b.ctid AND a.next_index < b.end_index AND b.next_index < a.end_index""",
    "dependencies ended as asked before": f"""
        SELECT j.job_id, j.status, d.type, d.condition, d.depends_on, d.depends_on_index
        FROM jobs j JOIN job_dependencies d USING (job_id)
        JOIN jobs p ON p.job_id = d.depends_on AND p.array_index = -1
        LEFT JOIN jobs u ON u.job_id = d.depends_on AND u.array_index = d.depends_on_index
        WHERE d.type <> 'N_TO_N' AND j.array_index = -1 AND NOT {_HOLDS}
            AND (j.status IN ('RUNNABLE', 'STARTING', 'RUNNING', 'SUCCEEDED')
                OR EXISTS (SELECT FROM array_jobs a WHERE a.job_id = j.job_id))""",  # noqa: S608 - constant text
    "pairs ended as asked before": f"""
        SELECT j.job_id, j.array_index, j.status FROM jobs j
        JOIN job_dependencies d ON d.job_id = j.job_id AND d.type = 'N_TO_N'
        LEFT JOIN jobs p ON p.job_id = d.depends_on AND p.array_index = -1
        LEFT JOIN jobs u ON u.job_id = d.depends_on AND u.array_index = j.array_index
        WHERE j.array_index >= 0 AND j.attempt > 0 AND NOT {_HOLDS}""",  # noqa: S608 - constant text
    "the child before ended as asked before": f"""
        SELECT j.job_id, j.array_index, j.status FROM jobs j
        JOIN job_dependencies d ON d.job_id = j.job_id AND d.type = 'SEQUENTIAL'
        JOIN jobs p ON p.job_id = j.job_id AND p.array_index = -1
        LEFT JOIN jobs u ON u.job_id = j.job_id AND u.array_index = j.array_index - 1
        WHERE j.array_index > 0 AND j.attempt > 0 AND NOT {_HOLDS}""",  # noqa: S608 - constant text
    "the event log ends once, with the job": """
        SELECT j.job_id, j.array_index, j.status, count(e.event_id) FROM jobs j
        LEFT JOIN job_events e ON (e.job_id, e.array_index) = (j.job_id, j.array_index)
            AND e.status IN ('SUCCEEDED', 'FAILED')
        GROUP BY j.job_id, j.array_index, j.status
        HAVING count(e.event_id) <> (j.status IN ('SUCCEEDED', 'FAILED'))::integer""",
    "the latest event is the status": """
        SELECT j.job_id, j.array_index, j.status, e.status AS latest FROM jobs j
        JOIN LATERAL (SELECT status FROM job_events e
            WHERE (e.job_id, e.array_index) = (j.job_id, j.array_index)
            ORDER BY event_id DESC LIMIT 1) e ON true
        WHERE e.status <> j.status""",
    "a slot has one attempt in all, of its size, and drains": """
        SELECT g.instance_id, g.status, count(*) FROM agents g JOIN attempts a USING (instance_id)
        WHERE g.instance_type LIKE 'fargate.%'
        GROUP BY g.instance_id, g.status, g.vcpu_milli, g.memory_mib
        HAVING count(*) > 1 OR g.status = 'READY'
            OR bool_or((a.vcpu_milli, a.memory_mib) <> (g.vcpu_milli, g.memory_mib))""",
    "stopped attempts do not succeed, and say why they were stopped": """
        SELECT a.job_id, a.array_index, a.attempt, a.stop_reason, a.status_reason, j.status
        FROM attempts a JOIN jobs j USING (job_id, array_index)
        WHERE a.status = 'ENDED' AND a.stop_kind IS NOT NULL
            AND (a.status_reason IS DISTINCT FROM a.stop_reason
                OR (j.attempt = a.attempt AND j.status = 'SUCCEEDED')
                OR (a.stop_kind <> 'HOST_TERMINATED' AND j.status <> 'FAILED'))""",
    "an instance's end is told in AWS's words": """
        SELECT * FROM attempts WHERE stop_kind = 'HOST_TERMINATED'
            AND stop_reason <> 'Host EC2 (instance ' || instance_id || ') terminated.'""",
    "a multi-node job is placed as long as a node of its latest try lives": """
        SELECT j.job_id, j.status, j.attempt, a.attempt AS of_node
        FROM (SELECT * FROM jobs
            WHERE num_nodes IS NOT NULL AND status IN ('STARTING', 'RUNNING')) j
        FULL JOIN (SELECT DISTINCT job_id, attempt FROM attempts
            WHERE status <> 'ENDED' AND array_index < -1) a
            ON (a.job_id, a.attempt) = (j.job_id, j.attempt)
        WHERE a.job_id IS NULL OR j.job_id IS NULL""",
    "what a user terminated is stopped, and never tried again": """
        SELECT j.job_id, j.array_index, j.status, a.array_index AS of_node FROM jobs j
        LEFT JOIN attempts a ON a.job_id = j.job_id AND a.status <> 'ENDED'
            AND (a.array_index = j.array_index OR (a.array_index < -1 AND j.array_index = -1))
        WHERE j.is_terminated
            AND (j.status = 'RUNNABLE' OR (a.job_id IS NOT NULL AND a.stop_kind IS NULL))""",
    "a try has all nodes, on as many instances of one type": """
        SELECT a.job_id, a.attempt, count(*) FROM attempts a
        JOIN jobs j ON j.job_id = a.job_id AND j.num_nodes IS NOT NULL
        LEFT JOIN instances i USING (instance_id)
        GROUP BY a.job_id, a.attempt, j.num_nodes
        HAVING count(i.instance_id) <> j.num_nodes OR count(DISTINCT i.instance_id) <> j.num_nodes
            OR count(DISTINCT (i.instance_type, i.compute_environment)) <> 1""",
    "a node has its instance to itself": """
        SELECT a.instance_id, count(*) FROM attempts a WHERE a.status <> 'ENDED'
        GROUP BY a.instance_id HAVING count(*) > 1 AND bool_or(a.array_index < -1)""",
    "no node starts before the main one": """
        SELECT n.job_id, n.array_index, n.attempt FROM attempts n
        JOIN jobs j ON j.job_id = n.job_id AND j.num_nodes IS NOT NULL
        JOIN attempts m ON (m.job_id, m.attempt, m.array_index)
            = (n.job_id, n.attempt, -2 - j.main_node)
        WHERE n.started_at IS NOT NULL AND m.started_at IS NULL""",
    "a multi-node job ends as its main node did": """
        SELECT j.job_id, j.status, j.status_reason, j.request_reason, j.exit_code, j.stopped_at,
            m.status AS of_node, m.exit_code AS code_of_node, m.stopped_at AS node_stopped_at
        FROM jobs j LEFT JOIN attempts m ON (m.job_id, m.attempt, m.array_index)
            = (j.job_id, j.attempt, -2 - j.main_node)
        WHERE j.num_nodes IS NOT NULL AND j.attempt > 0 AND j.status IN ('SUCCEEDED', 'FAILED')
            AND (m.status, j.exit_code, j.stopped_at, (j.status = 'SUCCEEDED'))
            IS DISTINCT FROM
                ('ENDED', m.exit_code, m.stopped_at, m.stop_kind IS NULL
                    AND m.exit_code IS NOT DISTINCT FROM 0)
            -- But for one that a user ended while it waited for its next try.
            AND NOT (m.status = 'ENDED' AND j.exit_code IS NULL AND j.stopped_at > m.stopped_at
                AND j.status = 'FAILED' AND j.status_reason = j.request_reason)""",
}


@contextlib.asynccontextmanager
async def simulation(database_url: str) -> AsyncIterator[Simulation]:
    """A scheduler that leads, on a server of its own, with one environment and no machine."""
    async with contextlib.AsyncExitStack() as stack:
        pool = await open_pool(database_url)
        stack.push_async_callback(pool.close)
        conn = await asyncpg.connect(database_url)
        stack.push_async_callback(conn.close)
        await conn.set_type_codec(
            "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
        )
        changed = asyncio.Event()
        servicer = AgentServicer(WatchedScheduler(pool, changed), 5.0)
        server = GrpcServer("127.0.0.1:0")
        server.add(
            agent_service_pb2_grpc.add_AgentServiceServicer_to_server,
            servicer,
            "longshore.v1.AgentService",
        )
        await stack.enter_async_context(server)
        stand = Stand(servicer._scheduler, server.port, conn)
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        simulated = Simulation(stand, pool, servicer, Path(directory))
        await simulated.lead()
        await stand.environment()
        try:
            yield simulated
        finally:
            for agent in simulated.agents.values():
                await agent.disconnect()


def _has_ended(entry: JournalEntry) -> bool:
    return entry.change is not None and entry.change.status == pb.ATTEMPT_STATUS_ENDED


def _now() -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC))
    return stamp
