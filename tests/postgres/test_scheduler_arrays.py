"""Array jobs in the scheduler."""

import uuid

from support.scheduling import Ended, scheduler_stand

from longshore.state.views import job_reading


def ok(_: object) -> Ended:
    return Ended()


async def test_an_array_runs_every_child_once(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        job = await stand.submit(size=50)
        row = await stand.until(job, "PENDING")
        assert await stand.statuses(job) == {}
        agent = await stand.agent(vcpus=7, answers=ok)
        row = await stand.until(job, "SUCCEEDED")
        assert row["status_reason"] is None
        assert sorted(agent.seen) == sorted((f"{job}:{i}", 1) for i in range(50))
        assert set((await stand.statuses(job)).values()) == {"SUCCEEDED"}
        assert agent.assigned[f"{job}:3"].array_index == 3
        assert agent.assigned[f"{job}:3"].array_size == 50


async def test_a_parent_fails_after_its_last_child(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        job = await stand.submit(size=3)
        await agent.until(lambda: len(agent.assigned) == 3)
        await agent.end(f"{job}:0", Ended(1), started=True)
        await stand.until(f"{job}:0", "FAILED")
        assert (await stand.row(job))["status"] == "PENDING"
        await agent.end(f"{job}:1", Ended(), started=True)
        await agent.end(f"{job}:2", Ended(), started=True)
        row = await stand.until(job, "FAILED")
        assert row["status_reason"] == "Array Child Job failed"


async def test_a_child_is_retried_and_its_siblings_are_not(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        job = await stand.submit(size=5, attempts=2)
        agent = await stand.agent(
            vcpus=2,
            answers=lambda a: Ended(1 if a.array_index == 2 and a.key.attempt == 1 else 0),
        )
        await stand.until(job, "SUCCEEDED")
        assert sorted(agent.seen) == sorted(
            [(f"{job}:{i}", 1) for i in range(5)] + [(f"{job}:2", 2)]
        )


async def test_a_sequential_array_runs_one_after_the_other(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        job = await stand.submit(size=10, depends_on=[(None, "SEQUENTIAL")])
        agent = await stand.agent(answers=ok)
        await stand.until(job, "SUCCEEDED")
        assert [j for j, _ in agent.seen] == [f"{job}:{i}" for i in range(10)]


async def test_sequential_with_a_job_is_a_gate_and_the_sequence(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        gate = await stand.submit()
        array = await stand.submit(size=3, depends_on=[(gate, "SEQUENTIAL")])
        agent = await stand.agent(answers=ok)
        await stand.until(array, "SUCCEEDED")
        assert [job for job, _ in agent.seen] == [gate, *(f"{array}:{i}" for i in range(3))]


async def test_sequential_with_a_job_that_fails_fails_the_array(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        gate = await stand.submit()
        array = await stand.submit(size=3, depends_on=[(gate, "SEQUENTIAL")])
        agent = await stand.agent(answers=lambda _: Ended(1))
        row = await stand.until(array, "FAILED")
        assert row["status_reason"] == "Dependent Job failed"
        assert [job for job, _ in agent.seen] == [gate]


async def test_a_sequential_array_stops_at_a_failure(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        job = await stand.submit(size=10, depends_on=[(None, "SEQUENTIAL")])
        agent = await stand.agent(answers=lambda a: Ended(1 if a.array_index == 4 else 0))
        await stand.until(job, "FAILED")
        assert len(agent.seen) == 5
        assert (await stand.row(f"{job}:9"))["status_reason"] == "Dependent Job failed"


async def test_n_to_n_pairs_children(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        first = await stand.submit(size=4)
        agent = await stand.agent()
        await agent.until(lambda: len(agent.assigned) == 4)
        await agent.end(f"{first}:1", Ended(), started=True)
        await stand.until(f"{first}:1", "SUCCEEDED")
        second = await stand.submit(size=4, depends_on=[(first, "N_TO_N")])
        await agent.until(lambda: f"{second}:1" in agent.assigned)
        assert f"{second}:0" not in agent.assigned
        await agent.end(f"{first}:3", Ended(1), started=True)
        row = await stand.until(f"{second}:3", "FAILED")
        assert row["status_reason"] == "Dependent Job failed"
        for index in (0, 2):
            await agent.end(f"{first}:{index}", Ended(), started=True)
        await agent.until(lambda: len(agent.assigned) == 7)
        for index in (0, 1, 2):
            await agent.end(f"{second}:{index}", Ended(), started=True)
        await stand.until(second, "FAILED")


async def test_a_child_waits_for_all_its_pairs(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        one, two = await stand.submit(size=3), await stand.submit(size=3)
        both = await stand.submit(
            size=3, depends_on=[(one, "N_TO_N"), (two, "N_TO_N"), (None, "SEQUENTIAL")]
        )
        agent = await stand.agent(answers=ok)
        await stand.until(both, "SUCCEEDED")
        order = [job for job, _ in agent.seen]
        for index in range(3):
            at = order.index(f"{both}:{index}")
            assert at > order.index(f"{one}:{index}")
            assert at > order.index(f"{two}:{index}")
            if index:
                assert at > order.index(f"{both}:{index - 1}")


async def test_an_array_of_one_is_an_array(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.agent(answers=ok)
        first = await stand.submit(size=1)
        second = await stand.submit(size=1, depends_on=[(first, "N_TO_N"), (None, "SEQUENTIAL")])
        await stand.until(second, "SUCCEEDED")
        assert await stand.statuses(second) == {0: "SUCCEEDED"}


async def test_an_array_of_a_million_costs_one_row_until_its_children_are_placed(
    database_url: str,
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(vcpus=4)
        job = await stand.submit(size=1_000_000)
        behind = await stand.submit()
        await agent.until(lambda: len(agent.assigned) == 4)
        await stand.until(behind, "RUNNABLE")
        assert set(await stand.statuses(job)) == {0, 1, 2, 3}
        assert await stand.conn.fetchval("SELECT count(*) FROM ready") == 2
        await agent.end(f"{job}:0", Ended(), started=True)
        await agent.until(lambda: f"{job}:4" in agent.assigned)
        page = await job_reading.list_children(
            stand.conn, uuid.UUID(job), "RUNNABLE", after_index=999_997, limit=10
        )
        assert [str(child.key) for child in page] == [f"{job}:999998", f"{job}:999999"]
        page = await job_reading.list_children(
            stand.conn, uuid.UUID(job), "PENDING", after_index=-1, limit=10
        )
        assert page == []
        # Cancelled in parts: the job behind it is at work before the last child has failed.
        await stand.request(job, "CANCEL")
        await agent.end(f"{job}:1", Ended(), started=True)
        await agent.until(lambda: behind in agent.assigned)
        failed = await stand.conn.fetchval("SELECT failed FROM array_jobs")
        assert failed < 900_000


async def test_an_array_of_ten_thousand_runs_every_child_once(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(vcpus=1000, answers=ok)
        job = await stand.submit(size=10_000)
        await stand.until(job, "SUCCEEDED")
        assert len(agent.seen) == 10_000
        assert len(set(agent.seen)) == 10_000
