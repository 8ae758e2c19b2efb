"""Submission and scheduler on one database: what users see of jobs that the scheduler moves."""

import pytest
from support.scheduling import Ended, scheduler_stand
from support.submission import Stand, a_container, submission_stand

from longshore.agent.endpoint.document import Place
from longshore.domain.arn import Arns
from longshore.domain.errors import NotFound
from longshore.domain.job.job import TOO_MANY_TAGS
from longshore.v1 import agent_service_pb2 as pb


def by_index(assignment: pb.Assignment) -> Ended:
    """The first child fails once, all else succeeds."""
    first = assignment.key.job_id.endswith(":0") and assignment.key.attempt == 1
    return Ended(exit_code=9 if first else 0)


async def listed(stand: Stand, status: str, **where: str) -> list[str]:
    answer = await stand("ListJobs", jobStatus=status, **where)
    return [job["jobId"] for job in answer.get("jobSummaryList", [])]


async def test_an_array_and_its_dependent_run_to_their_end(database_url: str) -> None:
    async with scheduler_stand(database_url) as other, submission_stand(database_url) as stand:
        await stand.prepare()
        await stand.register("r", a_container(command=["price", "Ref::option"]))
        array = await stand.submit(
            jobDefinition="r",
            parameters={"option": "call"},
            arrayProperties={"size": 20},
            retryStrategy={"attempts": 2},
        )
        last = await stand.submit(dependsOn=[{"jobId": array}])
        await other.until(last, "PENDING")
        await other.until(array, "PENDING")
        assert (await stand.describe(f"{array}:19"))["status"] == "RUNNABLE"
        assert len(await listed(stand, "RUNNABLE", arrayJobId=array)) == 20
        agent = await other.agent(vcpus=4, environment="ce", answers=by_index)
        await other.until(last, "SUCCEEDED")
        shown = await stand.describe(array)
        assert shown["status"] == "SUCCEEDED"
        assert shown["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 20
        assert {len(key) for key, _ in agent.seen} == {len(last), len(array) + 2, len(array) + 3}
        retried = await stand.describe(f"{array}:0")
        codes = [attempt["container"].get("exitCode") for attempt in retried["attempts"]]
        assert codes == [9, 0]
        assert retried["container"]["command"] == ["price", "call"]
        assert len(await listed(stand, "SUCCEEDED", arrayJobId=array)) == 20
        assert await listed(stand, "SUCCEEDED", jobQueue="q") == [last, array]


async def test_a_deleted_queue_takes_its_jobs_along(database_url: str) -> None:
    async with scheduler_stand(database_url) as other, submission_stand(database_url) as stand:
        await stand.prepare()
        job = await stand.submit()
        await other.until(job, "RUNNABLE")
        await stand("UpdateJobQueue", jobQueue="q", state="DISABLED")
        await stand("DeleteJobQueue", jobQueue="q")
        row = await other.until(job, "FAILED")
        assert row["status_reason"] == "JobQueue deleted"
        assert (await stand.describe(job))["jobQueue"].endswith(":job-queue/q")


async def test_cancel_and_terminate_end_jobs_with_the_reason_given(database_url: str) -> None:
    async with scheduler_stand(database_url) as other, submission_stand(database_url) as stand:
        await stand.prepare()
        first, second = await stand.submit(), await stand.submit()
        await stand("CancelJob", jobId=first, reason="not now")
        await stand("TerminateJobs", jobs=[second], reason="never")
        for job, flag, reason in (
            (first, "isCancelled", "not now"),
            (second, "isTerminated", "never"),
        ):
            await other.until(job, "FAILED")
            shown = await stand.describe(job)
            assert (shown[flag], shown["statusReason"]) == (True, reason)


async def test_propagated_tags_reach_the_agent_and_the_jobs_win(database_url: str) -> None:
    tags: dict[str, dict[str, str]] = {}

    def keep(assignment: pb.Assignment) -> Ended:
        tags[assignment.job_name] = dict(assignment.tags)
        return Ended(exit_code=0)

    async with scheduler_stand(database_url) as other, submission_stand(database_url) as stand:
        await stand.prepare()
        await stand.register("t", tags={"a": "definition", "b": "definition"}, propagateTags=True)
        own = {"b": "job", "c": "job"}
        jobs = [
            await stand.submit(jobName="on", jobDefinition="t", tags=own),
            await stand.submit(jobName="off", jobDefinition="t", tags=own, propagateTags=False),
        ]
        await other.agent(environment="ce", answers=keep)
        for job in jobs:
            await other.until(job, "SUCCEEDED")
    assert tags == {"on": {"a": "definition", "b": "job", "c": "job"}, "off": {}}


async def test_a_queues_front_is_in_dispatch_order_and_moves_up(database_url: str) -> None:
    async with scheduler_stand(database_url) as other, submission_stand(database_url) as stand:
        await stand.prepare()
        array = await stand.submit(arrayProperties={"size": 150})
        last = await stand.submit()
        await other.until(last, "RUNNABLE")

        before = await stand("GetJobQueueSnapshot", jobQueue="q")
        agent = await other.agent(vcpus=2, environment="ce", answers=lambda _: None)
        await other.until(f"{array}:1", "STARTING")
        after = await stand("GetJobQueueSnapshot", jobQueue="q")

        front = before["frontOfQueue"]["jobs"]
        assert [job["jobArn"].partition("job/")[2] for job in front] == [
            f"{array}:{index}" for index in range(100)
        ]
        moved = after["frontOfQueue"]["jobs"]
        assert [job["jobArn"].partition("job/")[2] for job in moved[:2]] == [
            f"{array}:2",
            f"{array}:3",
        ]
        assert int(moved[0]["earliestTimeAtPosition"]) > int(front[2]["earliestTimeAtPosition"])
        assert before["queueUtilization"]["totalCapacityUsage"] == [
            {"capacityUnit": "VCPU", "quantity": 0}
        ]
        assert after["queueUtilization"]["totalCapacityUsage"][0]["quantity"] == 2
        assert agent


async def test_a_front_is_that_of_a_queue_that_is_there(database_url: str) -> None:
    async with submission_stand(database_url) as stand:
        await stand.prepare()
        empty = await stand("GetJobQueueSnapshot", jobQueue="q")
        assert "jobs" not in empty["frontOfQueue"]
        with pytest.raises(NotFound, match="JobQueue nowhere not found"):
            await stand("GetJobQueueSnapshot", jobQueue="nowhere")


def some_tags(count: int, kind: str) -> dict[str, str]:
    return {f"{kind}{n}": kind for n in range(count)}


async def test_more_than_fifty_tags_together_fail_a_job_that_propagates_them(
    database_url: str,
) -> None:
    async with scheduler_stand(database_url) as other, submission_stand(database_url) as stand:
        await stand.prepare()
        await stand.register("t", tags=some_tags(30, "d"), propagateTags=True)
        fits = {**some_tags(20, "j"), "d0": "job"}
        too_many = some_tags(21, "j")
        jobs = {
            "fits": await stand.submit(jobDefinition="t", tags=fits),
            "too many": await stand.submit(jobDefinition="t", tags=too_many),
            "array": await stand.submit(
                jobDefinition="t", tags=too_many, arrayProperties={"size": 3}
            ),
            "not propagated": await stand.submit(
                jobDefinition="t", tags=too_many, propagateTags=False
            ),
        }
        dependent = await stand.submit(dependsOn=[{"jobId": jobs["too many"]}])
        agent = await other.agent(environment="ce", answers=lambda _: Ended(exit_code=0))
        for name in ("fits", "not propagated"):
            await other.until(jobs[name], "SUCCEEDED")
        for name in ("too many", "array"):
            await other.until(jobs[name], "FAILED")
            shown = await stand.describe(jobs[name])
            assert shown["statusReason"] == TOO_MANY_TAGS
            assert shown.get("attempts", []) == []
            assert "startedAt" not in shown
        await other.until(dependent, "FAILED")
        assert len(agent.assigned[jobs["fits"]].tags) == 50
        assert agent.assigned[jobs["fits"]].tags["d0"] == "job"


async def test_tags_are_those_of_when_an_attempt_is_made(database_url: str) -> None:
    """Too many by then, it fails; what is added while it runs changes nothing."""
    async with scheduler_stand(database_url) as other, submission_stand(database_url) as stand:
        await stand.prepare()
        await stand.register("t", tags=some_tags(30, "d"), propagateTags=True)
        retried = await stand.submit(
            jobDefinition="t", tags={"j": "1"}, retryStrategy={"attempts": 2}
        )
        waiting = await stand.submit(jobDefinition="t", tags={"j": "1"})
        for job in (retried, waiting):
            await other.until(job, "RUNNABLE")
        arn = (await stand.describe(waiting))["jobArn"]
        await stand("TagResource", resourceArn=arn, tags=some_tags(20, "more"))
        agent = await other.agent(environment="ce")
        row = await other.until(waiting, "FAILED")
        assert row["status_reason"] == TOO_MANY_TAGS
        assert waiting not in agent.assigned
        await agent.until(lambda: retried in agent.assigned)
        assert agent.assigned[retried].tags["j"] == "1"
        arn = (await stand.describe(retried))["jobArn"]
        await stand("TagResource", resourceArn=arn, tags={"j": "2"})
        await agent.end(retried, Ended(exit_code=1))
        await agent.until(lambda: agent.assigned[retried].key.attempt == 2)
        assert agent.assigned[retried].tags["j"] == "2"


async def test_an_attempt_is_told_whose_environment_it_is_in(database_url: str) -> None:
    """So that it knows itself by the ARN that DescribeJobs shows."""
    async with scheduler_stand(database_url) as other, submission_stand(database_url) as stand:
        await stand.prepare()
        job = await stand.submit()
        agent = await other.agent(environment="ce")
        await agent.until(lambda: job in agent.assigned)
        assignment = agent.assigned[job]
        await agent.start(job)
        await other.until(job, "RUNNING")
        place = Place(Arns("123456789012", "us-east-1"), "ce")
        shown = (await stand.describe(job))["container"]["taskArn"]
        assert place.task_arn(assignment) == shown
        assert assignment.compute_environment_uuid in shown
