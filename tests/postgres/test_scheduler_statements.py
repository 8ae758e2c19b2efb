"""No statement of a tick costs the mirror or stops the tick when it fails, once or for a long time.

The test lets a statement fail in the database, inside the tick's transaction. What does not need it
goes on meanwhile, and once the database takes it again, everything comes to its end.
"""

import asyncio
import contextlib
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs
from support.scheduling import DEADLINE, Agent, Ended, Stand, scheduler_stand

from longshore.domain.job.life import Allowance
from longshore.scheduler import apart, sharing, tick
from longshore.scheduler.tick import Tick
from longshore.state import listen
from longshore.state.queries import all_queries
from longshore.v1 import agent_service_pb2 as pb

#: What no job can end without.
NEEDED = {
    "attempt.insert",
    "attempt.move",
    "demand.shapes",
    "job_dependency.of_jobs",
    "job_dependency.widths",
    "job_event.insert",
    "job_transition.details",
    "job_transition.move",
    "job_transition.start",
    "job_transition.submitted",
    "job_transition.with_more_tags",
    "ready.add",
    "ready.drop",
    "ready.heads",
}
#: Statements that the scenes meet at least, besides many others.
MET = {
    "agent.leaving",
    "agent.set_health",
    "consumable.forget",
    "consumable.lock",
    "consumable.read",
    "consumable.store",
    "consumable.use_up",
    "demand.change",
    "demand.shapes",
    "happening.keep",
    "happening.kept",
    "listen.notify",
    "ready.heads",
    "share_usage.store",
    "topology.queues",
    "topology.shortages",
}

#: What a job of a scene may end as.
Ends = tuple[str, ...]
Scene = Callable[[Stand, Ends], Awaitable[None]]
WELL: Ends = ("SUCCEEDED",)

#: MiB of jobs of which none has the shape of another.
unlike = itertools.count(16)

_ticking: ContextVar[bool] = ContextVar("_ticking", default=False)


def names() -> dict[str, str]:
    """Every statement by its text, but those of the lease: without it nobody is the holder."""
    found = {text: name for name, text in all_queries().items() if not name.startswith("lease.")}
    return found | {"SELECT pg_notify($1, '')": "listen.notify"}


@dataclass
class Faults:
    """Which statements fail, and which were met."""

    names: dict[str, str]
    met: set[str] = field(default_factory=set)
    failed: int = 0
    _fails: str | None = None
    _most: float = 0
    _failed: asyncio.Event = field(default_factory=asyncio.Event)

    def fail(self, name: str, most: float = float("inf")) -> None:
        """Lets a statement fail, so many times at most."""
        self._fails, self._most, self.failed = name, most, 0
        self._failed.clear()

    def heal(self) -> None:
        """Nothing fails any more."""
        self._fails = None

    async def until_failed(self) -> None:
        """Waits until it has failed."""
        await self._failed.wait()

    def meet(self, text: str) -> bool:
        """Whether a statement fails now."""
        name = self.names.get(text)
        if name is None or not _ticking.get():
            return False
        self.met.add(name)
        if name != self._fails or self.failed >= self._most:
            return False
        self.failed += 1
        self._failed.set()
        return True


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Statements of ticks fail in the database, as the test says."""
    faults = Faults(names())
    monkeypatch.setattr(tick, "Allowance", lambda: Allowance(steps=20, rounds=1))
    monkeypatch.setattr(sharing, "STORE_INTERVAL", timedelta(0))
    monkeypatch.setattr(apart, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(apart, "PART_PAUSE_MOST_SECONDS", 0.05)
    monkeypatch.setattr(apart, "PAUSE_MOST_SECONDS", 0.05)

    def failing(name: str) -> Any:
        real = getattr(asyncpg.Connection, name)

        async def run(self: Any, query: str, *args: Any, **more: Any) -> Any:
            if faults.meet(query):
                query, args = "SELECT 1 / 0", ()
            return await real(self, query, *args, **more)

        return run

    for name in ("fetch", "fetchrow", "fetchval", "execute"):
        monkeypatch.setattr(asyncpg.Connection, name, failing(name))
    real_run = Tick.run

    async def run(self: Tick, moved: Any) -> Any:
        token = _ticking.set(True)
        try:
            return await real_run(self, moved)
        finally:
            _ticking.reset(token)

    monkeypatch.setattr(Tick, "run", run)
    return faults


@contextlib.asynccontextmanager
async def a_stand(database_url: str) -> AsyncIterator[Stand]:
    """Machines of which jobs end at once; the mirror stays, whatever happens."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.managed()
        await stand.queue("fleet", "fleet")
        await stand.policy()
        await stand.queue("shared", policy="p")
        await stand.environment("others")
        await stand.queue("theirs", "others")
        for environment in ("machines", "others"):
            await stand.agent(environment=environment, answers=lambda _: Ended())
        for _ in range(2):
            await stand.join(answers=lambda _: Ended())
        with capture_logs() as logs:
            yield stand
            await settled(stand)
        bad = [e for e in logs if e["event"] in ("memory.loaded", "loop.failed")]
        assert not bad, bad


async def settled(stand: Stand) -> None:
    """Waits until what failed last has been made up for: all records agree."""
    async with asyncio.timeout(DEADLINE):
        while True:
            with contextlib.suppress(AssertionError):
                return await stand.check()
            await asyncio.sleep(0.01)


async def within(stand: Stand, scene: Scene, name: str = "nothing", ends: Ends = WELL) -> None:
    """Plays a scene, with news of all kinds; says which statement failed where it does not end."""
    try:
        async with asyncio.timeout(DEADLINE):
            for channel in (listen.ENVIRONMENTS, listen.CAPACITY, listen.CONSUMABLES):
                await stand.conn.execute(f"NOTIFY {channel}")
            await scene(stand, ends)
    except (TimeoutError, AssertionError) as error:
        raise AssertionError(f"{name} failed: {error!r}") from error


@contextlib.asynccontextmanager
async def connected(stand: Stand, database_url: str) -> AsyncIterator[Stand]:
    """The same stand on a connection of its own."""
    conn = await asyncpg.connect(database_url)
    await conn.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    try:
        yield replace(stand, conn=conn)
    finally:
        await conn.close()


async def a_job(stand: Stand, ends: Ends) -> None:
    job = await stand.submit("theirs", memory_mib=next(unlike))
    await stand.until(job, *ends)


async def an_array(stand: Stand, ends: Ends) -> None:
    first = await stand.submit(size=2)
    second = await stand.submit(size=2, depends_on=[(first, "N_TO_N")])
    third = await stand.submit(size=2, depends_on=[(second, "PLAIN"), (None, "SEQUENTIAL")])
    last = await stand.submit(depends_on=[(f"{third}:1", "PLAIN")])
    await stand.until(last, *ends)


async def nodes(stand: Stand, ends: Ends) -> None:
    await stand.until(await stand.submit("fleet", nodes=2), *ends)


async def a_share(stand: Stand, ends: Ends) -> None:
    await stand.until(await stand.submit("shared", share="red"), *ends)


async def units(stand: Stand, ends: Ends) -> None:
    await stand.consumable("licence", 1)
    await stand.consumable("tokens", 1_000, "NON_REPLENISHABLE")
    need, memory_mib = "licence=1,tokens=1", next(unlike)
    jobs = [await stand.submit(memory_mib=memory_mib, units=need) for _ in range(2)]
    for job in jobs:
        await stand.until(job, *ends)


async def requests(stand: Stand, _: Ends) -> None:
    single, array = await stand.submit(vcpus=16), await stand.submit(vcpus=15, size=3)
    after = await stand.submit(depends_on=[(single, "PLAIN")])
    await stand.until(after, "PENDING")
    await stand.request(f"{array}:1", "TERMINATE")
    await stand.request(single, "CANCEL")
    await stand.until(after, "FAILED")
    await stand.request(array, "TERMINATE")
    await stand.until(array, "FAILED")


@contextlib.asynccontextmanager
async def a_machine(stand: Stand) -> AsyncIterator[tuple[Agent, str]]:
    """A machine that ends nothing by itself, with a queue, for a while."""
    name = f"machine-{uuid.uuid4()}"
    await stand.environment(name)
    await stand.queue(name, name)
    agent = await stand.agent(environment=name)
    yield agent, name
    await agent.close()
    stand.agents.remove(agent)


async def a_stop_and_the_end_of_a_queue(stand: Stand, _: Ends) -> None:
    async with a_machine(stand) as (agent, queue):
        stopped, left = await stand.submit(queue, attempts=2), await stand.submit(queue, vcpus=16)
        await agent.until(lambda: stopped in agent.assigned)
        await stand.request(stopped, "TERMINATE")
        await agent.until(lambda: bool(agent.stops))
        await agent.end(stopped, Ended(137), started=True)
        await stand.until(stopped, "FAILED")
        await stand.conn.execute("UPDATE job_queues SET status = 'DELETING' WHERE name = $1", queue)
        await stand.conn.execute(f"NOTIFY {listen.ENVIRONMENTS}")
        await stand.until(left, "FAILED")
        while await stand.conn.fetchval("SELECT true FROM job_queues WHERE name = $1", queue):
            await asyncio.sleep(0.01)


async def an_instance_that_goes(stand: Stand, _: Ends) -> None:
    async with a_machine(stand) as (agent, _):
        memory = stand.scheduler.lead.memory
        assert memory is not None
        await agent.fare(pb.AGENT_CONDITION_DISK_FULL, "full")
        while memory.instances[agent.instance_id].health.fit:
            await asyncio.sleep(0.01)
        await agent.notice("taken away")
        await agent.until(agent.draining.is_set)
        memory.instances[agent.instance_id].seen = float("-inf")
        while agent.instance_id in memory.instances:
            await asyncio.sleep(0.01)


SCENES: tuple[Scene, ...] = (
    a_job,
    an_array,
    nodes,
    a_share,
    requests,
    a_stop_and_the_end_of_a_queue,
    an_instance_that_goes,
    units,
)


async def statements(stand: Stand, faults: Faults) -> dict[str, Scene]:
    """The statements of ticks, each with the first scene that meets it."""
    found: dict[str, Scene] = {}
    for scene in SCENES:
        faults.met.clear()
        await within(stand, scene)
        found |= dict.fromkeys(faults.met - found.keys(), scene)
    missing = MET - found.keys()
    assert not missing, missing
    return found


async def test_each_statement_fails_once(database_url: str, faults: Faults) -> None:
    async with a_stand(database_url) as stand:
        for name, scene in (await statements(stand, faults)).items():
            faults.fail(name, 1)
            await within(stand, scene, name)
            assert faults.failed == 1, name
            faults.heal()


async def failing(stand: Stand, faults: Faults, scene: Scene, name: str) -> asyncio.Task[None]:
    """Lets a statement fail until it is healed; returns the scene that goes on, once it has."""
    faults.fail(name)
    while True:
        # An end that cannot be stored for long is one of a failed attempt.
        going_on = asyncio.create_task(within(stand, scene, name, (*WELL, "FAILED")))
        failed = asyncio.create_task(faults.until_failed())
        await asyncio.wait({going_on, failed}, return_when=asyncio.FIRST_COMPLETED)
        failed.cancel()
        if faults.failed:
            return going_on
        # It may be over before it comes to the statement, such as one for what a tick leaves.
        await going_on


async def test_each_statement_fails_for_a_while(database_url: str, faults: Faults) -> None:
    """The jobs of others end meanwhile, unless no job can end without it."""
    async with a_stand(database_url) as stand, connected(stand, database_url) as other:
        for name, scene in (await statements(stand, faults)).items():
            going_on = await failing(stand, faults, scene, name)
            if name not in NEEDED:
                await within(other, a_job, name)
            faults.heal()
            await going_on


async def test_what_is_left_to_follow_is_found_after_a_tick_longer_than_its_pause(
    database_url: str, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "PAUSE_SECONDS", 0.0)
    async with a_stand(database_url) as stand, connected(stand, database_url) as other:
        going_on = await failing(stand, faults, an_array, "happening.kept")
        await within(other, a_job, "happening.kept")
        faults.heal()
        await going_on
