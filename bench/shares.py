"""What fair share costs: deciding among many shares beside one, and arrays beside a plain queue.

A million jobs wait, of one share and of 500; each round 50 attempts of 1,000 end and their room is
given out: from the table of waiting jobs to the last placement, as the scheduler does it in as many
passes as it takes. Then no-op arrays run through every service, in turn in a queue without and with
a policy.
"""

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness import register_noop, running_agents, running_stack, summary, until_succeeded

from longshore.domain.catalogue import Catalogue
from longshore.domain.job.job import JobKey
from longshore.domain.job.record import LiveAttempt
from longshore.domain.placing.round import begin, propose
from longshore.domain.placing.shapes import Placement
from longshore.domain.resources import Resources
from longshore.scheduler.heads import read_heads
from longshore.scheduler.memory import Memory
from longshore.state.embedded import EmbeddedPostgres
from longshore.state.migrate import migrate
from longshore.state.pool import Connection, Pool, open_pool
from longshore.state.scheduler import ready
from longshore.state.scheduler.agent import Health
from longshore_client import Client

ROUNDS = 100
INSTANCES = 63
INSTANCE = Resources(16_000, 65_536)
ENDING = 50
SHARES = 500

FILL = """
INSERT INTO shapes (job_queue, vcpu_milli, memory_mib, gpus, share_identifier)
    SELECT 'q', 1000, 64, 0, 's' || n FROM generate_series(1, {shares}) AS n;
INSERT INTO ready (job_queue, seq, next_index, end_index, job_id, shape_id)
    SELECT 'q', n, -1, 0, gen_random_uuid(), first + (n - 1) % {shares}
    FROM generate_series(1, {jobs}) AS n, (SELECT min(shape_id) AS first FROM shapes) AS s;
INSERT INTO demand (shape_id, runnable) SELECT shape_id, count(*) FROM ready GROUP BY shape_id
"""
TOPOLOGY = """
INSERT INTO compute_environments (name, uuid, type, state, status, detail)
    VALUES ('e', gen_random_uuid(), 'UNMANAGED', 'ENABLED', 'VALID', '{}');
INSERT INTO scheduling_policies (name, fairshare) VALUES ('p', '{"shareDecaySeconds": 3600}');
INSERT INTO job_queues (name, state, status, priority, scheduling_policy)
    VALUES ('q', 'ENABLED', 'VALID', 1, 'p');
INSERT INTO job_queue_environments VALUES ('q', 'e', 1);
"""


class Rounds:
    """The decisions of a scheduler whose attempts end so many at a time."""

    def __init__(self, conn: Connection, memory: Memory) -> None:
        self._conn = conn
        self._memory = memory
        self._catalogue = Catalogue()
        self._random = random.Random(1)
        self._seed = 0
        self._connected = [f"i-{n}" for n in range(INSTANCES)]
        for name in self._connected:
            memory.add_instance(
                name,
                "e",
                "docker",
                INSTANCE,
                draining=False,
                seen=0,
                instance_type="unmanaged",
                health=Health(),
            )
        self.passes = 0

    async def run(self) -> float:
        """Ends some attempts and gives their room out; returns seconds of deciding."""
        memory = self._memory
        count = min(ENDING, len(memory.live))
        for live in self._random.sample(list(memory.live.values()), count):
            memory.release(live)
        seconds = 0.0
        while True:
            started = time.perf_counter()
            placements = await self._decide()
            seconds += time.perf_counter() - started
            if not placements:
                return seconds
            self.passes += 1
            await self._apply(placements)

    async def _decide(self) -> list[Placement]:
        memory, now = self._memory, datetime.now(UTC)
        memory.shares.settle(memory.topology, now)
        ground = memory.ground(self._catalogue)
        trying = begin(ground, memory.parking, now, memory.take_freed())
        if not trying:
            return []
        heads, sharing = await read_heads(self._conn, memory, ground, trying, now)
        rooms = memory.rooms(self._connected)
        proposal = propose(ground, memory.parking, heads, sharing, rooms, now, self._seed)
        self._seed += 1
        memory.parking.take_in(proposal, memory.runnable)
        return proposal.placements

    async def _apply(self, placements: list[Placement]) -> None:
        memory = self._memory
        await ready.take(self._conn, [("q", p.entry, p.array_index + 1) for p in placements])
        for placement in placements:
            shape = memory.shapes[placement.entry.shape_id]
            memory.count_demand({shape.shape_id: -1})
            memory.hold(_live(placement, shape.share))


def _live(placement: Placement, share: str) -> LiveAttempt:
    return LiveAttempt(
        key=JobKey(placement.entry.job_id),
        attempt=1,
        attempt_id=uuid.uuid4().hex,
        instance_id=placement.instance_id,
        compute_environment="e",
        held=Resources(1_000, 64),
        log_stream_name="",
        placed_at=datetime.now(UTC),
        seq=placement.entry.seq,
        job_queue="q",
        shape_id=placement.entry.shape_id,
        attempts_max=1,
        timeout_seconds=None,
        array_size=None,
        share=share,
    )


async def deciding(jobs: int) -> None:
    """Times decisions among one share and among many, in turn."""
    times: dict[int, list[float]] = {1: [], SHARES: []}
    with tempfile.TemporaryDirectory(prefix="longshore-bench-") as directory:
        server = EmbeddedPostgres(Path(directory) / "postgres", durable=False)
        try:
            await asyncio.to_thread(server.start)
            async with contextlib.AsyncExitStack() as stack:
                rounds = {}
                for shares in times:
                    pool = await stack.enter_async_context(await _filled(server, shares, jobs))
                    conn = await stack.enter_async_context(pool.acquire())
                    rounds[shares] = Rounds(conn, await Memory.load(conn, 0))
                    # The first one fills all instances.
                    await rounds[shares].run()
                    rounds[shares].passes = 0
                for _ in range(ROUNDS):
                    for shares, one in rounds.items():
                        times[shares].append(await one.run() * 1000)
        finally:
            await asyncio.to_thread(server.stop)
    for shares, found in times.items():
        passes = rounds[shares].passes / ROUNDS
        print(f"{shares} shares, {jobs:,} jobs: {summary(found, 'ms')}, {passes:.1f} passes")
    print(f"{SHARES} shares beside one: {_quick(times[SHARES]) / _quick(times[1]):.2f}")


async def _filled(server: EmbeddedPostgres, shares: int, jobs: int) -> Pool:
    """A database in which so many jobs of so many shares wait."""
    name = f"shares_{shares}"
    pool = await open_pool(server.url())
    async with pool, pool.acquire() as conn:
        await conn.execute(f"CREATE DATABASE {name}")
    await migrate(server.url(name))
    pool = await open_pool(server.url(name))
    async with pool.acquire() as conn:
        await conn.execute("SET statement_timeout = 0")
        fill = TOPOLOGY + FILL.format(shares=shares, jobs=jobs)
        for statement in fill.split(";\n"):
            await conn.execute(statement, timeout=600)
        await conn.execute("VACUUM ANALYZE", timeout=600)
    return pool


def _quick(values: Sequence[float]) -> float:
    """The tenth that is quickest takes no longer: what else the machine does is in the others."""
    return sorted(values)[len(values) // 10]


async def arrays(size: int, repeats: int) -> None:
    """Arrays of no-ops in a queue without and with a policy."""
    rates: dict[str, list[float]] = {"machines": [], "fair": []}
    with running_stack("process") as (base, directory):
        async with (
            running_agents(base, directory, runtime="simulated", count=2, vcpus=1_000),
            Client(f"127.0.0.1:{base}") as client,
        ):
            definition = await register_noop(client)
            await client.create_policy("fair")
            await client.create_queue("fair", ["machines"], scheduling_policy="fair")
            for _ in range(repeats):
                for queue, times in rates.items():
                    started = time.time()
                    job_id = await client.submit_job(
                        "array",
                        queue=queue,
                        definition=definition,
                        array_size=size,
                        share="a" if queue == "fair" else None,
                    )
                    [job] = await until_succeeded(client, [job_id], 300)
                    times.append(size / (job.stopped_at / 1000 - started))
    for queue, times in rates.items():
        print(f"array of {size} in {queue}: {summary(times, 'jobs/s', 0)}")
    print(f"with a policy beside without: {max(rates['fair']) / max(rates['machines']):.2f}")


async def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--array", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    await deciding(options.jobs)
    await arrays(options.array, options.repeats)


if __name__ == "__main__":
    asyncio.run(main())
