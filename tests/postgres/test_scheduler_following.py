"""What follows from one event is followed in bounded steps, and wholly, whatever dies meanwhile.

The longest stretch is told in steps (a happening, an edge, a child that is looked at) and not in
seconds, which are the machine's.
"""

import asyncio
import uuid
from collections.abc import Sequence
from datetime import datetime

import pytest
from support.patience import PATIENCE_SECONDS
from support.scheduling import Ended, Stand, scheduler_stand

from longshore.domain.job.changes import Changes
from longshore.domain.job.happening import StopAsked
from longshore.domain.job.life import STEPS_LIMIT, Allowance
from longshore.domain.job.snapshot import JobsSnapshot
from longshore.scheduler import instances, requesting, resuming, tick

MANY = 10_000


class Steps:
    """Takes the place of the metric."""

    def __init__(self) -> None:
        self.of_ticks: list[float] = []

    def observe(self, steps: float) -> None:
        self.of_ticks.append(steps)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """The steps of each tick."""
    recorded = Steps()
    monkeypatch.setattr(resuming, "STEPS", recorded)
    return recorded


async def copies(stand: Stand, job: str, number: int, depends_on: Sequence[str] = ()) -> list[str]:
    """Jobs like another one: each waits for the one before it, or for those that are given."""
    ids = [uuid.uuid4() for _ in range(number)]
    before = [uuid.UUID(job), *ids[:-1]]
    upstream = [uuid.UUID(j) for j in depends_on]
    async with stand.conn.transaction():
        await stand.conn.execute(
            "INSERT INTO jobs (job_id, seq, job_queue, shape_id, name, definition_name, "
            "definition_revision, status) SELECT n.id, nextval('job_seq'), j.job_queue, "
            "j.shape_id, j.name, j.definition_name, j.definition_revision, 'SUBMITTED' "
            "FROM unnest($2::uuid[]) WITH ORDINALITY AS n (id, position), jobs j "
            "WHERE j.job_id = $1 AND j.array_index = -1 ORDER BY n.position",
            uuid.UUID(job),
            ids,
        )
        await stand.conn.execute(
            "INSERT INTO job_specs (job_id, detail, container) SELECT n, s.detail, s.container "
            "FROM unnest($2::uuid[]) AS n, job_specs s WHERE s.job_id = $1",
            uuid.UUID(job),
            ids,
        )
        for ordinal, others in enumerate([[j] * number for j in upstream] or [before]):
            await stand.conn.execute(
                "INSERT INTO job_dependencies (job_id, ordinal, depends_on, type) "
                "SELECT d.id, $3, d.other, 'PLAIN' "
                "FROM unnest($1::uuid[], $2::uuid[]) AS d (id, other)",
                ids,
                others,
                ordinal,
            )
        await stand.conn.execute("NOTIFY longshore_jobs")
    await stand.conn.execute("ANALYZE")
    return [str(job_id) for job_id in ids]


async def all_are(
    stand: Stand, status: str, number: int, seconds: float = 2 * PATIENCE_SECONDS
) -> None:
    """Waits until so many jobs and parents have a status."""
    async with asyncio.timeout(seconds):
        while (
            await stand.conn.fetchval(
                "SELECT count(*) FROM jobs WHERE array_index = -1 AND status = $1", status
            )
            != number
        ):
            await asyncio.sleep(0.02)


async def nothing_is_left(stand: Stand) -> None:
    """Everything was followed."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await stand.conn.fetchval("SELECT count(*) FROM happenings"):
            await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_a_large_sequential_array_fails_in_linear_and_bounded_steps(
    database_url: str, steps: Steps
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.agent(answers=lambda _: Ended(1))
        job = await stand.submit(size=MANY, depends_on=[(None, "SEQUENTIAL")])
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await stand.row(job))["status"] != "FAILED":
                await asyncio.sleep(0.05)
        await nothing_is_left(stand)
        assert set((await stand.statuses(job)).values()) == {"FAILED"}
        assert await stand.conn.fetchval("SELECT failed FROM array_jobs") == MANY
        ended = "SELECT count(*) FROM job_events WHERE status = 'FAILED' AND array_index >= 0"
        assert await stand.conn.fetchval(ended) == MANY
    assert max(steps.of_ticks) <= 1.5 * STEPS_LIMIT
    assert sum(steps.of_ticks) <= 4 * MANY


@pytest.mark.slow
async def test_a_long_chain_fails_in_linear_and_bounded_steps(
    database_url: str, steps: Steps
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        job = await stand.submit()
        await copies(stand, job, MANY)
        await all_are(stand, "PENDING", MANY)
        await stand.request(job, "TERMINATE")
        await all_are(stand, "FAILED", MANY + 1)
        await nothing_is_left(stand)
    assert max(steps.of_ticks) <= 1.5 * STEPS_LIMIT
    assert sum(steps.of_ticks) <= 4 * MANY


@pytest.mark.slow
async def test_a_job_with_very_many_dependents_lets_them_go_in_bounded_steps(
    database_url: str, steps: Steps
) -> None:
    """Also those that wait for another one as well, which are not over and done with at once."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        first, second = await stand.submit(), await stand.submit()
        await agent.until(lambda: {first, second} <= agent.assigned.keys())
        await copies(stand, first, MANY, [first, second])
        await all_are(stand, "PENDING", MANY)
        await agent.end(first, Ended(), started=True)
        await stand.until(first, "SUCCEEDED")
        await nothing_is_left(stand)
        assert (
            await stand.conn.fetchval(
                "SELECT count(*) FROM jobs WHERE status = 'PENDING' AND dependencies_left = 1"
            )
            == MANY
        )
        await agent.end(second, Ended(1), started=True)
        await all_are(stand, "FAILED", MANY + 1)
        await nothing_is_left(stand)
    assert max(steps.of_ticks) <= 1.5 * STEPS_LIMIT
    assert sum(steps.of_ticks) <= 4 * MANY


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["CANCEL", "TERMINATE"])
async def test_a_large_array_is_stopped_part_by_part_and_nothing_of_it_starts_meanwhile(
    database_url: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    acted: list[int] = []
    deciding = requesting.advance

    def counted(jobs: JobsSnapshot, asked: Sequence[StopAsked], now: datetime) -> Changes:
        changes = deciding(jobs, asked, now)
        acted.append(len(changes.children))
        return changes

    monkeypatch.setattr(requesting, "advance", counted)
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(vcpus=2)
        job = await stand.submit(size=MANY)
        await agent.until(lambda: len(agent.assigned) == 2)
        await stand.request(job, kind, "enough")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await stand.conn.fetchval("SELECT failed FROM array_jobs") != MANY - 2:
                await asyncio.sleep(0.02)
        assert await stand.conn.fetchval("SELECT count(*) FROM job_requests") == 0
        assert len(agent.stops) == (2 if kind == "TERMINATE" else 0)
        for child in list(agent.assigned):
            await agent.end(child, Ended(0), started=True)
        await stand.until(job, "FAILED")
        assert len(agent.seen) == 2
        assert (await stand.row(f"{job}:{MANY - 1}"))["status_reason"] == "enough"
    assert max(acted) <= requesting.CHILDREN_LIMIT
    assert sum(acted) == MANY - 2


@pytest.mark.slow
async def test_a_queue_full_of_arrays_is_emptied_part_by_part(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requesting, "CHILDREN_LIMIT", 100)
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        arrays = [await stand.submit(size=250) for _ in range(3)]
        for job in arrays:
            await stand.until(job, "PENDING")
        await stand.conn.execute(
            "UPDATE job_queues SET status = 'DELETING'; NOTIFY longshore_environments"
        )
        for job in arrays:
            row = await stand.until(job, "FAILED")
            assert set((await stand.statuses(job)).values()) == {"FAILED"}
            assert row["is_terminated"]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await stand.conn.fetchval("SELECT count(*) FROM job_queues"):
                await asyncio.sleep(0.01)
        assert await stand.conn.fetchval("SELECT count(*) FROM job_requests") == 0
        assert await stand.conn.fetchval("SELECT count(*) FROM queue_departures") == 0


async def test_attempts_of_a_lost_instance_end_so_many_a_tick(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "LOST_LIMIT", 3)
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(vcpus=10)
        job = await stand.submit(size=10)
        await agent.until(lambda: len(agent.assigned) == 10)
        await stand.silence(agent)
        await stand.until(job, "FAILED")
        ends = await stand.conn.fetch(
            "SELECT count(*) AS number FROM attempts WHERE status = 'ENDED' GROUP BY stopped_at"
        )
        assert sorted(row["number"] for row in ends) == [1, 3, 3, 3]


async def test_an_agent_that_is_back_before_its_attempts_were_ended_goes_on_with_them(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "LOST_LIMIT", 0)
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        jobs = {await stand.submit() for _ in range(3)}
        await agent.until(lambda: jobs <= agent.assigned.keys())
        await stand.silence(agent)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while agent.instance_id in stand.scheduler.lead.memory.instances:
                await asyncio.sleep(0.01)
        registered = await agent.connect([agent.assigned[job].key for job in jobs])
        assert {a.key.job_id for a in registered.assignments} == jobs
        for job in jobs:
            await agent.end(job, Ended(), started=True)
            await stand.until(job, "SUCCEEDED")


async def test_what_is_left_to_follow_outlives_the_scheduler(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a job that is admitted in between is moved once."""
    monkeypatch.setattr(tick, "Allowance", lambda: Allowance(steps=2, rounds=1))
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(answers=lambda _: Ended(1))
        job = await stand.submit(size=200, depends_on=[(None, "SEQUENTIAL")])
        last = await stand.submit(depends_on=[(job, "PLAIN")])
        await agent.until(lambda: bool(agent.seen))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await stand.conn.fetchval("SELECT count(*) FROM happenings"):
                await asyncio.sleep(0)
    monkeypatch.undo()
    async with scheduler_stand(database_url) as stand:
        pairs = await stand.submit(size=200, depends_on=[(job, "N_TO_N")])
        for name in (job, last, pairs):
            await stand.until(name, "FAILED")
        await nothing_is_left(stand)
