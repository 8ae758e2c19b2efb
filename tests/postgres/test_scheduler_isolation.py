"""What fails in the database by itself costs nobody else's job anything, whatever part it is in.

A trigger of the test refuses a change of one job's rows. The jobs of others go on and end, the
mirror is never thrown away, and once the database takes the change, it is made.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.scheduling import DEADLINE, Ended, Stand, scheduler_stand

from longshore.domain.job.job import JobKey
from longshore.domain.job.life import Allowance
from longshore.domain.placing import round as placing_round
from longshore.scheduler import apart, tick
from longshore.scheduler.history import History
from longshore.state.scheduler import demand


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "PAUSE_SECONDS", 0.05)


def ok(_: object) -> Ended:
    return Ended()


@contextlib.asynccontextmanager
async def refusing(
    stand: Stand,
    condition: str,
    *,
    table: str = "jobs",
    on: str = "INSERT OR UPDATE",
    code: str = "P0001",
) -> AsyncIterator[None]:
    """The database refuses changes of some rows, by a code of its own."""
    await stand.conn.execute(
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'unforeseen' USING ERRCODE = '{code}'; END $$"
    )
    when = f"WHEN ({condition})" if condition else ""
    await stand.conn.execute(
        f"CREATE TRIGGER refuse BEFORE {on} ON {table} FOR EACH ROW {when} "
        "EXECUTE FUNCTION refuse()"
    )
    try:
        yield
    finally:
        await stand.conn.execute(f"DROP TRIGGER refuse ON {table}")


def of(*jobs: str, status: str | None = None) -> str:
    """The condition that a row is of some jobs."""
    keys = [JobKey.parse(job) for job in jobs]
    pairs = ", ".join(f"('{key.job_id}'::uuid, {key.array_index})" for key in keys)
    condition = f"(NEW.job_id, NEW.array_index) IN ({pairs})"
    return condition if status is None else f"{condition} AND NEW.status = '{status}'"


@contextlib.asynccontextmanager
async def a_stand(database_url: str, **settings: Any) -> AsyncIterator[tuple[Stand, list[Any]]]:
    """A machine of others whose jobs end at once; the mirror stays, whatever happens."""
    async with scheduler_stand(database_url, **settings) as stand:
        await stand.environment()
        await stand.queue()
        await stand.environment("others")
        await stand.queue("theirs", "others")
        await stand.agent(environment="others", answers=ok)
        with capture_logs() as logs:
            yield stand, logs
        assert not [e for e in logs if e["event"] in ("memory.loaded", "loop.failed")]


async def others_end(stand: Stand) -> None:
    job = await stand.submit("theirs")
    await stand.until(job, "SUCCEEDED")


def aside(logs: Sequence[Any]) -> list[str]:
    """The kinds of what was set aside."""
    return [e["kind"] for e in logs if e["event"] == "item.set_aside"]


async def until_aside(logs: Sequence[Any], kind: str, times: int = 1, *besides: str) -> None:
    """Until something was set aside so many times, and nothing of another kind."""
    async with asyncio.timeout(DEADLINE):
        while aside(logs).count(kind) < times:
            await asyncio.sleep(0.01)
    assert set(aside(logs)) == {kind, *besides}


@pytest.mark.parametrize("code", ["P0001", "40P01"])
async def test_a_job_that_cannot_be_admitted(database_url: str, code: str) -> None:
    """Also where it is the one that a deadlock ends with."""
    async with a_stand(database_url) as (stand, logs):
        await stand.agent(answers=ok)
        async with stand.scheduler.lead.turn:
            good, bad, after = [await stand.submit() for _ in range(3)]
            refusal = refusing(stand, of(bad), code=code)
            await refusal.__aenter__()
        for job in (good, after):
            await stand.until(job, "SUCCEEDED")
        await others_end(stand)
        await until_aside(logs, "job", 2)
        assert (await stand.row(bad))["status"] == "SUBMITTED"
        await refusal.__aexit__(None, None, None)
        await stand.until(bad, "SUCCEEDED")


async def test_an_array_that_cannot_be_spawned(database_url: str) -> None:
    async with a_stand(database_url) as (stand, logs):
        await stand.agent(answers=ok)
        async with stand.scheduler.lead.turn:
            good, bad = await stand.submit(size=3), await stand.submit(size=2)
            condition = f"NEW.job_id = '{bad}'"
            refusal = refusing(stand, condition, table="array_jobs")
            await refusal.__aenter__()
        await stand.until(good, "SUCCEEDED")
        await others_end(stand)
        await until_aside(logs, "job")
        await refusal.__aexit__(None, None, None)
        await stand.until(bad, "SUCCEEDED")


@pytest.mark.parametrize("kind", ["CANCEL", "TERMINATE"])
async def test_a_request_that_cannot_be_acted_on(database_url: str, kind: str) -> None:
    async with a_stand(database_url) as (stand, logs):
        jobs = [await stand.submit() for _ in range(5)]
        for job in jobs:
            await stand.until(job, "RUNNABLE")
        async with stand.scheduler.lead.turn:
            refusal = refusing(stand, of(jobs[2]))
            await refusal.__aenter__()
            for job in jobs:
                await stand.request(job, kind)
        for job in (*jobs[:2], *jobs[3:]):
            await stand.until(job, "FAILED")
        await others_end(stand)
        await until_aside(logs, "request", 2)
        assert (await stand.row(jobs[2]))["status"] == "RUNNABLE"
        await refusal.__aexit__(None, None, None)
        await stand.until(jobs[2], "FAILED")
        assert not await stand.conn.fetch("SELECT * FROM job_requests")


async def test_a_stop_that_cannot_be_stored(database_url: str) -> None:
    """The attempt is not told either, until the stop is on record."""
    async with a_stand(database_url) as (stand, logs):
        agent = await stand.agent()
        jobs = [await stand.submit() for _ in range(3)]
        await agent.until(lambda: set(jobs) <= agent.assigned.keys())
        bad = jobs[1]
        async with refusing(stand, f"NEW.job_id = '{bad}'", table="attempts", on="UPDATE"):
            for job in jobs:
                await stand.request(job, "TERMINATE")
            await agent.until(lambda: len(agent.stops) == 2)
            await others_end(stand)
            await until_aside(logs, "request")
            assert bad not in {stop.key.job_id for stop in agent.stops}
        await agent.until(lambda: len(agent.stops) == 3)


async def test_a_timeout_that_cannot_be_stored(database_url: str) -> None:
    async with a_stand(database_url) as (stand, logs):
        agent = await stand.agent()
        jobs = [await stand.submit(timeout_seconds=1) for _ in range(3)]
        await agent.until(lambda: set(jobs) <= agent.assigned.keys())
        stops_bad = f"NEW.job_id = '{jobs[1]}' AND NEW.stop_kind IS NOT NULL"
        async with refusing(stand, stops_bad, table="attempts", on="UPDATE"):
            for job in jobs:
                await agent.start(job)
            await agent.until(lambda: len(agent.stops) == 2)
            await others_end(stand)
            await until_aside(logs, "stop")
        await agent.until(lambda: len(agent.stops) == 3)


async def test_a_job_of_a_deleted_queue_that_cannot_be_ended(database_url: str) -> None:
    async with a_stand(database_url) as (stand, logs):
        await stand.queue("going")
        jobs = [await stand.submit("going") for _ in range(4)]
        for job in jobs:
            await stand.until(job, "RUNNABLE")
        async with refusing(stand, of(jobs[1])):
            await stand.conn.execute("UPDATE job_queues SET status = 'DELETING' WHERE name='going'")
            await stand.conn.execute("NOTIFY longshore_environments")
            for job in (jobs[0], *jobs[2:]):
                await stand.until(job, "FAILED")
            await others_end(stand)
            await until_aside(logs, "deletion")
        await stand.until(jobs[1], "FAILED")
        async with asyncio.timeout(DEADLINE):
            while await stand.conn.fetch("SELECT * FROM job_queues WHERE name = 'going'"):
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("table", ["attempts", "job_events"])
async def test_a_job_that_cannot_be_placed(database_url: str, table: str) -> None:
    async with a_stand(database_url) as (stand, logs):
        jobs = [await stand.submit() for _ in range(5)]
        for job in jobs:
            await stand.until(job, "RUNNABLE")
        async with refusing(stand, f"NEW.job_id = '{jobs[0]}'", table=table):
            agent = await stand.agent(vcpus=2, answers=ok)
            for job in jobs[1:]:
                await stand.until(job, "SUCCEEDED")
            await others_end(stand)
            await until_aside(logs, "placement", 2)
            memory = stand.scheduler.lead.memory
            assert memory is not None
            instance = memory.instances[agent.instance_id]
            assert instance.free == instance.total
        await stand.until(jobs[0], "SUCCEEDED")


@pytest.mark.parametrize("fails", ["plan", "lacks", "demand"])
async def test_a_shape_that_nothing_can_be_said_of(
    database_url: str, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """What decides, explains or stores it fails."""
    strange: set[int] = set()

    def fail(shape_ids: Iterable[int]) -> None:
        if strange.intersection(shape_ids):
            raise RuntimeError("unforeseen")

    plan, lacking, say = placing_round.plan, placing_round.lacking, demand.say

    def planned(snapshot: Any, *rest: Any, **more: Any) -> Any:
        fail(entry.shape_id for heads in snapshot.heads.values() for entry in heads)
        return plan(snapshot, *rest, **more)

    def lacked(shape: Any, *rest: Any, **more: Any) -> Any:
        fail([shape.shape_id])
        return lacking(shape, *rest, **more)

    async def said(conn: Any, reasons: Any) -> None:
        fail(reasons)
        await say(conn, reasons)

    if fails == "plan":
        monkeypatch.setattr(placing_round, "plan", planned)
    elif fails == "lacks":
        monkeypatch.setattr(placing_round, "lacking", lacked)
    else:
        monkeypatch.setattr(demand, "say", said)
    async with a_stand(database_url) as (stand, logs):
        bad = await stand.submit(vcpus=3)
        await stand.until(bad, "RUNNABLE")
        shape = "SELECT shape_id FROM jobs WHERE name = 'job' AND job_id::text = $1"
        strange.add(await stand.conn.fetchval(shape, bad))
        await stand.agent(vcpus=2, answers=ok)
        good, large = await stand.submit(), await stand.submit(vcpus=5)
        await stand.until(good, "SUCCEEDED")
        assert "short" in await stand.explanation(large)
        await others_end(stand)
        await until_aside(logs, "placement" if fails == "plan" else "reason")
        strange.clear()
        await stand.agent(vcpus=4, answers=ok)
        await stand.until(bad, "SUCCEEDED")


async def test_a_child_that_cannot_be_placed(database_url: str) -> None:
    """Its siblings are: the range that they wait in is cut until it stands alone."""
    async with a_stand(database_url) as (stand, logs):
        array = await stand.submit(size=10)
        await stand.until(array, "PENDING")
        bad = f"{array}:6"
        async with refusing(stand, of(bad)):
            await stand.agent(vcpus=16, answers=ok)
            for index in (*range(6), *range(7, 10)):
                await stand.until(f"{array}:{index}", "SUCCEEDED")
            await others_end(stand)
            await until_aside(logs, "placement")
        await stand.until(array, "SUCCEEDED")


async def test_a_multi_node_job_that_cannot_be_placed(database_url: str) -> None:
    async with a_stand(database_url) as (stand, logs):
        await stand.managed()
        await stand.queue("fleet", "fleet")
        bad = await stand.submit("fleet", nodes=2)
        await stand.until(bad, "RUNNABLE")
        async with refusing(stand, f"NEW.job_id = '{bad}'", table="attempts"):
            for _ in range(2):
                await stand.join(answers=ok)
            await until_aside(logs, "placement")
            await others_end(stand)
            single = await stand.submit("fleet")
            await stand.until(single, "SUCCEEDED")
        await stand.until(bad, "STARTING", "RUNNING", "SUCCEEDED")


async def test_a_dependent_that_cannot_be_moved(database_url: str) -> None:
    """What it waits for ends as it ended, and so do all who wait for something else."""
    async with a_stand(database_url) as (stand, logs):
        agent = await stand.agent()
        first, second = await stand.submit(), await stand.submit()
        beside = [await stand.submit(depends_on=[(first, "PLAIN")]) for _ in range(5)]
        bad = beside.pop(2)
        good = await stand.submit(depends_on=[(second, "PLAIN")])
        for job in (bad, good, *beside):
            await stand.until(job, "PENDING")
        await agent.until(lambda: {first, second} <= agent.assigned.keys())
        async with refusing(stand, of(bad)):
            for job in (first, second):
                await agent.end(job, Ended(), started=True)
                await stand.until(job, "SUCCEEDED")
            await agent.until(lambda: {good, *beside} <= agent.assigned.keys())
            await others_end(stand)
            await until_aside(logs, "happening", 2)
            assert agent.acknowledged == 2
        await agent.until(lambda: bad in agent.assigned)


async def test_a_link_of_a_chain_that_cannot_fail(database_url: str) -> None:
    """Those before it fail, those beside it too, and those behind it once it can."""
    async with a_stand(database_url) as (stand, logs):
        agent = await stand.agent()
        first = await stand.submit()
        second = await stand.submit(depends_on=[(first, "PLAIN")])
        bad = await stand.submit(depends_on=[(second, "PLAIN")])
        last = await stand.submit(depends_on=[(bad, "PLAIN")])
        beside = await stand.submit(depends_on=[(second, "PLAIN")], size=2)
        for job in (second, bad, last, beside):
            await stand.until(job, "PENDING")
        await agent.until(lambda: first in agent.assigned)
        async with refusing(stand, of(bad)):
            await agent.end(first, Ended(1), started=True)
            for job in (first, second, beside):
                await stand.until(job, "FAILED")
            await others_end(stand)
            await until_aside(logs, "happening")
            assert (await stand.row(last))["status"] == "PENDING"
        for job in (bad, last):
            await stand.until(job, "FAILED")


async def test_a_pair_of_arrays_of_which_one_cannot_be_moved(database_url: str) -> None:
    async with a_stand(database_url) as (stand, logs):
        await stand.agent(answers=lambda _: Ended(1))
        first = await stand.submit("q", size=3)
        bad, good = [await stand.submit(size=3, depends_on=[(first, "N_TO_N")]) for _ in range(2)]
        async with refusing(stand, f"NEW.job_id = '{bad}' AND NEW.array_index = 1"):
            await stand.until(first, "FAILED")
            await stand.until(good, "FAILED")
            await others_end(stand)
            await until_aside(logs, "happening")
        await stand.until(bad, "FAILED")


@pytest.mark.parametrize("bad", [0, 3, 5])
async def test_a_child_of_an_array_that_cannot_be_moved(database_url: str, bad: int) -> None:
    """Its siblings are, whose own upstream children are over as well."""
    async with a_stand(database_url) as (stand, _):
        first = await stand.submit(size=6)
        array = await stand.submit(size=6, depends_on=[(first, "N_TO_N")])
        await stand.until(array, "PENDING")
        child = f"{array}:{bad}"
        async with refusing(stand, of(child)):
            await stand.agent(vcpus=1, answers=ok)
            await stand.until(first, "SUCCEEDED")
            for index in set(range(6)) - {bad}:
                await stand.until(f"{array}:{index}", "SUCCEEDED")
            await others_end(stand)
        await stand.until(array, "SUCCEEDED")


async def test_a_child_that_an_end_of_all_cannot_move(database_url: str) -> None:
    """What all children of an array wait for fails: all but one fail with it."""
    async with a_stand(database_url) as (stand, logs):
        agent = await stand.agent()
        gate = await stand.submit()
        first = await stand.submit(size=6, depends_on=[(gate, "PLAIN")])
        array = await stand.submit(size=6, depends_on=[(first, "N_TO_N")])
        await stand.until(array, "PENDING")
        await agent.until(lambda: gate in agent.assigned)
        async with refusing(stand, of(f"{array}:3")):
            await agent.end(gate, Ended(1), started=True)
            await stand.until(first, "FAILED")
            for index in (0, 1, 2, 4, 5):
                await stand.until(f"{array}:{index}", "FAILED")
            await others_end(stand)
            await until_aside(logs, "happening")
        await stand.until(array, "FAILED")


async def test_what_earlier_ticks_left_to_follow(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tick, "Allowance", lambda: Allowance(steps=2, rounds=1))
    async with a_stand(database_url) as (stand, logs):
        agent = await stand.agent()
        jobs = [await stand.submit() for _ in range(6)]
        dependents = [await stand.submit(depends_on=[(job, "PLAIN")]) for job in jobs]
        for job in dependents:
            await stand.until(job, "PENDING")
        await agent.until(lambda: set(jobs) <= agent.assigned.keys())
        async with refusing(stand, of(dependents[2])):
            async with stand.scheduler.lead.turn:
                for job in jobs:
                    await agent.end(job, Ended(), started=True)
            for number, job in enumerate(dependents):
                if number != 2:
                    await agent.until(lambda job=job: job in agent.assigned)
            await others_end(stand)
            await until_aside(logs, "happening")
        await agent.until(lambda: dependents[2] in agent.assigned)


async def test_an_end_that_cannot_be_stored_is_tried_again(database_url: str) -> None:
    """Not at once, and without a restart."""
    async with a_stand(database_url) as (stand, logs):
        agent = await stand.agent()
        good, bad = await stand.submit(), await stand.submit()
        await agent.until(lambda: {good, bad} <= agent.assigned.keys())
        async with refusing(stand, f"NEW.job_id = '{bad}'", table="attempts", on="UPDATE"):
            for job in (bad, good):
                await agent.end(job, Ended(), started=True)
            await stand.until(good, "SUCCEEDED")
            await others_end(stand)
            await until_aside(logs, "end", 2, "report")
        row = await stand.until(bad, "FAILED")
        assert row["status_reason"] == "What the agent reported of the attempt could not be stored"


async def test_a_job_that_cannot_become_history(database_url: str) -> None:
    async with a_stand(database_url) as (stand, logs):
        await stand.agent(answers=ok)
        jobs = [await stand.submit() for _ in range(5)]
        for job in jobs:
            await stand.until(job, "SUCCEEDED")
        history = History(stand.scheduler.lead.leadership, timedelta(days=90), timedelta(0))
        async with refusing(stand, of(jobs[2])):
            await history.tick()
            await until_aside(logs, "history")
            assert [job for job in jobs if await stand.row(job)] == [jobs[2]]
        await asyncio.sleep(2 * apart.PAUSE_SECONDS)
        await history.tick()
        assert not await stand.row(jobs[2])


async def test_where_all_fail_a_tick_is_bounded(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many tries a tick, and all are set aside in the end; others' jobs end meanwhile."""
    monkeypatch.setattr(apart, "TRIES", 20)
    monkeypatch.setattr(apart, "PAUSE_SECONDS", 3600)
    tried = []
    real = apart.savepoint
    monkeypatch.setattr(apart, "savepoint", lambda conn: tried.append(1) or real(conn))
    async with a_stand(database_url) as (stand, logs):
        await stand.agent(vcpus=16, answers=ok)
        async with stand.scheduler.lead.turn:
            bad = [await stand.submit() for _ in range(100)]
            good = await stand.submit()
            refusal = refusing(stand, of(*bad))
            await refusal.__aenter__()
            tried.clear()
        counts = []
        async with asyncio.timeout(DEADLINE):
            while len(aside(logs)) < len(bad):
                before = len(tried)
                await stand.scheduler.tick()
                counts.append(len(tried) - before)
        await stand.until(good, "SUCCEEDED")
        await others_end(stand)
        # Those of admission, and a few of what else there is to do.
        assert max(counts) < 2 * 20 + 25
        tried.clear()
        await stand.scheduler.tick()
        assert len(tried) < 5
        await refusal.__aexit__(None, None, None)


async def lead_anew(stand: Stand) -> None:
    """Another leader takes over: the mirror is gone, and with it what it alone knew."""
    async with stand.scheduler.lead.turn:
        stand.scheduler.lead.discard()
    await stand.scheduler.tick()


async def test_what_follows_and_cannot_be_kept_outlives_its_leader(database_url: str) -> None:
    """A dependent that could not be moved, where what is to be done of it could not be kept."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        first = await stand.submit()
        bad = await stand.submit(depends_on=[(first, "PLAIN")])
        await stand.until(bad, "PENDING")
        await agent.until(lambda: first in agent.assigned)
        with capture_logs() as logs:
            async with refusing(stand, of(bad)), refusing(stand, "", table="happenings"):
                await agent.end(first, Ended(), started=True)
                await stand.until(first, "SUCCEEDED")
                await until_aside(logs, "unkept")
                await lead_anew(stand)
        await agent.until(lambda: bad in agent.assigned)
        await agent.end(bad, Ended(), started=True)
        await stand.until(bad, "SUCCEEDED")
        assert not await stand.conn.fetch("SELECT FROM unkept_happenings")


async def test_counts_that_cannot_be_stored_outlive_their_leader(database_url: str) -> None:
    """Jobs that wait are known to wait, although nobody could write down how many."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        with capture_logs() as logs:
            async with refusing(stand, "", table="demand"):
                jobs = [await stand.submit() for _ in range(3)]
                for job in jobs:
                    await stand.until(job, "RUNNABLE")
                await until_aside(logs, "demand", 1, "reason")
                await lead_anew(stand)
                await stand.agent(answers=ok)
                for job in jobs:
                    await stand.until(job, "SUCCEEDED")
                await lead_anew(stand)
        async with asyncio.timeout(DEADLINE):
            while await stand.conn.fetch("SELECT FROM uncounted_demand"):
                await asyncio.sleep(0.01)
                await stand.scheduler.tick()
        assert not await stand.conn.fetch("SELECT FROM demand")
