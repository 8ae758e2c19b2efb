"""UpdateJob: what waits is changed at once, what has started is not, and those who ask are told."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support import scheduling
from support.patience import PATIENCE_SECONDS
from support.scheduling import Ended, scheduler_stand
from support.submission import Json, Stand, a_queue, some_nodes, submission_stand

from longshore.backoff import Backoff
from longshore.domain.errors import (
    InvalidRequest,
    LongshoreError,
    NotFound,
    PreconditionFailed,
    Unavailable,
)
from longshore.state.pool import open_pool
from longshore.submission import updating

Stands = tuple[Stand, scheduling.Stand]
POLICY = "arn:aws:batch:us-east-1:000000000000:scheduling-policy/fair"


@pytest.fixture
async def stands(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stands]:
    # However busy the machine is, the scheduler's word is waited for.
    monkeypatch.setattr(updating, "DECIDE_SECONDS", PATIENCE_SECONDS / 2)
    async with scheduler_stand(database_url) as other, submission_stand(database_url) as stand:
        await stand.prepare()
        await stand("CreateJobQueue", **a_queue("p"))
        await stand("CreateSchedulingPolicy", name="fair")
        await stand("CreateJobQueue", **a_queue("fair", schedulingPolicyArn=POLICY))
        yield stand, other


def _needs(**amounts: object) -> Json:
    return {
        "resourceRequirements": [
            {"type": kind.upper(), "value": str(value)} for kind, value in amounts.items()
        ]
    }


async def _shapes(other: scheduling.Stand) -> list[tuple[Any, ...]]:
    """Where what may be placed waits: queue, needs, share, priority, and how many."""
    rows = await other.conn.fetch(
        "SELECT r.job_queue, s.vcpu_milli, s.memory_mib, s.share_identifier, s.priority,"
        " sum(end_index - next_index) FROM ready r JOIN shapes s USING (shape_id)"
        " WHERE r.job_queue = s.job_queue GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"
    )
    return [tuple(row) for row in rows]


async def test_a_waiting_job_gets_other_needs_another_queue_and_timeout(stands: Stands) -> None:
    stand, other = stands
    first, job = await stand.submit(), await stand.submit()
    await other.until(job, "RUNNABLE")
    await stand(
        "UpdateJob", jobId=job, jobQueue="p", attemptDurationSeconds=75, **_needs(vcpu=2, memory=96)
    )
    assert await _shapes(other) == [("p", 2000, 96, "", 0, 1), ("q", 1000, 64, "", 0, 1)]
    await other.check()
    shown = await stand.describe(job)
    assert shown["jobQueue"].endswith("job-queue/p")
    assert shown["timeout"] == {"attemptDurationSeconds": 75}
    assert (
        shown["container"]["resourceRequirements"]
        == _needs(vcpu=2, memory=96)["resourceRequirements"]
    )
    assert shown["container"]["command"] == ["echo", "hello"]
    agent = await other.agent(vcpus=3, environment="ce")
    await agent.until(lambda: {first, job} <= agent.assigned.keys())
    given = agent.assigned[job]
    assert (given.resources.vcpu_milli, given.resources.memory_mib) == (2000, 96)
    needs = {need.type: need.value for need in given.container.resource_requirements}
    assert needs == {"VCPU": "2", "MEMORY": "96"}
    assert given.job_queue == "p"
    with pytest.raises(PreconditionFailed, match="has started"):
        await stand("UpdateJob", jobId=job, attemptDurationSeconds=99)
    await agent.end(job, Ended())
    await other.until(job, "SUCCEEDED")
    with pytest.raises(PreconditionFailed, match="is over"):
        await stand("UpdateJob", jobId=job, attemptDurationSeconds=99)
    await other.check()


async def test_a_job_that_waits_for_others_is_changed_before_it_may_run(stands: Stands) -> None:
    stand, other = stands
    first = await stand.submit()
    job = await stand.submit(dependsOn=[{"jobId": first}])
    await other.until(job, "PENDING")
    await stand("UpdateJob", jobId=job, **_needs(memory=128))
    agent = await other.agent(vcpus=1, environment="ce")
    await agent.until(lambda: first in agent.assigned)
    await agent.end(first, Ended())
    await agent.until(lambda: job in agent.assigned)
    assert agent.assigned[job].resources.memory_mib == 128


async def test_shares_and_priorities_go_with_the_queue(stands: Stands) -> None:
    stand, other = stands
    job = await stand.submit()
    await other.until(job, "RUNNABLE")
    for wrong in (
        {"jobQueue": "fair"},
        {"schedulingPriority": 3},
        {"shareIdentifier": "anna"},
        {"jobQueue": "p", "shareIdentifier": "anna"},
        {"jobQueue": "fair", "shareIdentifier": "a b"},
        {"jobQueue": "fair", "shareIdentifier": "anna", "schedulingPriority": 10000},
    ):
        with pytest.raises(InvalidRequest):
            await stand("UpdateJob", jobId=job, **wrong)
    await stand("UpdateJob", jobId=job, jobQueue="fair", shareIdentifier="anna")
    assert await _shapes(other) == [("fair", 1000, 64, "anna", 0, 1)]
    await stand("UpdateJob", jobId=job, schedulingPriority=7)
    assert await _shapes(other) == [("fair", 1000, 64, "anna", 7, 1)]
    await stand("UpdateJob", jobId=job, shareIdentifier="bob")
    shown = await stand.describe(job)
    assert (shown["shareIdentifier"], shown["schedulingPriority"]) == ("bob", 7)
    assert await _shapes(other) == [("fair", 1000, 64, "bob", 7, 1)]
    known = await stand.conn.fetch("SELECT share_identifier FROM shares ORDER BY 1")
    assert [row[0] for row in known] == ["anna", "bob"]
    await stand("UpdateJob", jobId=job, jobQueue="q")
    assert await _shapes(other) == [("q", 1000, 64, "", 0, 1)]
    assert "shareIdentifier" not in await stand.describe(job)
    await other.check()


async def test_children_that_wait_are_changed_and_those_that_run_are_not(stands: Stands) -> None:
    stand, other = stands
    agent = await other.agent(vcpus=2, environment="ce")
    array = await stand.submit(arrayProperties={"size": 6}, retryStrategy={"attempts": 2})
    await agent.until(lambda: len(agent.assigned) == 2)
    with pytest.raises(PreconditionFailed, match="none of its children has started"):
        await stand("UpdateJob", jobId=array, jobQueue="p")
    await stand("UpdateJob", jobId=array, attemptDurationSeconds=80, **_needs(memory=100))
    assert await _shapes(other) == [("q", 1000, 100, "", 0, 4)]
    # What ran goes on with what it had, and is tried again with it.
    await agent.end(f"{array}:0", Ended(exit_code=1))
    await agent.until(lambda: (f"{array}:0", 2) in agent.seen)
    assert agent.assigned[f"{array}:0"].resources.memory_mib == 64
    await other.check()
    await agent.end(f"{array}:1", Ended())
    await agent.until(lambda: f"{array}:2" in agent.assigned)
    assert agent.assigned[f"{array}:2"].resources.memory_mib == 100
    row = await other.row(f"{array}:2")
    assert row is not None
    assert row["timeout_seconds"] == 80
    await other.check()


async def test_an_array_moves_as_a_whole_and_then_runs_there(stands: Stands) -> None:
    stand, other = stands
    array = await stand.submit(arrayProperties={"size": 5})
    await other.until(array, "PENDING")
    await stand("CancelJob", jobId=f"{array}:2", reason="r")
    await other.until(f"{array}:2", "FAILED")
    await stand("UpdateJob", jobId=array, jobQueue="p")
    assert await _shapes(other) == [("p", 1000, 64, "", 0, 4)]
    await other.check()
    await other.agent(vcpus=4, environment="ce", answers=lambda _: Ended())
    await other.until(array, "FAILED")
    listed = await stand("ListJobs", jobQueue="p", jobStatus="FAILED")
    assert [job["jobId"] for job in listed["jobSummaryList"]] == [array]
    with pytest.raises(PreconditionFailed):
        await stand("UpdateJob", jobId=array, jobQueue="q")


async def test_multi_node_jobs_change_all_but_their_needs(stands: Stands) -> None:
    stand, other = stands
    await stand.register_nodes(nodes=some_nodes())
    job = await stand.submit(jobDefinition="n")
    await other.until(job, "RUNNABLE")
    with pytest.raises(InvalidRequest, match="submit it with nodeOverrides") as caught:
        await stand("UpdateJob", jobId=job, **_needs(memory=100))
    assert caught.value.member == "resourceRequirements"
    await stand("UpdateJob", jobId=job, jobQueue="p", attemptDurationSeconds=100)
    assert [shape[0] for shape in await _shapes(other)] == ["p"]
    await other.check()


async def test_jobs_of_several_containers_change_all_but_their_needs(stands: Stands) -> None:
    stand, other = stands
    await stand.register_several()
    job = await stand.submit(jobDefinition="m")
    await other.until(job, "RUNNABLE")
    with pytest.raises(InvalidRequest, match="submit it with ecsPropertiesOverride") as caught:
        await stand("UpdateJob", jobId=job, **_needs(memory=100))
    assert caught.value.member == "resourceRequirements"
    await stand("UpdateJob", jobId=job, jobQueue="p", attemptDurationSeconds=100)
    assert await _shapes(other) == [("p", 2000, 128, "", 0, 1)]
    await other.check()


async def test_what_is_wrong_is_refused_and_changes_nothing(stands: Stands) -> None:
    stand, other = stands
    job = await stand.submit()
    array = await stand.submit(arrayProperties={"size": 2})
    await stand("UpdateJobQueue", jobQueue="p", state="DISABLED")
    await other.until(array, "PENDING")
    before = await _shapes(other)
    cases: list[tuple[Json, type[LongshoreError], str]] = [
        ({"jobId": job}, InvalidRequest, "jobId"),
        ({"jobId": f"{array}:1", "jobQueue": "p"}, InvalidRequest, "jobId"),
        ({"jobId": "x", "jobQueue": "p"}, InvalidRequest, ""),
        ({"jobId": "b" * 8 + "-0000-0000-0000-" + "b" * 12, "jobQueue": "p"}, NotFound, "jobId"),
        ({"jobId": job, "jobQueue": "nope"}, NotFound, "jobQueue"),
        ({"jobId": job, "jobQueue": ""}, InvalidRequest, "jobQueue"),
        ({"jobId": job, "jobQueue": "p"}, PreconditionFailed, ""),
        ({"jobId": job, "attemptDurationSeconds": -1}, InvalidRequest, "timeout"),
        ({"jobId": job, "schedulingPriority": -1}, InvalidRequest, "schedulingPriority"),
        ({"jobId": job, **_needs(memory=1)}, InvalidRequest, "resourceRequirements"),
        ({"jobId": job, **_needs(memory="x")}, InvalidRequest, "resourceRequirements"),
        ({"jobId": job, **_needs(vcpu="0.2")}, InvalidRequest, "resourceRequirements"),
        ({"jobId": job, **_needs(disk=1)}, InvalidRequest, "resourceRequirements"),
    ]
    for members, error, member in cases:
        with pytest.raises(error) as refused:
            await stand("UpdateJob", **members)
        assert refused.value.fields.get("member", "").startswith(member), members
    assert await _shapes(other) == before
    assert await stand.conn.fetchval("SELECT count(*) FROM job_updates") == 0


async def test_what_aws_refuses_of_a_submission_is_refused_of_a_change(
    database_url: str, stands: Stands
) -> None:
    stand, _ = stands
    job = await stand.submit()
    cases: list[Json] = [{"attemptDurationSeconds": 59}, _needs(vcpu="0.5")]
    async with submission_stand(database_url, LONGSHORE_LIMITS="aws") as strict:
        for members in cases:
            with pytest.raises(InvalidRequest):
                await strict("UpdateJob", jobId=job, **members)
    for members in cases:
        await stand("UpdateJob", jobId=job, **members)


async def _changed(stand: Stand, **members: Any) -> bool:
    """Changes a job, unless another change of it is under way."""
    try:
        await stand("UpdateJob", **members)
    except Unavailable:
        return False
    return True


async def test_of_several_at_once_none_is_lost(stands: Stands) -> None:
    """One of a job at a time, each made from what the one before has left."""
    stand, other = stands
    job = await stand.submit()
    await other.until(job, "RUNNABLE")

    async def change(**members: Any) -> None:
        pause = Backoff(0.02, 1.0)
        while not await _changed(stand, jobId=job, **members):
            await asyncio.sleep(pause.delay())

    await asyncio.gather(
        *(change(**_needs(memory=100 + n)) for n in range(5)),
        *(change(jobQueue=queue) for queue in ("p", "q", "p")),
        change(**_needs(vcpu=2)),
        change(attemptDurationSeconds=70),
    )
    await change(**_needs(memory=200))
    await change(jobQueue="p")
    assert await _shapes(other) == [("p", 2000, 200, "", 0, 1)]
    shown = await stand.describe(job)
    assert shown["timeout"] == {"attemptDurationSeconds": 70}
    needs = {need["type"]: need["value"] for need in shown["container"]["resourceRequirements"]}
    assert needs == {"VCPU": "2", "MEMORY": "200"}
    await other.check()
    assert await stand.conn.fetchval("SELECT count(*) FROM job_updates") == 0


async def test_without_a_scheduler_nothing_is_changed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updating, "DECIDE_SECONDS", 0.1)
    async with submission_stand(database_url) as stand:
        await stand.prepare()
        job = await stand.submit()
        with pytest.raises(Unavailable, match="nothing was changed"):
            await stand("UpdateJob", jobId=job, attemptDurationSeconds=99)
        assert await stand.conn.fetchval("SELECT count(*) FROM job_updates") == 0
        await stand.conn.execute(
            "INSERT INTO job_updates (job_id, outcome, created_at)"
            " VALUES ($1, 'APPLIED', now() - interval '2 h')",
            job,
        )
        pool = await open_pool(database_url)
        await updating.forget_outcomes(pool)
        await pool.close()
        assert await stand.conn.fetchval("SELECT count(*) FROM job_updates") == 0


async def test_what_is_changed_keeps_its_cap_and_the_units_that_it_needs(stands: Stands) -> None:
    stand, other = stands
    await stand("CreateConsumableResource", consumableResourceName="licence", totalQuantity=9)
    needs = {"consumableResourceList": [{"consumableResource": "licence", "quantity": 2}]}
    array = await stand.submit(
        arrayProperties={"size": 3, "maxRunning": 2}, consumableResourcePropertiesOverride=needs
    )
    await other.until(array, "PENDING")
    await stand("UpdateJob", jobId=array, jobQueue="p", **_needs(memory=96))
    rows = await other.conn.fetch(
        "SELECT s.job_queue, s.memory_mib, s.array_job, s.max_running, s.consumables "
        "FROM ready JOIN shapes s USING (shape_id)"
    )
    assert [(str(row["array_job"]), *row) for row in rows] == [
        (array, "p", 96, uuid.UUID(array), 2, "licence=2")
    ]
    agent = await other.agent(vcpus=8, environment="ce")
    await agent.until(lambda: len(agent.assigned) == 2)
    held = await other.conn.fetchval("SELECT held FROM consumable_usages")
    assert held == 4


async def test_a_change_whose_caller_left_is_not_made(database_url: str) -> None:
    """As when the caller's time is over before the scheduler's."""
    async with submission_stand(database_url) as stand:
        await stand.prepare()
        job = await stand.submit()

        call = asyncio.create_task(stand("UpdateJob", jobId=job, attemptDurationSeconds=99))
        await _until_recorded(stand, 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await _until_recorded(stand, 0)


async def _until_recorded(stand: Stand, changes: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await stand.conn.fetchval("SELECT count(*) FROM job_updates") != changes:
            await asyncio.sleep(0.01)
