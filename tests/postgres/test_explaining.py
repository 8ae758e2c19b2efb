"""What is told of a waiting job, and where a job was placed."""

import pytest
from support.agent import until
from support.scheduling import Ended, scheduler_stand

from longshore.domain.job.job import JobKey
from longshore.scheduler import memory
from longshore.scheduler.explaining import explain_job


async def test_each_attempt_with_its_instance(database_url: str) -> None:
    """A machine that joined by itself has no type of ours; before the first attempt: nothing."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        job = await stand.submit(attempts=2)
        await stand.until(job, "RUNNABLE")
        assert (await explain_job(stand.conn, JobKey.parse(job))).attempts == ()
        agent = await stand.agent(answers=lambda _: Ended(exit_code=1))
        await stand.until(job, "FAILED")
        placed = (await explain_job(stand.conn, JobKey.parse(job))).attempts
    assert [(item.attempt, item.instance_id) for item in placed] == [
        (1, agent.instance_id),
        (2, agent.instance_id),
    ]
    assert {(item.compute_environment, item.instance_type) for item in placed} == {("machines", "")}


async def test_jobs_ahead_are_counted_through_all_that_changes_a_queue(database_url: str) -> None:
    """Exact within a stretch of the queue and across many, for jobs and for children."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()

        async def ahead(key: str) -> int | None:
            return (await explain_job(stand.conn, JobKey.parse(key))).jobs_ahead

        first = await stand.submit()
        # Far behind each other: in other stretches.
        await stand.conn.execute("SELECT setval('job_seq', 10000)")
        array = await stand.submit(size=10)
        await stand.conn.execute("SELECT setval('job_seq', 20000)")
        gone, last = await stand.submit(), await stand.submit()
        await stand.until(last, "RUNNABLE")
        keys = [first, f"{array}:0", f"{array}:7", gone, last]
        assert [await ahead(key) for key in keys] == [0, 1, 8, 11, 12]
        await stand.check()
        await stand.request(gone, "CANCEL")
        await stand.until(gone, "FAILED")
        assert await ahead(last) == 11
        agent = await stand.agent(vcpus=4)
        await agent.until(lambda: len(agent.assigned) == 4)
        assert [await ahead(key) for key in (f"{array}:7", last)] == [4, 7]
        await stand.check()
        await stand.request(array, "TERMINATE")
        await stand.until(f"{array}:9", "FAILED")
        await stand.agent(vcpus=1)
        await stand.until(last, "STARTING")
        await stand.check()
        assert await stand.conn.fetchval("SELECT count(*) FROM ready_blocks") == 0


async def test_what_nobody_waits_for_is_not_kept(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither on record nor in memory: each job here has a size of its own."""
    monkeypatch.setattr(memory, "SHAPES_KEPT", 2)
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.agent(vcpus=64, answers=lambda _: Ended())
        for number in range(1, 9):
            await stand.until(await stand.submit(memory_mib=number), "SUCCEEDED")
        assert await stand.conn.fetchval("SELECT count(*) FROM demand") == 0
        mirror = stand.scheduler.lead.memory
        assert mirror is not None
        assert len(mirror.shapes) <= 2


async def test_what_children_wait_for_is_told_of_each_and_of_the_whole(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()

        async def waits(key: str) -> list[tuple[int, str]]:
            told = await explain_job(stand.conn, JobKey.parse(key))
            return [(n, how) for reason, n, how in told.reasons if reason == "WAITING_FOR_JOB"]

        root = await stand.submit()
        before = await stand.submit(size=3, depends_on=[(root, "PLAIN")])
        pair = (before, "N_TO_N", "COMPLETE")
        after = await stand.submit(size=3, depends_on=[(root, "PLAIN"), pair])
        row = await stand.submit(size=3, depends_on=[(None, "SEQUENTIAL")])
        await stand.until(row, "PENDING")
        assert await waits(before) == [(1, f"PLAIN {root} (RUNNABLE)")]
        ending = {root, f"{before}:0"}
        await stand.agent(
            vcpus=1, answers=lambda given: Ended() if given.key.job_id in ending else None
        )
        await stand.until(f"{before}:1", "STARTING")

        async def followed() -> bool:
            return await waits(after) == [(2, f"N_TO_N {before}, COMPLETE (PENDING)")]

        await until(followed)
        assert await waits(f"{after}:0") == []
        assert await waits(f"{after}:1") == [(1, f"N_TO_N {before}:1, COMPLETE (STARTING)")]
        assert await waits(f"{after}:2") == [(1, f"N_TO_N {before}:2, COMPLETE")]
        assert await waits(row) == [(2, "SEQUENTIAL the child before")]
        assert await waits(f"{row}:1") == [(1, f"SEQUENTIAL {row}:0")]


async def test_of_an_array_that_failed_its_children_say_why(database_url: str) -> None:
    """It has no attempts, which say it of any other job."""
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.agent(vcpus=4, answers=lambda _: Ended(exit_code=1))
        array = await stand.submit(size=2)
        await stand.until(array, "FAILED")
        told = [
            (await explain_job(stand.conn, JobKey.parse(key))).summary
            for key in (array, f"{array}:1")
        ]
    assert told == [
        "It failed: its status reason and those of its FAILED children say why.",
        "It failed: its status reason and attempts say why.",
    ]
