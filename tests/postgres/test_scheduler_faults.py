"""What the scheduler survives: lost streams and instances, its own death, no lease, no database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from support.patience import PATIENCE_SECONDS
from support.scheduling import Agent, Ended, Stand, scheduler_stand

from longshore.domain.errors import Unavailable
from longshore.state import lease
from longshore.state.embedded import EmbeddedPostgres
from longshore.state.listen import ENVIRONMENTS
from longshore.state.pool import open_pool, transaction
from longshore.v1 import agent_service_pb2 as pb


async def agent_status(stand: Stand, agent: Agent) -> str:
    status: str = await stand.conn.fetchval(
        "SELECT status FROM agents WHERE instance_id = $1", agent.instance_id
    )
    return status


async def test_a_broken_stream_costs_no_attempt(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        job = await stand.submit()
        await agent.until(lambda: job in agent.assigned)
        await agent.close()
        other = await stand.submit()
        await stand.until(other, "RUNNABLE")
        registered = await agent.connect([pb.AttemptKey(job_id=job, attempt=1)])
        assert job in {a.key.job_id for a in registered.assignments}
        await agent.until(lambda: other in agent.assigned)
        for name in (job, other):
            await agent.end(name, Ended(), started=True)
            await stand.until(name, "SUCCEEDED")
        assert (await stand.row(job))["attempt"] == 1


async def test_nothing_is_placed_on_an_instance_out_of_touch(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        await agent.close()
        job = await stand.submit()
        await stand.until(job, "RUNNABLE")
        said = await stand.explanation(job)
        assert said == "Waiting for room: 1 instance: 1 out of touch."
        other = await stand.agent()
        await other.until(lambda: job in other.assigned)


async def test_a_stop_reaches_an_agent_that_was_away(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        job = await stand.submit()
        await agent.until(lambda: job in agent.assigned)
        await agent.close()
        await stand.request(job, "TERMINATE", "stop it")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (await stand.row(job))["is_terminated"]:
                await asyncio.sleep(0.01)
        registered = await agent.connect([pb.AttemptKey(job_id=job, attempt=1)])
        assert [(s.key.job_id, s.status_reason) for s in registered.stops] == [(job, "stop it")]


async def test_a_silent_instance_is_lost_and_its_jobs_go_elsewhere(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        again = await stand.submit(attempts=2)
        once = await stand.submit(attempts=1)
        await agent.until(lambda: {again, once} <= agent.assigned.keys())
        await stand.silence(agent)
        row = await stand.until(once, "FAILED")
        assert row["status_reason"] == f"Host EC2 (instance {agent.instance_id}) terminated."
        assert row["exit_code"] is None
        other = await stand.agent()
        await other.until(lambda: again in other.assigned)
        assert other.assigned[again].key.attempt == 2
        registered = await agent.connect([pb.AttemptKey(job_id=again, attempt=1)])
        assert not registered.assignments
        await agent.end(again, Ended(), started=True)
        await agent.until(lambda: agent.acknowledged > 0)
        assert (await stand.row(again))["status"] == "STARTING"


async def test_how_long_silence_is_borne_is_its_environments(database_url: str) -> None:
    """A machine that nobody replaces may restart; its environment may say otherwise."""
    async with scheduler_stand(
        database_url, lost_seconds=300, unmanaged_lost_seconds=3600
    ) as stand:
        await stand.environment()
        await stand.queue()
        await stand.managed()
        managed = await stand.join()
        away = await stand.agent()
        job = await stand.submit()
        await away.until(lambda: job in away.assigned)
        await stand.silence(away, managed, seconds=600)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await agent_status(stand, managed) != "LOST":
                await asyncio.sleep(0.01)
        assert await agent_status(stand, away) == "READY"
        await away.connect([pb.AttemptKey(job_id=job, attempt=1)])
        await away.end(job, Ended(), started=True)
        await stand.until(job, "SUCCEEDED")

        other = await stand.submit()
        await away.until(lambda: other in away.assigned)
        await away.close()
        await stand.conn.execute(
            "UPDATE compute_environments SET tags = $1 WHERE name = 'machines'",
            {"longshore:lost-after-seconds": "0"},
        )
        await stand.conn.execute(f"NOTIFY {ENVIRONMENTS}")
        row = await stand.until(other, "FAILED")
        assert row["status_reason"] == f"Host EC2 (instance {away.instance_id}) terminated."


@pytest.mark.parametrize(("exit_code", "status"), [(0, "SUCCEEDED"), (1, "RUNNABLE")])
async def test_what_a_returning_agent_knows_stands(
    database_url: str, exit_code: int, status: str
) -> None:
    """Of what nobody has started again; what goes on elsewhere, or is final, stays that."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        single = await stand.submit(attempts=2)
        array = await stand.submit(size=2, attempts=2)
        once = await stand.submit(attempts=1)
        child = f"{array}:1"
        names = (single, f"{array}:0", child, once)
        await agent.until(lambda: set(names) <= agent.assigned.keys())
        await agent.start(single)
        await stand.until(single, "RUNNING")
        await stand.silence(agent)
        await stand.until(once, "FAILED")
        await stand.until(single, "RUNNABLE")
        await stand.until(child, "RUNNABLE")
        await stand.conn.execute("UPDATE compute_environments SET state = 'DISABLED'")
        await stand.conn.execute(f"NOTIFY {ENVIRONMENTS}")
        keys = [pb.AttemptKey(job_id=name, attempt=1) for name in (single, child, once)]
        registered = await agent.connect(keys)
        assert {a.key.job_id for a in registered.assignments} == {single, child}
        assert (await stand.row(single))["status"] == "RUNNING"
        assert (await stand.row(child))["status"] == "STARTING"
        assert (await stand.row(f"{array}:0"))["status"] == "RUNNABLE"
        for name in (single, child):
            await agent.end(name, Ended(exit_code), started=True)
            await stand.until(name, status)
        assert (await stand.row(once))["status"] == "FAILED"
        assert (await stand.row(single))["attempt"] == 1
        waiting = await stand.conn.fetchval("SELECT sum(end_index - next_index) FROM ready")
        assert waiting == await stand.conn.fetchval("SELECT sum(runnable) FROM demand")
        assert waiting == (1 if status == "SUCCEEDED" else 3)


async def test_what_a_returning_agent_said_has_ended_stays_so(database_url: str) -> None:
    """Whatever words it has for that: also those for attempts on instances that were given up."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        job = await stand.submit(attempts=2)
        await agent.until(lambda: job in agent.assigned)
        await stand.conn.execute("UPDATE compute_environments SET state = 'DISABLED'")
        await stand.conn.execute(f"NOTIFY {ENVIRONMENTS}")
        words = f"Host EC2 (instance {agent.instance_id}) terminated."
        await agent.end(job, Ended(None, status_reason=words))
        await stand.until(job, "RUNNABLE")
        await agent.close()
        registered = await agent.connect([pb.AttemptKey(job_id=job, attempt=1)])
        assert not registered.assignments
        assert (await stand.row(job))["status"] == "RUNNABLE"


async def test_a_report_that_comes_twice_counts_once(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        job = await stand.submit(attempts=2)
        await agent.until(lambda: job in agent.assigned)
        first = agent.assigned[job]
        await agent.end(job, Ended(1), started=True)
        await agent.until(lambda: agent.assigned[job].key.attempt == 2)
        second, agent.assigned[job] = agent.assigned[job], first
        before = agent.acknowledged
        await agent.end(job, Ended(1), started=True)
        await agent.until(lambda: agent.acknowledged > before)
        assert (await stand.row(job))["status"] == "STARTING"
        agent.assigned[job] = second
        await agent.end(job, Ended(), started=True)
        await stand.until(job, "SUCCEEDED")


async def test_a_successor_goes_on_where_the_scheduler_died(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(vcpus=2)
        array = await stand.submit(size=20)
        last = await stand.submit(depends_on=[(array, "PLAIN")])
        await agent.until(lambda: len(agent.assigned) == 2)
        await agent.end(f"{array}:0", Ended(), started=True)
        await stand.until(f"{array}:0", "SUCCEEDED")
        live = [a.key for j, a in agent.assigned.items() if j != f"{array}:0"]
    async with scheduler_stand(database_url) as stand:
        again = await stand.agent(vcpus=2)
        assert {k.job_id for k in live} <= set(again.assigned)
        again.answers = lambda _: Ended()
        for job in list(again.assigned):
            await again.end(job, Ended(), started=True)
        await stand.until(array, "SUCCEEDED")
        await stand.until(last, "SUCCEEDED")
        twice = await stand.conn.fetchval(
            "SELECT count(*) FROM attempts WHERE attempt > 1 OR status <> 'ENDED'"
        )
        assert twice == 0


async def test_who_lost_the_lease_changes_nothing(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        pool = await open_pool(database_url)
        await stand.conn.execute("UPDATE leases SET expires_at = now() - interval '1 second'")
        async with transaction(pool) as conn:
            assert await lease.acquire(conn, "default", "thief", 60) is not None
        await pool.close()
        job = await stand.submit()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while stand.scheduler.lead.held:
                await asyncio.sleep(0.01)
        assert await stand.scheduler.tick() is False
        assert not await stand.scheduler.hold_lease()
        assert (await stand.row(job))["status"] == "SUBMITTED"
        await stand.conn.execute("UPDATE leases SET expires_at = now() - interval '1 second'")
        assert await stand.scheduler.hold_lease()
        await agent.close()
        await agent.connect()
        await agent.until(lambda: job in agent.assigned)


async def test_only_one_holds_a_domain(database_url: str) -> None:
    pool = await open_pool(database_url)
    async with transaction(pool) as conn:
        assert await lease.acquire(conn, "d", "one", 60) == 1
        assert await lease.acquire(conn, "d", "two", 60) is None
        assert await lease.acquire(conn, "d", "one", 60) == 2
        await lease.release(conn, "d", 2)
    async with transaction(pool) as conn:
        assert await lease.acquire(conn, "d", "two", 60) == 3
    await pool.close()


async def test_all_resumes_when_the_database_comes_back(
    database_url: str, postgres: EmbeddedPostgres
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        job = await stand.submit()
        await agent.until(lambda: job in agent.assigned)
        admin = await asyncpg.connect(postgres.url())
        name = database_url.split("/")[3].split("?", maxsplit=1)[0]
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        await agent.end(job, Ended(), started=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(agent.until(lambda: agent.acknowledged > 0), 0.5)
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await admin.close()
        await agent.until(lambda: agent.acknowledged > 0)
        async with stand.reconnected(database_url):
            await stand.until(job, "SUCCEEDED")
            await stand.check()


async def test_what_was_stored_and_never_told_is_told_once_it_is_known_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a commit was lost: an attempt is placed, another is to stop, and none knows."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        running = await stand.submit()
        await agent.until(lambda: running in agent.assigned)
        await agent.start(running)
        await stand.until(running, "RUNNING")
        leadership = stand.scheduler.lead.leadership
        real = leadership.transaction

        @contextlib.asynccontextmanager
        async def unanswered() -> AsyncIterator[Any]:
            untold = (
                "SELECT count(*) FROM attempts WHERE status = 'STARTING' OR stop_kind IS NOT NULL"
            )
            async with real() as conn:
                before = await conn.fetchval(untold)
                yield conn
                after = await conn.fetchval(untold)
            if after > before:
                raise Unavailable("The connection broke.")

        monkeypatch.setattr(leadership, "transaction", unanswered)
        await stand.request(running, "TERMINATE")
        job = await stand.submit()
        await agent.ended
        await agent.connect([agent.assigned[running].key])
        await agent.until(lambda: job in agent.assigned and bool(agent.stops))
        assert [stop.key.job_id for stop in agent.stops] == [running]
        for one in (running, job):
            await agent.end(one, Ended(), started=True)
        await stand.until(job, "SUCCEEDED")
        await stand.until(running, "FAILED")
        await stand.check()
