"""The life of jobs in the scheduler, on a real database and real streams."""

import pytest
from support.scheduling import Ended, scheduler_stand

from longshore.domain.job.job import JobKey
from longshore.scheduler.explaining import explain_job


def ok(_: object) -> Ended:
    return Ended()


async def test_a_job_runs_and_succeeds(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        job = await stand.submit()
        await agent.until(lambda: job in agent.assigned)
        assert (await stand.until(job, "STARTING"))["attempt"] == 1
        assignment = agent.assigned[job]
        assert assignment.container.image == "busybox"
        assert assignment.log_stream_name == f"def/default/{assignment.attempt_id}"
        await agent.start(job)
        row = await stand.until(job, "RUNNING")
        assert row["started_at"] is not None
        await agent.end(job, Ended())
        row = await stand.until(job, "SUCCEEDED")
        assert row["exit_code"] == 0
        assert row["status_reason"] == "Essential container in task exited"
        events = await stand.conn.fetch("SELECT status FROM job_events ORDER BY event_id")
        assert [e["status"] for e in events] == ["RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]


async def test_jobs_of_a_queue_are_dispatched_in_order(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        jobs = [await stand.submit() for _ in range(6)]
        agent = await stand.agent(vcpus=1, answers=ok)
        await stand.until(jobs[-1], "SUCCEEDED")
        assert [job for job, _ in agent.seen] == jobs


async def test_a_higher_priority_queue_goes_first(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue("low", priority=1)
        await stand.queue("high", priority=10)
        low = [await stand.submit("low") for _ in range(3)]
        high = [await stand.submit("high") for _ in range(3)]
        for job in low + high:
            await stand.until(job, "RUNNABLE")
        agent = await stand.agent(vcpus=1, answers=ok)
        await stand.until(low[-1], "SUCCEEDED")
        assert [job for job, _ in agent.seen] == high + low


async def test_a_failed_job_is_retried_from_the_front_of_its_queue(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        first = await stand.submit(attempts=3)
        others = [await stand.submit() for _ in range(2)]
        agent = await stand.agent(
            vcpus=1,
            answers=lambda a: Ended(1 if a.key.job_id == first and a.key.attempt < 3 else 0),
        )
        await stand.until(others[-1], "SUCCEEDED")
        assert agent.seen == [(first, 1), (first, 2), (first, 3), (others[0], 1), (others[1], 1)]
        assert (await stand.row(first))["status"] == "SUCCEEDED"
        codes = await stand.conn.fetch("SELECT exit_code FROM attempts ORDER BY placed_at LIMIT 3")
        assert [c["exit_code"] for c in codes] == [1, 1, 0]


@pytest.mark.parametrize(
    ("rules", "how", "attempts"),
    [
        ([{"action": "EXIT", "onExitCode": "7"}], Ended(7), 1),
        ([{"action": "EXIT", "onExitCode": "8"}], Ended(7), 2),
        (
            [{"action": "RETRY", "onReason": "Cannot*"}, {"action": "EXIT", "onReason": "*"}],
            Ended(None, "CannotPullContainerError: no", "Task failed to start"),
            2,
        ),
        (
            [
                {"action": "RETRY", "onStatusReason": "Host EC2*"},
                {"action": "EXIT", "onReason": "*"},
            ],
            Ended(1),
            1,
        ),
    ],
)
async def test_evaluate_on_exit_decides_about_retries(
    database_url: str, rules: list[dict[str, str]], how: Ended, attempts: int
) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        await stand.agent(answers=lambda _: how)
        job = await stand.submit(attempts=2, rules=rules)
        row = await stand.until(job, "FAILED")
        assert row["attempt"] == attempts
        assert row["reason"] == how.reason


async def test_a_job_past_its_timeout_is_stopped_and_not_retried(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        job = await stand.submit(attempts=3, timeout_seconds=1)
        await agent.until(lambda: job in agent.assigned)
        await agent.start(job)
        await agent.until(lambda: bool(agent.stops))
        assert agent.stops[0].status_reason == "Job attempt duration exceeded timeout"
        await agent.end(job, Ended(137))
        row = await stand.until(job, "FAILED")
        assert row["status_reason"] == "Job attempt duration exceeded timeout"
        assert row["attempt"] == 1


async def test_dependents_wait_and_go(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        one, two = await stand.submit(), await stand.submit()
        last = await stand.submit(depends_on=[(one, "PLAIN"), (two, "PLAIN")])
        await agent.until(lambda: {one, two} <= agent.assigned.keys())
        await stand.until(last, "PENDING")
        await agent.end(one, Ended(), started=True)
        await stand.until(one, "SUCCEEDED")
        assert (await stand.row(last))["status"] == "PENDING"
        await agent.end(two, Ended(), started=True)
        await agent.until(lambda: last in agent.assigned)
        late = await stand.submit(depends_on=[(one, "PLAIN")])
        await agent.until(lambda: late in agent.assigned)


async def test_a_failure_fails_all_that_depend_on_it(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        root = await stand.submit()
        middle = await stand.submit(depends_on=[(root, "PLAIN")])
        leaf = await stand.submit(size=4, depends_on=[(middle, "PLAIN")])
        pair = await stand.submit(size=4, depends_on=[(leaf, "N_TO_N")])
        await stand.agent(answers=lambda _: Ended(1))
        for job in (middle, leaf):
            row = await stand.until(job, "FAILED")
            assert row["status_reason"] == "Dependent Job failed"
        # Its children existed already: they failed one by one, and it after them.
        row = await stand.until(pair, "FAILED")
        assert row["status_reason"] == "Array Child Job failed"
        assert await stand.statuses(pair) == dict.fromkeys(range(4), "FAILED")
        late = await stand.submit(depends_on=[(root, "PLAIN")])
        await stand.until(late, "FAILED")
        late_pair = await stand.submit(size=4, depends_on=[(leaf, "N_TO_N")])
        await stand.until(late_pair, "FAILED")


async def test_a_smaller_job_passes_one_that_does_not_fit(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent(vcpus=2)
        large = await stand.submit(vcpus=4)
        small = await stand.submit()
        await agent.until(lambda: small in agent.assigned)
        assert (await stand.row(large))["status"] == "RUNNABLE"
        said = await stand.conn.fetchrow(
            "SELECT d.* FROM demand d JOIN jobs j USING (shape_id) WHERE j.job_id = $1::uuid", large
        )
        assert said["explanation"] == "Waiting for room: 1 instance: 1 short of vCPU."
        bigger = await stand.agent(vcpus=4)
        await bigger.until(lambda: large in bigger.assigned)


async def test_a_disabled_environment_gets_nothing(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment("off", state="DISABLED")
        await stand.environment("on")
        await stand.queue("q", "off", "on")
        await stand.agent(environment="off")
        job = await stand.submit()
        await stand.until(job, "RUNNABLE")
        on = await stand.agent(environment="on")
        await on.until(lambda: job in on.assigned)


async def test_an_array_job_is_explained_by_what_its_children_lack(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        job = await stand.submit(vcpus=1000, size=3)
        await stand.until(job, "PENDING")
        child, array = [
            await explain_job(stand.conn, JobKey.parse(key)) for key in (f"{job}:1", job)
        ]
        ((reason, _, hint),) = child.reasons
        assert array.reasons == [(reason, 3, hint), ("RUNNABLE", 3, "children")]
