"""Instances that are taken away, slots, and what a waiting job is told of capacity."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from support.scheduling import DEADLINE, Agent, Ended, Stand, scheduler_stand
from support.simulation import simulation

from longshore.domain.instance import NOTICE_MARGIN
from longshore.domain.job.job import JobKey
from longshore.domain.placing import words
from longshore.domain.placing.waiting import Block, Why
from longshore.scheduler.explaining import explain_job
from longshore.scheduler.instances import take_notices
from longshore.state.listen import CAPACITY, DEMAND
from longshore.state.scheduler import agent as agent_table

ERROR = {
    "instanceType": "local.host",
    "zone": "here-1a",
    "purchaseOption": "ON_DEMAND",
    "reason": "INSUFFICIENT_INSTANCE_CAPACITY",
    "message": "There is none.",
}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)


async def a_fleet(stand: Stand) -> None:
    await stand.managed()
    await stand.queue("q", "fleet")


async def running(stand: Stand, agent: Agent, **job: object) -> str:
    """A job that runs on an agent."""
    job_id = await stand.submit(**job)
    await agent.until(lambda: job_id in agent.assigned)
    await agent.start(job_id)
    await stand.until(job_id, "RUNNING")
    return job_id


def host(agent: Agent) -> str:
    return f"Host EC2 (instance {agent.instance_id}) terminated."


async def attempts(stand: Stand, job_id: str) -> list[tuple[object, ...]]:
    rows = await stand.conn.fetch(
        "SELECT attempt, status, exit_code, status_reason FROM attempts WHERE job_id = $1 "
        "ORDER BY attempt",
        JobKey.parse(job_id).job_id,
    )
    return [tuple(row) for row in rows]


# ---------------------------------------------------------------- drain_until


@pytest.mark.parametrize("exit_code", [143, 0, None])
async def test_attempts_of_an_instance_that_goes_are_stopped_and_retried(
    database_url: str, exit_code: int | None
) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand)
        agent = await stand.join()
        job = await running(stand, agent, attempts=2)
        await stand.terminating(agent.instance_id, datetime.now(UTC))
        await agent.until(lambda: bool(agent.stops))
        await asyncio.wait_for(agent.draining.wait(), DEADLINE)
        assert agent.stops[0].status_reason == host(agent)
        await agent.end(job, Ended(exit_code))
        row = await stand.until(job, "RUNNABLE")
        assert row["status_reason"] == host(agent)
        assert await attempts(stand, job) == [(1, "ENDED", exit_code, host(agent))]
        other = await stand.join()
        await other.until(lambda: job in other.assigned)
        await other.end(job, Ended(), started=True)
        await stand.until(job, "SUCCEEDED")


async def test_nothing_is_stopped_before_its_time_and_nothing_new_comes(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand)
        agent = await stand.join()
        job = await running(stand, agent)
        later = datetime.now(UTC) + timedelta(hours=1)
        await stand.terminating(agent.instance_id, later)
        await asyncio.wait_for(agent.draining.wait(), DEADLINE)
        waiting = await stand.submit()
        assert "1 draining" in await stand.explanation(waiting)
        assert not agent.stops
        # The time is brought forward.
        await stand.terminating(agent.instance_id, datetime.now(UTC))
        await agent.until(lambda: bool(agent.stops))
        await agent.end(job, Ended(137))
        row = await stand.until(job, "FAILED")
        assert (row["status_reason"], row["exit_code"]) == (host(agent), 137)


async def test_without_a_time_attempts_run_to_their_end(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand)
        agent = await stand.join()
        job = await running(stand, agent)
        await stand.terminating(agent.instance_id)
        await asyncio.wait_for(agent.draining.wait(), DEADLINE)
        await stand.explanation(await stand.submit())
        assert not agent.stops
        await agent.end(job, Ended(0))
        await stand.until(job, "SUCCEEDED")


async def test_rules_decide_for_those_stopped_with_their_instance(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand)
        agent = await stand.join()
        rules = [{"action": "EXIT", "onStatusReason": "Host EC2*"}]
        job = await running(stand, agent, attempts=5, rules=rules)
        await stand.terminating(agent.instance_id, datetime.now(UTC))
        await agent.until(lambda: bool(agent.stops))
        await agent.end(job, Ended(0))
        row = await stand.until(job, "FAILED")
        assert (row["status_reason"], row["exit_code"], row["attempt"]) == (host(agent), 0, 1)


async def test_a_users_terminate_wins_over_the_instances_end(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand)
        agent = await stand.join()
        before = await running(stand, agent, attempts=3)
        after = await running(stand, agent, attempts=3)
        await stand.request(before, "TERMINATE", "first")
        await agent.until(lambda: len(agent.stops) == 1)
        await stand.terminating(agent.instance_id, datetime.now(UTC))
        await agent.until(lambda: len(agent.stops) == 2)
        await stand.request(after, "TERMINATE", "enough")
        await agent.until(lambda: len(agent.stops) == 3)
        for job, reason in ((before, "first"), (after, "enough")):
            await agent.end(job, Ended(143))
            row = await stand.until(job, "FAILED")
            assert (row["status_reason"], row["attempt"]) == (reason, 1)


async def test_a_timeout_that_came_first_stays_one(database_url: str) -> None:
    async with simulation(database_url) as world:
        await world.stand.queue()
        world.scheduler.note_topology()
        agent = await world.join("i-00000000000000001", 4)
        job = await world.stand.submit(attempts=3, timeout_seconds=3600)
        await world.settle()
        await agent.start((job, 1))
        await world.settle()
        await world.pass_timeouts()
        await world.settle()
        memory = world.scheduler.lead.memory
        assert memory is not None
        memory.drains["i-00000000000000001"] = datetime.min.replace(tzinfo=UTC)
        await world.settle()
        await agent.end((job, 1), Ended(143))
        await world.settle()
        row = await world.stand.row(job)
        assert row is not None
        reason = "Job attempt duration exceeded timeout"
        assert (row["status"], row["status_reason"]) == ("FAILED", reason)


async def test_the_next_scheduler_knows_what_was_stopped_and_what_is_to_be(
    database_url: str,
) -> None:
    async with simulation(database_url) as world:
        await world.stand.managed()
        await world.stand.queue("q", "fleet")
        world.scheduler.note_topology()
        agents = [await world.join_managed(f"i-{n:017x}", 1) for n in (1, 2)]
        jobs = [await world.stand.submit(attempts=2) for _ in agents]
        await world.settle()
        # One is stopped by the scheduler that dies, the time of the other comes after that.
        at_once, later = datetime.now(UTC), datetime.now(UTC) + timedelta(hours=1)
        await world.stand.terminating(agents[0].instance_id, at_once)
        await world.stand.terminating(agents[1].instance_id, later)
        world.scheduler.note_capacity()
        await world.settle()
        assert len(agents[0].stops) == 1
        assert not agents[1].stops
        await world.restart()
        await world.settle()
        memory = world.scheduler.lead.memory
        assert memory is not None
        assert memory.drains == {
            agents[0].instance_id: at_once,
            agents[1].instance_id: later,
        }
        memory.drains[agents[1].instance_id] = at_once
        await world.settle()
        for agent in agents:
            (ref,) = agent.running
            await agent.end(ref, Ended(143))
        await world.settle()
        await world.check()
        for job in jobs:
            row = await world.stand.row(job)
            assert row is not None
            assert row["status"] == "RUNNABLE"
            assert row["status_reason"].startswith("Host EC2 (instance i-")


# ---------------------------------------------------------------- notices


async def test_a_notice_drains_at_once_and_stays(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand)
        agent = await stand.join()
        job = await running(stand, agent)
        ends_at = datetime.now(UTC) + timedelta(minutes=2)
        await agent.notice("Spot interruption", ends_at)
        await asyncio.wait_for(agent.draining.wait(), DEADLINE)
        row = await stand.conn.fetchrow("SELECT status, notice, notice_at FROM agents")
        assert tuple(row) == ("DRAINING", "Spot interruption", ends_at)
        assert "1 draining" in await stand.explanation(await stand.submit())
        # The agent comes back and says it again.
        await agent.close()
        registered = await agent.connect()
        assert registered.draining
        assert [a.key.job_id for a in registered.assignments] == [job]
        await agent.notice("Spot interruption", ends_at)
        await agent.notice("Rebalance recommendation")
        await agent.end(job, Ended())
        await stand.until(job, "SUCCEEDED")
        row = await stand.conn.fetchrow("SELECT status, notice, notice_at FROM agents")
        assert tuple(row) == ("DRAINING", "Rebalance recommendation", ends_at)
        assert not agent.stops


async def test_a_machine_of_ones_own_is_empty_before_its_notice_is_over(database_url: str) -> None:
    """Nobody keeps a record of it; its attempts are stopped in time all the same."""
    async with scheduler_stand(database_url) as stand:
        await stand.queue("q", await stand.environment())
        agent = Agent(stand.port, "i-00000000000000abc", "machines", 4)
        stand.agents.append(agent)
        await agent.connect()
        job = await running(stand, agent, attempts=2)
        now = datetime.now(UTC)
        await agent.notice("Shutdown", now + NOTICE_MARGIN + timedelta(hours=1))
        await asyncio.wait_for(agent.draining.wait(), DEADLINE)
        assert not agent.stops
        await stand.conn.execute("UPDATE agents SET notice_at = $1", now + NOTICE_MARGIN)
        await stand.conn.execute("SELECT pg_notify('longshore_capacity', '')")
        await agent.until(lambda: bool(agent.stops))
        await agent.end(job, Ended(143))
        await stand.until(job, "RUNNABLE")
        assert await attempts(stand, job) == [(1, "ENDED", 143, host(agent))]


async def test_a_machine_with_a_short_notice_is_emptied_at_once(database_url: str) -> None:
    """Nobody else tells the scheduler, which has the notice, that there is one."""
    async with scheduler_stand(database_url) as stand:
        await stand.queue("q", await stand.environment())
        agent = Agent(stand.port, "i-00000000000000abc", "machines", 4)
        stand.agents.append(agent)
        await agent.connect()
        job = await running(stand, agent, attempts=2)
        await agent.notice("Shutdown", datetime.now(UTC) + NOTICE_MARGIN)
        await agent.until(lambda: bool(agent.stops))
        await agent.end(job, Ended(143))
        await stand.until(job, "RUNNABLE")


async def test_nobody_is_woken_by_what_he_said(database_url: str) -> None:
    """That jobs wait is for those who order instances; the scheduler looks when these changed."""
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand)
        said: list[str] = []
        for channel in (DEMAND, CAPACITY):
            await stand.conn.add_listener(channel, lambda *heard: said.append(heard[2]))
        await stand.submit()
        async with asyncio.timeout(DEADLINE):
            while not said:
                await stand.conn.execute("SELECT 1")
        assert said == [DEMAND]


async def test_a_notice_wakes_who_decides_about_instances_once(database_url: str) -> None:
    async with simulation(database_url) as world:
        await world.stand.managed()
        await world.stand.queue("q", "fleet")
        world.scheduler.note_topology()
        agent = await world.join_managed("i-00000000000000001", 4)
        await world.settle()
        heard: list[object] = []
        await world.stand.conn.add_listener("longshore_demand", lambda *_: heard.append(1))
        for _ in range(3):
            await world.give_notice(agent)
            await world.settle()
        await world.stand.conn.execute("SELECT 1")
        assert len(heard) == 1
        async with world.pool.acquire() as conn:
            (present,) = await agent_table.present(conn)
        assert present.draining
        assert present.instance_id == agent.instance_id
        await world.check()


# ---------------------------------------------------------------- slots


async def test_a_slot_runs_one_job_of_its_size_and_is_drained(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.managed("slots", resource_type="FARGATE", types=())
        await stand.queue("q", "slots")
        agent = await stand.join(
            1, environment="slots", instance_type="fargate.1x2048", memory_mib=2048
        )
        small = await stand.submit(memory_mib=1024)
        assert "1 slot of another size" in await stand.explanation(small)
        first, second = [await stand.submit(memory_mib=2048) for _ in range(2)]
        await agent.until(lambda: first in agent.assigned)
        await asyncio.wait_for(agent.draining.wait(), DEADLINE)
        assert await stand.conn.fetchval("SELECT status FROM agents") == "DRAINING"
        await agent.end(first, Ended(), started=True)
        await stand.until(first, "SUCCEEDED")
        assert await stand.explanation(second) == "Waiting for an instance: none is there yet."
        # The agent comes back although it should have gone.
        await agent.close()
        assert (await agent.connect()).draining
        next_slot = await stand.join(
            1, environment="slots", instance_type="fargate.1x2048", memory_mib=2048
        )
        await next_slot.until(lambda: second in next_slot.assigned)
        assert [job for job, _ in agent.seen] == [first]


async def test_a_slot_is_not_used_again_by_the_next_scheduler(database_url: str) -> None:
    """Which died before it could tell anybody: the drain is stored with the placement."""
    async with simulation(database_url) as world:
        await world.stand.managed("slots", resource_type="FARGATE", types=())
        await world.stand.queue("q", "slots")
        world.scheduler.note_topology()
        agent = await world.join_slot("i-00000000000000001", 1, 64)
        first, second = await world.stand.submit(), await world.stand.submit()
        world.scheduler.dies_after_commit = True
        for _ in range(3):
            await world.scheduler.tick()
        assert not agent.running
        await world.restart()
        assert agent.running.keys() == {(first, 1)}
        assert agent.draining
        await agent.end((first, 1), Ended())
        await world.settle()
        await world.restart()
        await world.settle()
        assert not agent.running
        row = await world.stand.row(second)
        assert row is not None
        assert row["status"] == "RUNNABLE"
        await world.check()


async def test_a_slot_that_was_out_of_sight_is_not_trusted(database_url: str) -> None:
    async with simulation(database_url) as world:
        await world.stand.managed("slots", resource_type="FARGATE", types=())
        await world.stand.queue("q", "slots")
        world.scheduler.note_topology()
        agent = await world.join_slot("i-00000000000000001", 1, 64)
        await world.silence(agent)
        await world.settle()
        await agent.connect()
        await world.stand.submit()
        await world.settle()
        assert agent.draining
        assert not agent.running


# ---------------------------------------------------------------- coming and going


@pytest.mark.parametrize(
    ("answering", "code"),
    [(True, grpc.StatusCode.NOT_FOUND), (False, grpc.StatusCode.FAILED_PRECONDITION)],
)
async def test_an_instance_that_boots_faster_than_its_order_is_answered(
    database_url: str, answering: bool, code: grpc.StatusCode
) -> None:
    """Its agent is to come again; of none that is awaited it is over, which ends the instance."""
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand)
        order_id = await stand.order()
        if answering:
            await stand.conn.execute(
                "UPDATE capacity_orders SET closed_at = NULL, answering_until = now()"
            )
        agent = Agent(stand.port, "i-00000000000000001", "fleet", 8, "local.host")
        stand.agents.append(agent)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await agent.connect()
        assert refused.value.code() is code
        await stand.conn.execute("UPDATE capacity_orders SET closed_at = now()")
        await stand.conn.execute(
            "INSERT INTO instances (instance_id, order_id, compute_environment, provider, "
            "instance_type, purchase_option, vcpus, memory_mib, price_per_hour, status) VALUES "
            "($1, $2, 'fleet', 'test', 'local.host', 'ON_DEMAND', 8, 8192, 0, 'LAUNCHED')",
            agent.instance_id,
            order_id,
        )
        await agent.connect()


async def test_who_waits_to_register_is_not_lost(database_url: str) -> None:
    """As among thousands that come at one time when another scheduler has taken over."""
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand)
        agent = await stand.join()
        job = await running(stand, agent)
        async with stand.scheduler.lead.turn:
            memory = stand.scheduler.lead.memory
            assert memory is not None
            await agent.close()
            await until(lambda: not stand.scheduler.agents.sessions)
            instance = memory.instances[agent.instance_id]
            instance.seen = time.monotonic() - 3600
            connecting = asyncio.create_task(agent.connect())
            await until(lambda: instance.seen > time.monotonic() - 60)
        await connecting
        await agent.end(job, Ended(0))
        await stand.until(job, "SUCCEEDED")
        assert [row[0] for row in await attempts(stand, job)] == [1]


async def test_a_sign_of_life_does_not_bring_back_what_is_over(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came while a pass had read that the instance is over, and had not given it up yet."""
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand)
        agent = await stand.join()

        async def meanwhile(*args: Any) -> tuple[list[str], list[str]]:
            for session in list(stand.scheduler.agents.sessions.values()):
                stand.scheduler.agents.seen(session)
            return await take_notices(*args)

        monkeypatch.setattr("longshore.scheduler.tick.take_notices", meanwhile)
        await stand.conn.execute("UPDATE instances SET status = 'TERMINATED', ended_at = now()")
        await stand.conn.execute(f"NOTIFY {CAPACITY}")
        lost = "SELECT EXISTS (SELECT FROM agents WHERE instance_id = $1 AND status = 'LOST')"
        async with asyncio.timeout(DEADLINE):
            while not await stand.conn.fetchval(lost, agent.instance_id):
                await asyncio.sleep(0.01)


# ---------------------------------------------------------------- environments


@pytest.mark.parametrize(("status", "placed"), [("UPDATING", True), ("INVALID", False)])
async def test_where_jobs_are_placed(database_url: str, status: str, placed: bool) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand)
        agent = await stand.join()
        await stand.conn.execute("UPDATE compute_environments SET status = $1", status)
        await stand.conn.execute("NOTIFY longshore_environments")
        await until(
            lambda: (
                (memory := stand.scheduler.lead.memory) is not None
                and memory.topology.environments["fleet"].placeable is placed
            )
        )
        job = await stand.submit()
        if placed:
            await agent.until(lambda: job in agent.assigned)
        else:
            await stand.explanation(job)
            assert not agent.assigned


async def test_nothing_is_placed_on_an_instance_from_before_an_update(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand)
        old = await stand.join()
        await stand.conn.execute("UPDATE compute_environments SET generation = generation + 1")
        await stand.conn.execute("NOTIFY longshore_environments")
        await until(
            lambda: (
                (memory := stand.scheduler.lead.memory) is not None
                and memory.topology.outdated == {old.instance_id}
            )
        )
        job = await stand.submit()
        assert "draining" in await stand.explanation(job)
        assert not old.assigned
        await stand.conn.execute("UPDATE instances SET generation = generation + 1")
        await stand.conn.execute("NOTIFY longshore_environments")
        await old.until(lambda: job in old.assigned)


async def test_fargate_holds_what_its_environment_may_have(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.managed("slots", resource_type="FARGATE_SPOT", types=(), maxv_cpus=4)
        await stand.queue("q", "slots")
        fits, large = await stand.submit(vcpus=4), await stand.submit(vcpus=8)
        await stand.until_blocked(fits, None)
        await stand.until_blocked(large, words.blocked(Block(Why.MAX_RESOURCE)))


# ---------------------------------------------------------------- capacity


async def test_a_job_is_told_that_the_provider_has_none_until_it_is_asked_again(
    database_url: str,
) -> None:
    async with scheduler_stand(database_url, cool_down=timedelta(seconds=2)) as stand:
        await a_fleet(stand)
        job = await stand.submit(vcpus=16)
        await stand.until_blocked(job, None)
        await stand.order(errors=[ERROR])
        said = await stand.until_blocked(job, words.blocked(Block(Why.NO_CAPACITY, "local.host")))
        assert said.startswith(
            "Waiting for an instance: none is there yet. The provider has none left: "
            "local.host in here-1a (INSUFFICIENT_INSTANCE_CAPACITY). It is asked again at "
        )
        explained = await explain_job(stand.conn, JobKey.parse(job))
        assert explained.summary == words.blocked(Block(Why.NO_CAPACITY, "local.host"))
        assert explained.reasons == [("CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", 1, said)]
        said = await stand.until_blocked(job, None)
        assert said == "Waiting for an instance: none is there yet."


async def test_a_job_is_told_of_the_instance_that_boots_for_it(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await a_fleet(stand)
        job = await stand.submit(vcpus=4)
        await stand.until_blocked(job, None)
        await stand.order(errors=[ERROR])
        await stand.until_blocked(job, words.blocked(Block(Why.NO_CAPACITY, "local.host")))
        await stand.instance("i-000000000000000ff", vcpus=2, instance_type="local.eighth")
        await stand.instance("i-000000000000000fe", vcpus=16)
        await stand.until_blocked(job, None)
        await stand.conn.execute("UPDATE instances SET ordered_at = now() - interval '12 s'")
        explained = await explain_job(stand.conn, JobKey.parse(job))
        ((reason, count, which),) = explained.reasons
        assert (reason, count) == ("INSTANCE_BOOTING", 1)
        assert which in ("local.host, ordered 12 s ago", "local.host, ordered 13 s ago")
        assert explained.summary == f"An instance is booting: {which}."


# ---------------------------------------------------------------- waiting time


async def test_siblings_of_a_cancelled_child_wait_as_long_as_before(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        job = await stand.submit(size=5)
        await stand.until(job, "PENDING")
        since = await stand.conn.fetchval(
            "UPDATE ready SET ready_at = now() - interval '1 hour' RETURNING ready_at"
        )
        await stand.request(f"{job}:2", "CANCEL")
        await stand.until(f"{job}:2", "FAILED")
        rows = await stand.conn.fetch(
            "SELECT next_index, end_index, ready_at FROM ready ORDER BY 1"
        )
        assert [tuple(row) for row in rows] == [(0, 2, since), (3, 5, since)]
