"""Jobs that block the head of a queue for longer than it allows, on a real database."""

import asyncio
import json
import uuid
from typing import Any

import pytest
from support.scheduling import DEADLINE, Ended, Stand, scheduler_stand

from longshore.domain.checks import Json
from longshore.domain.job.job import JobKey
from longshore.domain.placing import words
from longshore.domain.placing.time_limit import Blockage, TimeLimit
from longshore.domain.placing.waiting import Block, Why
from longshore.domain.request.reading import JobFilter
from longshore.scheduler import blocking
from longshore.state.views import job_reading

MAX_RESOURCE = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
TOO_LARGE = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
SAID = f"Canceled by JobStateTimeLimit action due to reason: {MAX_RESOURCE}"


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "LOOK_SECONDS", 0.0)


def limits(seconds: int = 600, reason: str = MAX_RESOURCE, action: str = "CANCEL") -> Json:
    """The detail of a queue with a time limit."""
    limit = {
        "reason": reason,
        "state": "RUNNABLE",
        "maxTimeSeconds": seconds,
        "action": action,
    }
    return {"jobStateTimeLimitActions": [limit]}


async def blocker(stand: Stand, queue: str = "q") -> str:
    """The job or child that is on record as the first of a queue."""
    async with asyncio.timeout(DEADLINE):
        while True:
            row = await stand.conn.fetchrow(
                "SELECT job_id, array_index FROM queue_blockages WHERE job_queue = $1", queue
            )
            if row is not None:
                return str(JobKey(row["job_id"], row["array_index"]))
            await asyncio.sleep(0.01)


async def age(stand: Stand, seconds: int, queue: str = "q") -> None:
    """Lets time pass for who blocks a queue, as it does for a successor that takes over."""
    await stand.conn.execute(
        "UPDATE queue_blockages SET since = since - make_interval(secs => $2) WHERE job_queue = $1",
        queue,
        seconds,
    )
    async with stand.scheduler.lead.turn:
        stand.scheduler.lead.discard()
    stand.scheduler.wake()


async def test_the_first_job_is_ended_when_its_time_is_over_and_the_next_begins_anew(
    database_url: str,
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.managed()
        await stand.queue("q", "fleet", detail=limits())
        first, second = [await stand.submit(vcpus=1000) for _ in range(2)]
        await stand.until_blocked(second, words.blocked(Block(Why.MAX_RESOURCE)))
        assert await blocker(stand) == first
        await age(stand, 500)
        await stand.scheduler.tick()
        assert (await stand.row(first))["status"] == "RUNNABLE"
        await age(stand, 100)
        ended = await stand.until(first, "FAILED")
        assert (ended["status_reason"], ended["started_at"]) == (SAID, None)
        async with asyncio.timeout(DEADLINE):
            while await blocker(stand) != second:
                await asyncio.sleep(0.01)
        assert (await stand.row(second))["status"] == "RUNNABLE"


async def test_a_job_that_is_tried_again_says_why_it_waits_now(database_url: str) -> None:
    """As after an attempt that ran out of memory, where the next one has more than there is."""
    async with scheduler_stand(database_url) as stand:
        await stand.managed()
        await stand.queue("q", "fleet")
        job = await stand.submit(vcpus=1000)
        reason = words.blocked(Block(Why.MAX_RESOURCE))
        await stand.until_blocked(job, reason)
        await stand.conn.execute("UPDATE jobs SET status_reason = 'its last attempt''s'")
        key = JobKey(uuid.UUID(job))
        [described] = await job_reading.describe_jobs(stand.conn, [key])
        [listed] = await job_reading.list_queue(
            stand.conn, "q", JobFilter(("RUNNABLE",)), before_seq=None, limit=10
        )
        assert described.job.status_reason == listed.status_reason == reason


async def test_a_job_that_is_not_first_or_waits_for_another_reason_stays(
    database_url: str,
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.managed()
        await stand.environment()
        await stand.queue("q", "fleet", detail=limits(1))
        await stand.queue("other", "fleet", detail=limits(1, TOO_LARGE))
        # It stands before the one that is blocked, and waits for an instance.
        first = await stand.submit(vcpus=1)
        behind = await stand.submit(vcpus=1000)
        elsewhere = await stand.submit("other", vcpus=1000)
        for job in (behind, elsewhere):
            await stand.until_blocked(job, words.blocked(Block(Why.MAX_RESOURCE)))
        assert await blocker(stand) == first
        await age(stand, 500)
        await stand.scheduler.tick()
        # Once the first job is gone it is the other's turn.
        await stand.request(first, "CANCEL")
        await stand.until(first, "FAILED")
        assert (await stand.row(elsewhere))["status"] == "RUNNABLE"
        async with asyncio.timeout(DEADLINE):
            while await blocker(stand) != behind:
                await asyncio.sleep(0.01)
        await age(stand, 1)
        await stand.until(behind, "FAILED")
        assert (await stand.row(elsewhere))["status"] == "RUNNABLE"


async def test_children_of_an_array_are_ended_one_by_one(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.managed()
        await stand.queue("q", "fleet", detail=limits(action="TERMINATE"))
        array = await stand.submit(vcpus=1000, size=2)
        for index in range(2):
            async with asyncio.timeout(DEADLINE):
                while await blocker(stand) != f"{array}:{index}":
                    await asyncio.sleep(0.01)
            await age(stand, 600)
            ended = await stand.until(f"{array}:{index}", "FAILED")
            assert ended["status_reason"] == SAID.replace("Canceled", "Terminated")
        assert (await stand.until(array, "FAILED"))["status_reason"] == "Array Child Job failed"


async def test_in_a_queue_with_a_policy_the_first_is_whose_turn_it_is(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.policy()
        await stand.managed()
        await stand.queue("q", "fleet", policy="p", detail=limits())
        busy = await stand.submit(share="a", vcpus=4)
        agent = await stand.join()
        await agent.until(lambda: busy in agent.assigned)
        await agent.start(busy)
        await stand.until(busy, "RUNNING")
        # The share that has something at work is not the next one, though its job is older.
        older = await stand.submit(share="a", vcpus=1000)
        idle = await stand.submit(share="b", vcpus=1000, priority=0)
        urgent = await stand.submit(share="b", vcpus=1000, priority=9)
        for job in (older, idle, urgent):
            await stand.until_blocked(job, words.blocked(Block(Why.MAX_RESOURCE)))
        async with asyncio.timeout(DEADLINE):
            while await blocker(stand) != urgent:
                await asyncio.sleep(0.01)
        await age(stand, 600)
        await stand.until(urgent, "FAILED")
        assert (await stand.row(older))["status"] == "RUNNABLE"
        await agent.end(busy, Ended())


async def test_who_waits_no_longer_is_not_remembered(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.managed()
        await stand.queue("q", "fleet", detail=limits())
        job = await stand.submit(vcpus=1000)
        assert await blocker(stand) == job
        await stand.request(job, "CANCEL")
        await stand.until(job, "FAILED")
        async with asyncio.timeout(DEADLINE):
            while await stand.conn.fetchval("SELECT count(*) FROM queue_blockages"):
                await asyncio.sleep(0.01)


async def test_one_queue_that_cannot_be_looked_at_keeps_no_other_from_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.managed()
        for name in ("bad", "q"):
            await stand.queue(name, "fleet", detail=limits())
        bad, good = await stand.submit("bad", vcpus=1000), await stand.submit(vcpus=1000)
        assert await blocker(stand, "bad") == bad
        assert await blocker(stand) == good
        real = blocking.overdue

        def overdue(blockage: Blockage, *more: Any) -> TimeLimit | None:
            if blockage.key.job_id == uuid.UUID(bad):
                raise ValueError("bad")
            return real(blockage, *more)

        monkeypatch.setattr(blocking, "overdue", overdue)
        await age(stand, 600)
        await stand.until(good, "FAILED")
        assert (await stand.row(bad))["status"] == "RUNNABLE"


async def test_a_queue_is_told_of_once_when_a_reason_begins_to_block_it(
    database_url: str,
) -> None:
    """Not at each look, nor for who stands first next; again once nothing blocked it."""

    async def told() -> list[tuple[str, str]]:
        rows = await stand.conn.fetch("SELECT kind, body FROM outbox ORDER BY event_id")
        return [
            (body["job_id"], body["reason"])
            for row in rows
            if row["kind"] == "QUEUE_BLOCKED" and (body := json.loads(row["body"]))["queue"] == "q"
        ]

    async with scheduler_stand(database_url) as stand:
        await stand.managed()
        await stand.queue("q", "fleet")
        first, second = [await stand.submit(vcpus=1000) for _ in range(2)]
        assert await blocker(stand) == first
        said = words.blocked(Block(Why.MAX_RESOURCE))
        await stand.scheduler.tick()
        assert await told() == [(first, said)]
        await stand.request(first, "CANCEL")
        async with asyncio.timeout(DEADLINE):
            while await blocker(stand) != second:
                await asyncio.sleep(0.01)
        assert await told() == [(first, said)]
        await stand.request(second, "CANCEL")
        await stand.until(second, "FAILED")
        third = await stand.submit(vcpus=1000)
        async with asyncio.timeout(DEADLINE):
            while len(await told()) < 2:
                await asyncio.sleep(0.01)
        assert await told() == [(first, said), (third, said)]
