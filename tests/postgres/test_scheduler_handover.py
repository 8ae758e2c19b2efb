"""Two schedulers on one database, whose lease changes hands at any moment while agents stream.

Whatever comes between them, every job runs once and ends as it ran: none is started twice, none is
lost.
"""

import asyncio
import contextlib
import itertools
import json
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import grpc
import pytest
from support.patience import PATIENCE_SECONDS
from support.scheduling import LEASE_SECONDS, LOST_SECONDS, Ended, Stand, local_catalogue
from support.simulation import Ref, SimulatedAgent

from longshore.domain.errors import Unavailable
from longshore.rpc.server import GrpcServer
from longshore.runtime.loop import Loop
from longshore.scheduler.service import Scheduler
from longshore.scheduler.wire.servicer import AgentServicer
from longshore.state.listen import CAPACITY, CONSUMABLES, ENVIRONMENTS, JOBS, Listener
from longshore.state.pool import open_pool
from longshore.v1 import agent_service_pb2_grpc

HOLD_SECONDS = 0.1
AGENTS = 3
#: What a write says on a stream that ended.
BROKEN = (grpc.aio.AioRpcError, asyncio.InvalidStateError)
#: So many children may run at a time.
LICENCES = 6
#: What comes between.
BLOWS = ["lapse", "stall", "release", "kill", "cut", "cut"] * 4


class Peer:
    """One of the schedulers."""

    def __init__(self, scheduler: Scheduler, port: int) -> None:
        self.scheduler = scheduler
        self.port = port
        self.is_stalled = False
        self.led = 0

    async def hold(self) -> None:
        """Prolongs the lease, unless this process stands still meanwhile."""
        if not self.is_stalled:
            before = self.scheduler.lead.held
            after = await self.scheduler.hold_lease()
            self.led += after and not before


@contextlib.asynccontextmanager
async def a_peer(database_url: str) -> AsyncIterator[Peer]:
    """A scheduler with its loops, as its `__main__` builds it."""
    async with contextlib.AsyncExitStack() as stack:
        pool = await open_pool(database_url)
        stack.push_async_callback(pool.close)
        scheduler = Scheduler(
            pool,
            domain="default",
            holder=str(uuid.uuid4()),
            catalogue=local_catalogue(),
            lease_seconds=LEASE_SECONDS,
            lost_seconds=LOST_SECONDS,
        )
        server = GrpcServer("127.0.0.1:0")
        server.add(
            agent_service_pb2_grpc.add_AgentServiceServicer_to_server,
            AgentServicer(scheduler, 0.2),
            "longshore.v1.AgentService",
        )
        await stack.enter_async_context(server)
        peer = Peer(scheduler, server.port)
        ticks = Loop("tick", scheduler.tick, 0.05, gather=0.002)
        scheduler.wake = ticks.wake
        wakes = {
            JOBS: ticks.wake,
            CAPACITY: scheduler.note_capacity,
            ENVIRONMENTS: scheduler.note_topology,
            CONSUMABLES: scheduler.note_consumables,
        }
        runners = [
            asyncio.create_task(run())
            for run in (
                ticks.run,
                Loop("lease", peer.hold, HOLD_SECONDS).run,
                Listener(database_url, wakes).run,
            )
        ]
        try:
            yield peer
        finally:
            for runner in runners:
                runner.cancel()
            await asyncio.gather(*runners, return_exceptions=True)


class Machine(SimulatedAgent):
    """Runs what it is told to, and looks for whoever leads when its stream breaks."""

    def __init__(self, instance_id: str, ports: list[int], chance: random.Random) -> None:
        super().__init__(0, instance_id, 8, asyncio.Event())
        self._ports = itertools.cycle(ports)
        self._chance = chance
        #: Reports go up in their order, on one stream at a time.
        self._turn = asyncio.Lock()
        self.begun: Counter[Ref] = Counter()
        #: What the leader did not want any more although it never ended.
        self.dropped: set[Ref] = set()

    async def live(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._port = next(self._ports)
                before = set(self.running)
                try:
                    async with self._turn, asyncio.timeout(5):
                        await self.connect()
                except (*BROKEN, AssertionError, TimeoutError):
                    self.connected = False
                    await self._channel.close()
                    await asyncio.sleep(0.02)
                    continue
                self.dropped |= before - self.running.keys() - self.ended
                while self.connected:
                    self._changed.clear()
                    for ref in self.running.keys() - self.begun.keys():
                        self.begun[ref] += 1
                        group.create_task(self._run(ref))
                    await self._changed.wait()
                self.check()
                await self._channel.close()

    async def _run(self, ref: Ref) -> None:
        for step in (self.start(ref), self._end(ref)):
            await asyncio.sleep(self._chance.uniform(0, 0.1))
            async with self._turn:
                # What could not be said now is in the journal.
                with contextlib.suppress(*BROKEN):
                    await step

    async def _end(self, ref: Ref) -> None:
        await self.end(ref, Ended(0))


async def come_between(
    blow: str, stand: Stand, peers: list[Peer], machines: list[Machine], chance: random.Random
) -> None:
    """Something that takes the lease from whoever has it, or a stream from an agent."""
    leaders = [peer for peer in peers if peer.scheduler.lead.held]
    if blow == "lapse":
        await stand.conn.execute("UPDATE leases SET expires_at = '-infinity'")
    elif blow == "stall":
        for peer in leaders[:1]:
            peer.is_stalled = True
            token = peer.scheduler.lead.leadership.token
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not any(one.scheduler.lead.held for one in peers if one is not peer):
                    # Again and again, as it may be prolonging it at this moment.
                    await stand.conn.execute(
                        "UPDATE leases SET expires_at = '-infinity' WHERE token = $1", token
                    )
                    await asyncio.sleep(0.01)
            peer.is_stalled = False
    elif blow == "release":
        with contextlib.suppress(Unavailable):
            for peer in leaders:
                await peer.scheduler.release_lease()
    elif blow == "kill":
        await stand.conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'longshore'"
        )
    else:
        machine = chance.choice(machines)
        for peer in peers:
            if (session := peer.scheduler.agents.sessions.get(machine.instance_id)) is not None:
                session.close()


@pytest.mark.parametrize("seed", range(3))
async def test_no_job_runs_twice_and_none_is_lost(database_url: str, seed: int) -> None:
    chance = random.Random(seed)
    async with contextlib.AsyncExitStack() as stack:
        conn = await asyncpg.connect(database_url)
        stack.push_async_callback(conn.close)
        await conn.set_type_codec(
            "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
        )
        peers = [await stack.enter_async_context(a_peer(database_url)) for _ in range(2)]
        stand = Stand(peers[0].scheduler, peers[0].port, conn)
        await stand.environment()
        await stand.queue()
        await stand.consumable("licence", LICENCES)
        await stand.consumable("tokens", len(BLOWS), "NON_REPLENISHABLE")
        ports = [peer.port for peer in peers]
        machines = [Machine(f"i-{n:017x}", ports, chance) for n in range(AGENTS)]
        living = [asyncio.create_task(machine.live()) for machine in machines]

        async def end_all() -> None:
            for task in living:
                task.cancel()
            await asyncio.gather(*living, return_exceptions=True)

        stack.push_async_callback(end_all)
        jobs: list[str] = []
        for number, blow in enumerate(chance.sample(BLOWS, len(BLOWS))):
            first = await stand.submit(units="tokens=1")
            jobs += [
                first,
                await stand.submit(size=4, units="licence=1"),
                await stand.submit(depends_on=[(first, "PLAIN")]),
            ]
            await come_between(blow, stand, peers, machines, chance)
            await asyncio.sleep(chance.uniform(0, 0.15))
            assert not [task for task in living if task.done()], number
        async with asyncio.timeout(PATIENCE_SECONDS):
            for job in jobs:
                await stand.until(job, "SUCCEEDED")
        await end_all()
        for machine in machines:
            await machine.disconnect()
        assert not [ref for machine in machines for ref in machine.dropped]
        begun = sum((machine.begun for machine in machines), Counter())
        assert set(begun.values()) == {1}
        assert {number for _, number in begun} == {1}
        # An array is its children.
        assert len(begun) == len(BLOWS) * (1 + 4 + 1)
        assert await conn.fetchval("SELECT count(*) FROM attempts") == len(begun)
        assert await conn.fetchval("SELECT count(*) FROM attempts WHERE status <> 'ENDED'") == 0
        await stand.check()
        held = await conn.fetch(
            "SELECT placed_at, stopped_at FROM attempts WHERE array_index >= 0 ORDER BY 1"
        )
        assert max(sum(a <= at < b for a, b in held) for at, _ in held) <= LICENCES
        tokens = "SELECT total_quantity FROM consumable_resources WHERE name = 'tokens'"
        assert await conn.fetchval(tokens) == 0
        assert all(peer.led for peer in peers)
