"""Instances whose agents say that they can start nothing: seen, spared, and back at once."""

from typing import Any

import asyncpg
import pytest
from support.agent import until
from support.scheduling import Agent, Ended, Stand, scheduler_stand

from longshore.domain.job.job import JobKey
from longshore.scheduler.explaining import explain_job
from longshore.state.views import capacity_report, instance_report
from longshore.v1 import agent_service_pb2 as pb

HEALTHY = pb.AGENT_CONDITION_HEALTHY
ENGINE_AWAY = pb.AGENT_CONDITION_ENGINE_AWAY
DISK_FULL = pb.AGENT_CONDITION_DISK_FULL
QUARANTINED = pb.AGENT_CONDITION_QUARANTINED
AWAY = "The Docker engine does not answer."


def ok(_: object) -> Ended:
    return Ended()


async def a_place(stand: Stand) -> Agent:
    await stand.environment()
    await stand.queue()
    return await stand.agent()


async def attempts(stand: Stand, job_id: str) -> list[asyncpg.Record]:
    key = JobKey.parse(job_id)
    return await stand.conn.fetch(
        "SELECT * FROM attempts WHERE job_id = $1 AND array_index = $2 ORDER BY attempt",
        key.job_id,
        key.array_index,
    )


async def stored(stand: Stand, agent: Agent, health: str) -> None:
    async def there() -> bool:
        query = "SELECT health FROM agents WHERE instance_id = $1"
        return bool(await stand.conn.fetchval(query, agent.instance_id) == health)

    await until(there)


@pytest.mark.parametrize(
    ("condition", "name", "words"),
    [
        (ENGINE_AWAY, "ENGINE_AWAY", "1 without an engine that answers"),
        (DISK_FULL, "DISK_FULL", "1 out of disk space"),
        (QUARANTINED, "QUARANTINED", "1 quarantined after failed starts"),
        (77, "QUARANTINED", "1 quarantined after failed starts"),
    ],
)
async def test_nothing_is_placed_where_nothing_can_start(
    database_url: str, condition: int, name: str, words: str
) -> None:
    """What runs goes on, users see why, and once it can what waits goes there at once."""
    async with scheduler_stand(database_url) as stand:
        agent = await a_place(stand)
        running = await stand.submit()
        await agent.until(lambda: running in agent.assigned)
        await agent.start(running)
        await agent.fare(condition, "because\0 of this")
        await stored(stand, agent, name)
        waiting = await stand.submit(size=2)

        async def told() -> bool:
            explained = await explain_job(stand.conn, JobKey.parse(f"{waiting}:0"))
            return words in explained.summary

        await until(told)
        [shown] = await instance_report.list_instances(stand.conn, limit=10)
        assert (shown.status, shown.status_reason) == (
            name,
            "because\N{REPLACEMENT CHARACTER} of this",
        )
        [capacity] = await capacity_report.capacity(stand.conn, [])
        assert (capacity.unfit.instances, capacity.busy.instances) == (1, 0)
        [remark] = capacity.remarks
        assert agent.instance_id in remark
        assert "of this" in remark
        await agent.end(running, Ended())
        await stand.until(running, "SUCCEEDED")
        assert list(agent.assigned) == [running]
        agent.answers = ok
        await agent.fare(HEALTHY)
        await stand.until(waiting, "SUCCEEDED")
        [capacity] = await capacity_report.capacity(stand.conn, [])
        assert capacity.remarks == ()


async def test_an_agent_that_registers_as_unfit_gets_nothing(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = Agent(stand.port, "i-00000000000000001", "machines", 8)
        agent.health = pb.AgentHealth(condition=ENGINE_AWAY, detail=AWAY)
        stand.agents.append(agent)
        await agent.connect()
        job = await stand.submit()
        other = await stand.agent(answers=ok)
        await stand.until(job, "SUCCEEDED")
        assert job in other.assigned
        assert not agent.assigned


async def test_it_is_still_known_after_a_change_of_schedulers(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        agent = await a_place(stand)
        await agent.fare(ENGINE_AWAY, AWAY)
        await stored(stand, agent, "ENGINE_AWAY")
        stand.scheduler._memory = None
        job = await stand.submit()

        async def told() -> bool:
            explained = await explain_job(stand.conn, JobKey.parse(job))
            return "without an engine" in explained.summary

        await until(told)


@pytest.mark.parametrize("size", [None, 3])
async def test_what_never_reached_the_engine_was_no_attempt(
    database_url: str, size: int | None
) -> None:
    """It goes elsewhere under the same number, and its job has all of its attempts."""
    async with scheduler_stand(database_url) as stand:
        agent = await a_place(stand)
        job = await stand.submit(size=size)
        keys = [job] if size is None else [f"{job}:{index}" for index in range(size)]
        await agent.until(lambda: agent.assigned.keys() >= set(keys))
        await agent.fare(ENGINE_AWAY, AWAY)
        await agent.give_back(*keys)
        for key in keys:
            row = await stand.until(key, "RUNNABLE")
            assert (row["attempt"], row["status_reason"]) == (0, "Given back: the engine is away")
            assert await attempts(stand, key) == []
        assert await stand.conn.fetchval("SELECT sum(runnable) FROM demand") == len(keys)
        other = await stand.agent(answers=ok)
        await stand.until(job, "SUCCEEDED")
        assert sorted(other.seen) == [(key, 1) for key in keys]
        for key in keys:
            [attempt] = await attempts(stand, key)
            assert (attempt["instance_id"], attempt["attempt"]) == (other.instance_id, 1)


async def test_a_second_attempt_that_is_given_back_keeps_the_first(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        agent = await a_place(stand)
        job = await stand.submit(attempts=2)
        await agent.until(lambda: agent.seen == [(job, 1)])
        await agent.end(job, Ended(1), started=True)
        await agent.until(lambda: agent.seen[1:] == [(job, 2)])
        agent.answers = ok
        await agent.give_back(job)  # and gets it again: it says that it is well
        await stand.until(job, "SUCCEEDED")
        assert agent.seen == [(job, 1), (job, 2), (job, 2)]
        assert [row["attempt"] for row in await attempts(stand, job)] == [1, 2]


@pytest.mark.parametrize("what", ["running", "stopped", "foreign", "over"])
async def test_what_cannot_be_given_back_is_not(database_url: str, what: str) -> None:
    async with scheduler_stand(database_url) as stand:
        agent = await a_place(stand)
        other = await stand.agent(environment=await stand.environment("others"))
        job = await stand.submit(attempts=1)
        await agent.until(lambda: job in agent.assigned)
        if what == "running":
            await agent.start(job)
            await stand.until(job, "RUNNING")
        elif what == "stopped":
            await stand.request(job, "TERMINATE", "by hand")
            await agent.until(lambda: bool(agent.stops))
        elif what == "over":
            await agent.end(job, Ended(), started=True)
            await stand.until(job, "SUCCEEDED")
        if what == "foreign":
            other.assigned[job] = agent.assigned[job]
            await other.give_back(job)
            await agent.end(job, Ended(), started=True)
        else:
            await agent.give_back(job)
        row = await stand.until(job, "FAILED" if what in ("running", "stopped") else "SUCCEEDED")
        assert row["attempt"] == 1
        if what == "stopped":
            assert row["status_reason"] == "by hand"


async def test_a_node_cannot_be_given_back(database_url: str) -> None:
    """The others of its try would wait for it: the try ends."""
    async with scheduler_stand(database_url) as stand:
        await stand.managed()
        await stand.queue("q", "fleet")
        agents = [await stand.join(), await stand.join()]
        job = await stand.submit(nodes=2)
        main = f"{job}#0"

        async def placed() -> bool:
            return any(main in agent.assigned for agent in agents)

        await until(placed)
        [agent] = [agent for agent in agents if main in agent.assigned]
        await agent.give_back(main)
        row = await stand.until(job, "FAILED")
        assert row["attempt"] == 1


async def test_containers_without_their_network_are_remarked(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        agent = await a_place(stand)
        said: dict[str, Any] = {"network": "bridge", "network_detail": "no sandbox: refused"}
        await agent.fare(HEALTHY, **said)

        async def remarked() -> bool:
            [capacity] = await capacity_report.capacity(stand.conn, ["machines"])
            return bool(capacity.remarks)

        await until(remarked)
        [capacity] = await capacity_report.capacity(stand.conn, ["machines"])
        assert capacity.remarks == (
            f"Containers on instance {agent.instance_id} join bridge: no sandbox: refused.",
        )
        assert (capacity.unfit.instances, capacity.idle.instances) == (0, 1)
        [shown] = await instance_report.list_instances(stand.conn, limit=10)
        assert (shown.status, shown.network) == ("READY", "bridge")
        assert shown.status_reason == "Containers join bridge: no sandbox: refused"
