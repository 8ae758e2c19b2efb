"""Cancel, terminate and queue deletion, in every state."""

import pytest
from support.scheduling import Ended, scheduler_stand


@pytest.mark.parametrize("kind", ["CANCEL", "TERMINATE"])
async def test_a_waiting_job_fails_with_the_callers_reason(database_url: str, kind: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        job = await stand.submit()
        await stand.until(job, "RUNNABLE")
        dependent = await stand.submit(depends_on=[(job, "PLAIN")])
        await stand.request(job, kind, "changed my mind")
        row = await stand.until(job, "FAILED")
        assert row["status_reason"] == "changed my mind"
        assert (row["is_cancelled"], row["is_terminated"]) == (kind == "CANCEL", kind != "CANCEL")
        assert row["attempt"] == 0
        await stand.until(dependent, "FAILED")


async def test_cancel_leaves_a_running_job_alone_and_terminate_stops_it(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        job = await stand.submit(attempts=3)
        await agent.until(lambda: job in agent.assigned)
        await agent.start(job)
        await stand.until(job, "RUNNING")
        await stand.request(job, "CANCEL", "ignored")
        await stand.request(job, "TERMINATE", "enough")
        await agent.until(lambda: bool(agent.stops))
        assert agent.stops[0].status_reason == "enough"
        row = await stand.row(job)
        assert (row["status"], row["is_terminated"]) == ("RUNNING", True)
        await agent.end(job, Ended(143))
        row = await stand.until(job, "FAILED")
        assert (row["status_reason"], row["exit_code"]) == ("enough", 143)
        assert row["attempt"] == 1


async def test_a_cancelled_job_with_dependencies_fails_when_they_are_met(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        first = await stand.submit()
        cancelled = await stand.submit(depends_on=[(first, "PLAIN")])
        terminated = await stand.submit(depends_on=[(first, "PLAIN")])
        await stand.until(cancelled, "PENDING")
        await stand.request(cancelled, "CANCEL", "no need")
        await stand.request(terminated, "TERMINATE", "at once")
        assert (await stand.until(terminated, "FAILED"))["status_reason"] == "at once"
        row = await stand.row(cancelled)
        assert (row["status"], row["is_cancelled"]) == ("PENDING", True)
        await agent.end(first, Ended(), started=True)
        assert (await stand.until(cancelled, "FAILED"))["status_reason"] == "no need"


async def test_final_and_unknown_jobs_are_left_alone(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.agent(answers=lambda _: Ended())
        job = await stand.submit()
        await stand.until(job, "SUCCEEDED")
        await stand.request(job, "TERMINATE")
        await stand.request("00000000-0000-4000-8000-000000000000", "TERMINATE")
        after = await stand.submit()
        await stand.until(after, "SUCCEEDED")
        assert (await stand.row(job))["status"] == "SUCCEEDED"
        assert await stand.conn.fetchval("SELECT count(*) FROM job_requests") == 0


async def test_one_child_is_taken_out_of_an_array(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        job = await stand.submit(size=6)
        await stand.until(job, "PENDING")
        for index, kind in ((2, "CANCEL"), (5, "TERMINATE"), (2, "TERMINATE")):
            await stand.request(f"{job}:{index}", kind, f"not {index}")
        assert (await stand.until(f"{job}:5", "FAILED"))["status_reason"] == "not 5"
        assert (await stand.until(f"{job}:2", "FAILED"))["status_reason"] == "not 2"
        await stand.check()
        agent = await stand.agent(answers=lambda _: Ended())
        await stand.until(job, "FAILED")
        assert sorted(agent.seen) == [(f"{job}:{i}", 1) for i in (0, 1, 3, 4)]


async def test_a_terminated_array_stops_what_runs_and_fails_the_rest(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(vcpus=3)
        job = await stand.submit(size=10, attempts=2)
        await agent.until(lambda: len(agent.assigned) == 3)
        await agent.end(f"{job}:0", Ended(), started=True)
        await agent.until(lambda: len(agent.assigned) == 4)
        await stand.request(job, "TERMINATE", "all of it")
        await agent.until(lambda: len(agent.stops) == 3)
        for child in list(agent.assigned)[1:]:
            await agent.end(child, Ended(137), started=True)
        await stand.until(job, "FAILED")
        statuses = await stand.statuses(job)
        assert statuses == {0: "SUCCEEDED", **dict.fromkeys(range(1, 10), "FAILED")}


async def test_a_cancelled_array_lets_what_runs_run(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(vcpus=2)
        job = await stand.submit(size=5)
        pairs = await stand.submit(size=5, depends_on=[(job, "N_TO_N")])
        await agent.until(lambda: len(agent.assigned) == 2)
        await stand.request(job, "CANCEL", "no more")
        await stand.until(f"{job}:4", "FAILED")
        await stand.until(f"{pairs}:4", "FAILED")
        assert not agent.stops
        for index in (0, 1):
            await agent.end(f"{job}:{index}", Ended(), started=True)
        await agent.until(lambda: f"{pairs}:1" in agent.assigned)
        row = await stand.until(job, "FAILED")
        assert row["is_cancelled"]


async def test_jobs_of_a_deleted_queue_fail_and_the_queue_goes(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(vcpus=1)
        running = await stand.submit()
        await agent.until(lambda: running in agent.assigned)
        waiting, array = await stand.submit(), await stand.submit(size=4)
        await stand.until(array, "PENDING")
        await stand.conn.execute(
            "UPDATE job_queues SET status = 'DELETING'; NOTIFY longshore_environments"
        )
        for job in (waiting, array):
            row = await stand.until(job, "FAILED")
        await agent.until(lambda: bool(agent.stops))
        assert agent.stops[0].status_reason == "JobQueue deleted"
        await agent.end(running, Ended(137), started=True)
        row = await stand.until(running, "FAILED")
        assert row["status_reason"] == "JobQueue deleted"
        late = await stand.submit(queue="q")
        await stand.until(late, "FAILED")
        assert await stand.conn.fetchval("SELECT count(*) FROM job_queues") == 0
