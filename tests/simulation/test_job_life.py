"""The life of jobs under faults: whatever happens stays true, and when faults stop all jobs end.

A seed chooses every step. It is printed when a run fails; `make sim SEED=n` runs it again.
"""

import os
import random
import re
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from structlog.testing import ReturnLogger
from support.scheduling import Ended
from support.simulated_capacity import Capacity, capacity
from support.simulation import Ref, SimulatedAgent, Simulation, simulation

from longshore.domain.job.life import Allowance
from longshore.scheduler import apart, following, instances, requesting, resuming, tick

STEPS = 120
_SEED = os.environ.get("LONGSHORE_TEST_SEED")
#: Seeds drawn anew in each run, under names that every worker of a run knows.
_NEW = [f"new{number}" for number in range(int(os.environ.get("LONGSHORE_TEST_SEEDS") or 1))]
SEEDS = [_SEED] if _SEED else ["1", "5", "8", "11", *_NEW]
CONDITIONS = ("SUCCESS", "SUCCESS", "COMPLETE", "FAILURE")
#: Rounds in which every live attempt ends: more than the longest chain of dependencies and retries.
ROUNDS = 400
#: What jobs need of consumable resources, most of them nothing.
UNITS = ["", "", "", "licence=1", "licence=2", "tokens=1", "licence=1,tokens=2"]
_LOST = Ended(None, None, "Host EC2 (instance i-1) terminated.")


# A run makes hundreds of transactions and checks the whole truth after each of them.
@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_jobs_live_and_end(
    seed: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = int(seed) if seed.isdecimal() else random.SystemRandom().randrange(10**9)
    print(f"seed {number}")  # noqa: T201 - pytest shows it when the run fails
    # What was set aside is tried again with each tick: no clock is waited for.
    monkeypatch.setattr(apart, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(apart, "log", ReturnLogger())  # with tracebacks, again and again
    if number % 2:
        carry_over(monkeypatch)
    async with simulation(database_url) as simulated, capacity(simulated.pool) as provided:
        driver = Driver(simulated, provided, random.Random(number))
        await driver.begin()
        for _ in range(STEPS):
            await driver.step()
        await driver.stop_faults()
        await driver.finish()


def carry_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a tick do so little that most of what follows from anything is for later ones."""
    monkeypatch.setattr(tick, "Allowance", lambda: Allowance(steps=3, rounds=2))
    monkeypatch.setattr(resuming, "RESUME_LIMIT", 2)
    monkeypatch.setattr(following, "PAGE_LEAST", 4)
    monkeypatch.setattr(requesting, "CHILDREN_LIMIT", 2)
    monkeypatch.setattr(instances, "LOST_LIMIT", 1)


class Driver:
    """Chooses what happens next."""

    def __init__(self, simulated: Simulation, provided: Capacity, rng: random.Random) -> None:
        self._world = simulated
        self._provided = provided
        #: Instances of the cloud whose agents were up once.
        self._booted: set[str] = set()
        self._rng = rng
        self._jobs: list[str] = []
        self._arrays: dict[str, int] = {}
        self._queues = ["high", "low", "doomed"]
        self._machines = 0
        self._done: list[str] = []
        #: Units that there were of what is used up, and that were held of what is not.
        self._tokens = 10
        self._held = 0
        self._steps: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (14, self.submit),
            (12, self.start_one),
            (20, self.end_one),
            (20, self.tick),
            (5, self.settle),
            (4, self.cancel_or_terminate),
            (3, self.break_stream),
            (4, self.reopen_stream),
            (2, self.repeat_report),
            (2, self.restart_agent),
            (2, self.hold_reports_back),
            (3, self.catch_up),
            (1, self.lose_instance),
            (1, self.silence_instance),
            (6, self.add_instance),
            (5, self.scale),
            (5, self.provision),
            (5, self.boot),
            (2, self.cloud_fault),
            (1, self.reclaim),
            (2, self.notice),
            (6, self.take_away),
            (3, self.pass_drains),
            (4, self.leave),
            (1, self.fail_a_transaction),
            (3, self.refuse),
            (2, self.refuse_nothing),
            (1, self.restart),
            (1, self.die_after_commit),
            (1, self.time_out),
            (1, self.toggle_environment),
            (1, self.update_environment),
            (1, self.delete_queue),
            (4, self.change_stock),
            (3, self.cap_queue),
        ]

    async def begin(self) -> None:
        await self._world.stand.managed()
        await self._world.stand.managed("slots", resource_type="FARGATE", types=())
        for name, priority, *environments in (
            ("high", 10, "fleet", "slots", "machines"),
            ("low", 1, "slots", "machines", "fleet"),
            ("doomed", 1, "machines", "fleet", "slots"),
        ):
            await self._world.stand.queue(name, *environments, priority=priority)
        self._world.scheduler.note_topology()
        await self._world.stand.consumable("licence", 3)
        await self._world.stand.consumable("tokens", self._tokens, "NON_REPLENISHABLE")
        await self._world.join("i-000000000000000a1", 4)
        await self._world.join_managed("i-000000000000000a2", 8)
        await self._world.join_slot("i-000000000000000a3", 1, 64)

    async def step(self) -> None:
        """One thing happens, and the whole truth is checked."""
        weights = [weight for weight, _ in self._steps]
        (chosen,) = self._rng.choices([do for _, do in self._steps], weights)
        self._done.append(chosen.__name__)
        try:
            before, since = await self._live(), datetime.now(UTC)
            await chosen()
            await self._world.check()
            await self._check_caps(before, since)
            await self._check_stock()
        except BaseException as error:
            error.add_note(f"steps: {', '.join(self._done)}")
            raise

    async def _live(self) -> list[asyncpg.Record]:
        """Live attempts with the caps that hold for them; of a multi-node job the first node's."""
        return await self._world.stand.conn.fetch(
            "SELECT a.attempt_id, a.placed_at, s.shape_id, s.max_running AS of_array, "
            "j.job_queue, q.max_running AS of_queue "
            "FROM attempts a "
            "JOIN jobs j ON (j.job_id, j.array_index) = (a.job_id, greatest(a.array_index, -1)) "
            "JOIN jobs p ON (p.job_id, p.array_index) = (a.job_id, -1) "
            "JOIN shapes s ON s.shape_id = p.shape_id "
            "LEFT JOIN job_queues q ON q.name = j.job_queue "
            "WHERE a.status <> 'ENDED' AND (a.array_index >= -2)"
        )

    async def _check_caps(self, before: list[asyncpg.Record], since: datetime) -> None:
        """Where anything was placed, no more run than may, but for what came back meanwhile."""
        known = {row["attempt_id"] for row in before}
        live = [
            row
            for row in await self._live()
            if row["attempt_id"] in known or row["placed_at"] >= since
        ]
        for name, cap in (("shape_id", "of_array"), ("job_queue", "of_queue")):
            placed = {row[name]: row[cap] for row in live if row["attempt_id"] not in known}
            for one, most in placed.items():
                count = sum(row[name] == one for row in live)
                assert not most or count <= most, f"{count} run of {one}, and {most} may"

    # ------------------------------------------------------------------ users

    async def submit(self) -> None:
        """A single job, a multi-node job or an array, with or without dependencies of any type."""
        rng = self._rng
        size = rng.choice([None, None, 2, 3, 5])
        nodes = rng.choice([0, 0, 1, 2, 3]) if size is None else 0
        depends_on: list[tuple[str | None, str, str]] = []
        for upstream in rng.sample(self._jobs, min(len(self._jobs), rng.choice([0, 0, 1, 2]))):
            if size is not None and self._arrays.get(upstream) == size and rng.random() < 0.7:
                depends_on.append((upstream, "N_TO_N", rng.choice(CONDITIONS)))
            elif upstream in self._arrays and rng.random() < 0.3:
                child = f"{upstream}:{rng.randrange(self._arrays[upstream])}"
                depends_on.append((child, "PLAIN", rng.choice(CONDITIONS)))
            elif size is not None and rng.random() < 0.3:
                depends_on.append((upstream, "SEQUENTIAL", rng.choice(["SUCCESS", "COMPLETE"])))
            else:
                depends_on.append((upstream, "PLAIN", rng.choice(CONDITIONS)))
        if size is not None and rng.random() < 0.3:
            depends_on.append((None, "SEQUENTIAL", rng.choice(["SUCCESS", "COMPLETE"])))
        job = await self._world.stand.submit(
            rng.choice(self._queues),
            vcpus=rng.choice([1, 1, 2, 4]),
            size=size,
            attempts=rng.choice([1, 2, 3]),
            timeout_seconds=rng.choice([None, 3600]),
            rules=rng.choice([[], [{"action": "EXIT", "onExitCode": "3"}]]),
            depends_on=depends_on,
            nodes=nodes,
            main_node=rng.randrange(nodes) if nodes else 0,
            max_running=rng.choice([0, 0, 1, 2]) if size is not None else 0,
            units=rng.choice(UNITS),
        )
        self._jobs.append(job)
        if size is not None:
            self._arrays[job] = size

    async def cancel_or_terminate(self) -> None:
        """One request or a few, of whole jobs or children."""
        for _ in range(self._rng.choice([1, 1, 3])):
            if self._jobs:
                job = self._rng.choice(self._jobs)
                if job in self._arrays and self._rng.random() < 0.5:
                    job = f"{job}:{self._rng.randrange(self._arrays[job])}"
                await self._world.stand.request(job, self._rng.choice(["CANCEL", "TERMINATE"]))

    async def delete_queue(self) -> None:
        """The queue that nobody submits to any more is deleted, with requests on its way."""
        if "doomed" in self._queues:
            self._queues.remove("doomed")
            await self.cancel_or_terminate()
            await self._world.stand.conn.execute(
                "UPDATE job_queues SET status = 'DELETING', state = 'DISABLED' "
                "WHERE name = 'doomed'"
            )
            self._world.scheduler.note_topology()

    async def cap_queue(self) -> None:
        """So many jobs of a queue run from now on."""
        await self._world.stand.cap(self._rng.choice([0, 1, 2, 4]), self._rng.choice(self._queues))
        self._world.scheduler.note_topology()

    async def change_stock(self) -> None:
        """There are more or fewer units, also fewer than are held, or the resource is gone."""
        rng, stand = self._rng, self._world.stand
        if rng.random() < 0.3:
            more = rng.randrange(1, 6)
            self._tokens += more
            await stand.conn.execute(
                "UPDATE consumable_resources SET total_quantity = total_quantity + $1 "
                "WHERE name = 'tokens'",
                more,
            )
        elif rng.random() < 0.2:
            await stand.conn.execute("DELETE FROM consumable_resources WHERE name = 'licence'")
        else:
            await stand.consumable("licence", rng.randrange(5))
        self._world.scheduler.note_consumables()

    async def _check_stock(self) -> None:
        """No more is held than there is, or was when less was said; and nothing leaks."""
        conn = self._world.stand.conn
        held = await conn.fetchval(
            "SELECT coalesce(max(held), 0) FROM consumable_usages WHERE resource = 'licence'"
        )
        total = await conn.fetchval(
            "SELECT total_quantity FROM consumable_resources WHERE name = 'licence'"
        )
        # Of one that is gone nobody gets any; who had some and was given up may still have it.
        assert total is None or held <= max(total, self._held), (held, total, self._held)
        self._held = held
        left, used = await conn.fetchrow(
            "SELECT (SELECT total_quantity FROM consumable_resources WHERE name = 'tokens'), "
            "(SELECT coalesce(sum(substring(consumables FROM 'tokens=([0-9]+)')::bigint), 0) "
            "FROM (SELECT DISTINCT a.job_id, greatest(a.array_index, -1), a.attempt, s.consumables "
            "FROM attempts a JOIN jobs j ON j.job_id = a.job_id AND j.array_index = -1 "
            "JOIN shapes s USING (shape_id)) tried)"
        )
        assert left + used == self._tokens, "each attempt used up what it needs, once"

    async def toggle_environment(self) -> None:
        """No job goes to a DISABLED environment."""
        await self._world.stand.conn.execute(
            "UPDATE compute_environments SET state = "
            "CASE state WHEN 'ENABLED' THEN 'DISABLED' ELSE 'ENABLED' END"
        )
        self._world.scheduler.note_topology()

    async def update_environment(self) -> None:
        """Instances of before take nothing more, and are given back in their time."""
        await self._world.stand.conn.execute(
            "UPDATE compute_environments SET generation = generation + 1 WHERE name = 'fleet'"
        )
        self._world.scheduler.note_topology()

    # ------------------------------------------------------------------ scheduler

    async def tick(self) -> None:
        await self._world.tick()

    async def settle(self) -> None:
        await self._world.settle()

    async def fail_a_transaction(self) -> None:
        self._world.scheduler.fail_before_commit = True
        await self._world.tick()

    async def refuse(self) -> None:
        """The database refuses what changes of one job, in one of its tables."""
        if self._jobs:
            table = self._rng.choice(["jobs", "attempts", "job_events", "array_jobs", "ready"])
            await self._world.refuse(table, self._rng.choice(self._jobs[-8:]))

    async def refuse_nothing(self) -> None:
        await self._world.refuse_nothing()

    async def restart(self) -> None:
        await self._world.restart()

    async def die_after_commit(self) -> None:
        """The process dies between the commit and what it would have sent."""
        self._world.scheduler.dies_after_commit = True
        await self._world.scheduler.tick()
        await self._world.restart()

    async def time_out(self) -> None:
        await self._world.pass_timeouts()

    # ------------------------------------------------------------------ agents

    def _agent(self, *, connected: bool | None = None) -> SimulatedAgent | None:
        agents = [
            agent
            for agent in self._world.agents.values()
            if connected is None or agent.connected is connected
        ]
        return self._rng.choice(agents) if agents else None

    def _by_age(self, refs: Iterable[Ref]) -> list[Ref]:
        """Attempts in the order of their jobs' submission: ids are not the seed's."""

        def place(ref: Ref) -> tuple[int, str, int]:
            job, number = ref
            job_id = re.split("[:#]", job)[0]
            return self._jobs.index(job_id), job.removeprefix(job_id), number

        return sorted(refs, key=place)

    async def add_instance(self) -> None:
        """A machine of its owner, an instance that was ordered, or a slot for one job."""
        if len(self._world.agents) < 8:
            self._machines += 1
            instance_id = f"i-{self._machines:017x}"
            match self._rng.choice(["machine", "instance", "instance", "slot"]):
                case "machine":
                    await self._world.join(instance_id, self._rng.choice([2, 4, 8]))
                case "instance":
                    await self._world.join_managed(instance_id, self._rng.choice([2, 4, 4, 8]))
                case "slot":
                    await self._world.join_slot(instance_id, self._rng.choice([1, 2]), 64)

    async def scale(self) -> None:
        """A pass of the scaler: orders, gives back, and writes down what environments have."""
        await self._provided.scale()
        self._world.scheduler.note_topology()
        self._world.scheduler.note_capacity()

    async def provision(self) -> None:
        """A pass of provisioning; agents end with their instances."""
        await self._provided.reconcile()
        self._world.scheduler.note_capacity()
        for agent in list(self._world.agents.values()):
            gone = agent.instance_id not in self._provided.cloud.running
            if gone and agent.instance_id in self._booted:
                await self._world.lose(agent)

    async def boot(self) -> None:
        """The agent of an instance that was ordered registers for the first time."""
        for row in await self._world.stand.conn.fetch(
            "SELECT instance_id, compute_environment, instance_type, vcpus, memory_mib "
            "FROM instances WHERE provider = 'cloud' AND status = 'LAUNCHED' "
            "ORDER BY ordered_at, instance_id"
        ):
            instance_id = row["instance_id"]
            there = instance_id in self._provided.cloud.running
            if there and instance_id not in self._booted and len(self._world.agents) < 12:
                self._booted.add(instance_id)
                await self._world.join_ordered(
                    instance_id,
                    row["compute_environment"],
                    row["instance_type"],
                    int(row["vcpus"]),
                    row["memory_mib"],
                )
                return

    async def cloud_fault(self) -> None:
        """It has none left, does not answer, loses an answer, or is well again."""
        cloud = self._provided.cloud
        match self._rng.choice(["room", "refuses", "loses", "blind", "keeps", "heal", "heal"]):
            case "room":
                cloud.room = self._rng.choice([0, 1])
            case "refuses":
                cloud.refuses = 1
            case "loses":
                cloud.loses = 1
            case "blind":
                cloud.is_blind = True
            case "keeps":
                cloud.keeps_all = True
            case "heal":
                self._provided.heal()

    async def reclaim(self) -> None:
        """The cloud takes an instance back, with or without a word."""
        cloud = self._provided.cloud
        if cloud.running:
            instance_id = self._rng.choice(list(cloud.running))
            del cloud.running[instance_id]
            if self._rng.random() < 0.5:
                cloud.took[instance_id] = "Server.SpotInstanceTermination"
            if instance_id in self._world.agents:
                await self._world.lose(self._world.agents[instance_id])

    async def start_one(self) -> None:
        agent = self._agent()
        waiting = (
            [] if agent is None else self._by_age(r for r, on in agent.running.items() if not on)
        )
        if agent is not None and waiting:
            await agent.start(self._rng.choice(waiting))
            await self._world.arrived(agent)

    async def end_one(self) -> None:
        """Some attempt ends, by itself or because it was told to."""
        agent = self._agent()
        if agent is not None and agent.running:
            ref = self._rng.choice(self._by_age(agent.running))
            codes = [143, 137, 0] if ref in agent.stops else [0, 0, 0, 1, 3, None]
            code = self._rng.choice(codes)
            await agent.end(ref, Ended(code) if code is not None else _LOST)
            await self._world.arrived(agent)

    async def break_stream(self) -> None:
        agent = self._agent(connected=True)
        if agent is not None:
            await self._world.cut(agent)

    async def reopen_stream(self) -> None:
        agent = self._agent(connected=False)
        if agent is not None:
            await agent.connect()

    async def repeat_report(self) -> None:
        agent = self._agent(connected=True)
        if agent is not None:
            await agent.repeat()

    async def restart_agent(self) -> None:
        """It knows what its journal says, and reports again what was not acknowledged."""
        agent = self._agent()
        if agent is not None:
            if agent.connected:
                await self._world.cut(agent)
            await agent.restart()

    async def hold_reports_back(self) -> None:
        agent = self._agent(connected=True)
        if agent is not None:
            agent.is_late = True

    async def catch_up(self) -> None:
        """What was held back arrives, in order and some of it twice."""
        agent = self._agent(connected=True)
        if agent is not None:
            await agent.catch_up()
            await self._world.arrived(agent)

    async def lose_instance(self) -> None:
        agent = self._agent()
        if agent is not None:
            await self._world.lose(agent)

    async def silence_instance(self) -> None:
        agent = self._agent()
        if agent is not None:
            await self._world.silence(agent)

    # ------------------------------------------------------------------ instances that go

    async def notice(self) -> None:
        """The provider announces the end of an instance; provisioning may act on it."""
        agent = self._agent()
        if agent is not None:
            await self._world.give_notice(agent)
            if self._rng.random() < 0.5:
                await self._world.take_away(agent, datetime.now(UTC) + timedelta(hours=1))

    async def take_away(self) -> None:
        """An instance is given back: when it is empty, within an hour, or at once."""
        ours = [a for a in self._world.agents.values() if a.instance_type != "unmanaged"]
        busy = [a for a in ours if a.running and not a.draining] or ours
        if busy:
            now = datetime.now(UTC)
            until = self._rng.choice([None, now + timedelta(hours=1), now, now])
            await self._world.take_away(self._rng.choice(busy), until)

    async def pass_drains(self) -> None:
        await self._world.pass_drains()

    async def leave(self) -> None:
        """An agent that drains and has nothing left exits."""
        for agent in list(self._world.agents.values()):
            if agent.draining and not agent.running and not agent.journal:
                await self._world.leave(agent)
                return

    # ------------------------------------------------------------------ progress

    async def stop_faults(self) -> None:
        """All machines are there again, among them what is large enough, and enough, for any."""
        await self._world.refuse_nothing()
        self._provided.heal()
        await self._world.stand.consumable("licence", 4)
        self._tokens += 1_000
        await self._world.stand.conn.execute(
            "UPDATE consumable_resources SET total_quantity = total_quantity + 1000 "
            "WHERE name = 'tokens'"
        )
        self._world.scheduler.note_consumables()
        await self._world.stand.conn.execute("UPDATE compute_environments SET state = 'ENABLED'")
        self._world.scheduler.note_topology()
        for agent in self._world.agents.values():
            if not agent.connected:
                await agent.connect()
        await self._world.join("i-0000000000000ffff", 8)
        for number in range(3):
            await self._world.join_managed(f"i-000000000000fff{number:02x}", 8)

    async def finish(self) -> None:
        """Every attempt ends well in its turn, and so every job comes to its end."""
        for _ in range(ROUNDS):
            await self._world.settle()
            await self._world.check()
            await self._check_stock()
            if not (left := await self._world.unfinished()):
                break
            for agent in self._world.agents.values():
                if not agent.connected:
                    await agent.connect()
            live = [(a, ref) for a in self._world.agents.values() for ref in a.running]
            assert live, f"nothing runs, and these wait for ever: {left}"
            for agent, ref in live:
                await agent.end(ref, Ended(143 if ref in agent.stops else 0))
        assert not left
        conn = self._world.stand.conn
        assert await conn.fetchval("SELECT count(*) FROM attempts WHERE status <> 'ENDED'") == 0
        assert await conn.fetchval("SELECT count(*) FROM ready") == 0
        assert await conn.fetchval("SELECT count(*) FROM job_requests") == 0
        assert await conn.fetchval("SELECT count(*) FROM happenings") == 0
        assert await conn.fetchval("SELECT coalesce(sum(runnable), 0) FROM demand") == 0
        assert await conn.fetchval("SELECT count(*) FROM consumable_usages") == 0
        await self._check_cloud()
        if "doomed" not in self._queues:
            assert await conn.fetchval("SELECT count(*) FROM job_queues") == 2

    async def _check_cloud(self) -> None:
        """What the cloud has is on record, and what is on record it has: no orphan, no ghost."""
        for _ in range(4):
            await self.provision()
        rows = await self._world.stand.conn.fetch(
            "SELECT instance_id FROM instances WHERE provider = 'cloud' AND ended_at IS NULL"
        )
        assert {row["instance_id"] for row in rows} == self._provided.cloud.running.keys()
        open_orders = "SELECT count(*) FROM capacity_orders WHERE closed_at IS NULL"
        assert await self._world.stand.conn.fetchval(open_orders) == 0
