"""RerunJob: the failed children of an array once more, seeing the indexes that they had."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from support import scheduling
from support.scheduling import Ended, scheduler_stand
from support.submission import Json, Stand, a_container, submission_stand

from longshore.domain.errors import InvalidRequest, LongshoreError, NotFound, PreconditionFailed
from longshore.scheduler.history import History
from longshore.v1 import agent_service_pb2 as pb

Stands = tuple[Stand, scheduling.Stand]


@pytest.fixture
async def stands(database_url: str) -> AsyncIterator[Stands]:
    async with scheduler_stand(database_url) as other, submission_stand(database_url) as stand:
        await stand.prepare()
        yield stand, other


class Work:
    """What children are told, and which indexes fail."""

    def __init__(self, failing: set[int]) -> None:
        self.failing = failing
        #: By job: what each child sees as its index and as the size of its array.
        self.seen: dict[str, list[tuple[int, int]]] = {}

    def __call__(self, assignment: pb.Assignment) -> Ended:
        """How an attempt ends."""
        job_id = assignment.key.job_id.partition(":")[0]
        told = assignment.array_index, assignment.array_size
        self.seen.setdefault(job_id, []).append(told)
        return Ended(exit_code=int(assignment.array_index in self.failing))


async def _over(stands: Stands, job_id: str) -> Json:
    stand, other = stands
    await other.until(job_id, "SUCCEEDED", "FAILED")
    return await stand.describe(job_id)


async def test_failed_children_run_again_and_again_with_the_indexes_that_they_had(
    stands: Stands,
) -> None:
    stand, other = stands
    work = Work({0, 3, 4, 5, 9})
    await other.agent(vcpus=10, environment="ce", answers=work)
    await stand.register("r", a_container(command=["price", "Ref::option"], memory_mib=77))
    first = await stand.submit(
        jobName="sweep",
        jobDefinition="r",
        parameters={"option": "call"},
        arrayProperties={"size": 10},
        tags={"team": "x"},
        retryStrategy={"attempts": 2},
        timeout={"attemptDurationSeconds": 90},
    )
    assert (await _over(stands, first))["status"] == "FAILED"
    await stand("DeregisterJobDefinition", jobDefinition="r:1")
    work.failing = {4, 5, 9}
    made = await stand("RerunJob", jobId=first)
    assert made["size"] == 5
    second = await _over(stands, made["jobId"])
    assert second["rerunOf"] == first
    assert second["rerunIndexes"] == "0, 3-5, 9"
    assert sorted(set(work.seen[second["jobId"]])) == [(n, 10) for n in (0, 3, 4, 5, 9)]
    assert (second["jobName"], second["tags"]) == ("sweep", {"team": "x"})
    assert second["container"]["command"] == ["price", "call"]
    assert (second["retryStrategy"]["attempts"], second["timeout"]) == (
        2,
        {"attemptDurationSeconds": 90},
    )
    summary = second["arrayProperties"]["statusSummary"]
    assert (second["arrayProperties"]["size"], summary["SUCCEEDED"], summary["FAILED"]) == (5, 2, 3)
    children = [await stand.describe(f"{second['jobId']}:{n}") for n in range(5)]
    assert [child["rerunIndex"] for child in children] == [0, 3, 4, 5, 9]
    assert [child["arrayProperties"]["index"] for child in children] == list(range(5))
    assert all("rerunOf" not in child for child in children)

    work.failing = set()
    third = await _over(stands, (await stand("RerunJob", jobId=second["jobId"]))["jobId"])
    assert third["status"] == "SUCCEEDED"
    assert (third["rerunOf"], third["rerunIndexes"]) == (second["jobId"], "4-5, 9")
    assert sorted(work.seen[third["jobId"]]) == [(4, 10), (5, 10), (9, 10)]
    listed = await stand("ListJobs", jobQueue="q", jobStatus="SUCCEEDED")
    assert [job.get("rerunOf") for job in listed["jobSummaryList"]] == [second["jobId"]]


async def test_one_child_and_an_order_among_children(stands: Stands) -> None:
    """Where one failed and the others never ran, they go on from there, one after the other."""
    stand, other = stands
    work = Work({2})
    await other.agent(vcpus=10, environment="ce", answers=work)
    first = await stand.submit(arrayProperties={"size": 5}, dependsOn=[{"type": "SEQUENTIAL"}])
    await _over(stands, first)
    second = (await stand("RerunJob", jobId=first))["jobId"]
    shown = await _over(stands, second)
    assert (shown["rerunIndexes"], shown["dependsOn"]) == ("2-4", [{"type": "SEQUENTIAL"}])
    assert work.seen[second] == [(2, 5)]
    work.failing = {3}
    third = (await stand("RerunJob", jobId=second))["jobId"]
    await _over(stands, third)
    assert work.seen[third] == [(2, 5), (3, 5)]
    work.failing = {4}
    fourth = await _over(stands, (await stand("RerunJob", jobId=third))["jobId"])
    work.failing = set()
    fifth = await stand("RerunJob", jobId=fourth["jobId"])
    assert fifth["size"] == 1
    assert (await _over(stands, fifth["jobId"]))["status"] == "SUCCEEDED"
    assert work.seen[fifth["jobId"]] == [(4, 5)]


async def test_an_order_that_takes_any_end_stays_so(stands: Stands) -> None:
    stand, other = stands
    work = Work({0, 1, 2})
    await other.agent(vcpus=10, environment="ce", answers=work)
    order = {"type": "SEQUENTIAL", "condition": "COMPLETE"}
    first = await stand.submit(arrayProperties={"size": 3}, dependsOn=[order])
    await _over(stands, first)
    second = await _over(stands, (await stand("RerunJob", jobId=first))["jobId"])
    assert second["dependsOn"] == [order]
    assert work.seen[second["jobId"]] == [(0, 3), (1, 3), (2, 3)]


async def test_an_array_of_several_containers_runs_again_with_all_of_them(stands: Stands) -> None:
    stand, other = stands
    tasks: dict[int, list[str]] = {}
    failing = {1}

    def answer(assignment: pb.Assignment) -> Ended:
        index = assignment.array_index
        tasks[index] = [container.name for container in assignment.task.containers]
        return Ended(exit_code=int(index in failing))

    # It has room for one child at a time, by what its containers need together.
    await other.agent(vcpus=2, environment="ce", answers=answer)
    await stand.register_several()
    first = await stand.submit(jobDefinition="m", arrayProperties={"size": 2})
    assert (await _over(stands, first))["status"] == "FAILED"
    failing.clear()
    tasks.clear()
    again = await _over(stands, (await stand("RerunJob", jobId=first))["jobId"])
    assert (again["status"], again["rerunIndexes"]) == ("SUCCEEDED", "1")
    assert tasks == {1: ["main", "side"]}
    [task] = again["ecsProperties"]["taskProperties"]
    assert [container["name"] for container in task["containers"]] == ["main", "side"]
    shapes = await stand.conn.fetch(
        "SELECT DISTINCT vcpu_milli, memory_mib FROM jobs JOIN shapes USING (shape_id)"
    )
    assert [tuple(shape) for shape in shapes] == [(2000, 128)]


async def test_a_token_makes_one_array(stands: Stands) -> None:
    stand, other = stands
    await other.agent(vcpus=4, environment="ce", answers=Work({1}))
    array = await stand.submit(arrayProperties={"size": 3})
    await _over(stands, array)
    calls = [stand("RerunJob", jobId=array, clientToken="t") for _ in range(5)]
    assert len({answer["jobId"] for answer in await asyncio.gather(*calls)}) == 1
    with pytest.raises(PreconditionFailed, match="clientToken t has made job"):
        await stand.submit(clientToken="t")
    other_one = await stand("RerunJob", jobId=array)
    assert (await stand.describe(other_one["jobId"]))["rerunOf"] == array


async def test_what_cannot_be_run_again_says_why(stands: Stands) -> None:
    stand, other = stands
    single = await stand.submit()
    failed = await stand.submit(arrayProperties={"size": 2})
    good = await stand.submit(arrayProperties={"size": 2})
    edge = [{"jobId": failed}]
    unborn = await stand.submit(arrayProperties={"size": 2}, dependsOn=edge)
    await other.until(failed, "PENDING")
    await stand("TerminateJob", jobId=failed, reason="r")
    await other.until(unborn, "FAILED")
    await other.agent(vcpus=4, environment="ce", answers=Work(set()))
    await other.until(good, "SUCCEEDED")
    needs = {"resourceRequirements": [{"type": "VCPU", "value": "8"}]}
    waiting = await stand.submit(arrayProperties={"size": 2}, containerOverrides=needs)
    cases: list[tuple[str, type[LongshoreError], str]] = [
        ("bbbbbbbb-0000-0000-0000-bbbbbbbbbbbb", NotFound, "not found"),
        (single, InvalidRequest, "is no array job"),
        (f"{failed}:0", InvalidRequest, "is a part of a job"),
        (f"{failed}#0", InvalidRequest, "is a part of a job"),
        ("", InvalidRequest, "job"),
        (unborn, PreconditionFailed, "before it had children"),
        (good, PreconditionFailed, "none of its children failed"),
        (waiting, PreconditionFailed, "once it is over"),
    ]
    for job_id, error, words in cases:
        with pytest.raises(error, match=words):
            await stand("RerunJob", jobId=job_id)
    await stand("UpdateJobQueue", jobQueue="q", state="DISABLED")
    with pytest.raises(PreconditionFailed, match="JobQueue q is DISABLED and takes no jobs"):
        await stand("RerunJob", jobId=failed)


async def test_an_array_that_is_history_runs_again(stands: Stands) -> None:
    stand, other = stands
    work = Work({1, 2})
    await other.agent(vcpus=4, environment="ce", answers=work)
    array = await stand.submit(arrayProperties={"size": 4})
    await _over(stands, array)
    leadership = other.scheduler.lead.leadership
    await History(leadership, timedelta(days=90), timedelta(0)).tick()
    assert await stand.job_count() == 0
    work.failing = set()
    again = await _over(stands, (await stand("RerunJob", jobId=array))["jobId"])
    assert (again["status"], again["rerunIndexes"]) == ("SUCCEEDED", "1-2")
    await History(leadership, timedelta(days=90), timedelta(0)).tick()
    assert await stand.job_count() == 0
    shown = await stand.describe(again["jobId"])
    assert (shown["rerunOf"], shown["rerunIndexes"]) == (array, "1-2")
    assert (await stand.describe(f"{again['jobId']}:1"))["rerunIndex"] == 2


async def test_an_array_runs_again_within_its_cap_and_needs_the_same_units(stands: Stands) -> None:
    stand, other = stands
    work = Work(set(range(6)))
    await other.agent(vcpus=8, environment="ce", answers=work)
    await stand("CreateConsumableResource", consumableResourceName="licence", totalQuantity=9)
    needs = {"consumableResourceList": [{"consumableResource": "licence", "quantity": 2}]}
    first = await stand.submit(
        arrayProperties={"size": 6, "maxRunning": 3}, consumableResourcePropertiesOverride=needs
    )
    await _over(stands, first)
    await stand("DeleteConsumableResource", consumableResource="licence")
    with pytest.raises(NotFound, match="ConsumableResource licence not found"):
        await stand("RerunJob", jobId=first)
    await other.consumable("licence", 1)
    second = (await stand("RerunJob", jobId=first))["jobId"]
    assert await other.explanation(second) == (
        "Waiting for 2 of licence: 1 of 1 available; there must be more of it in all."
    )
    shown = await stand.describe(second)
    assert shown["arrayProperties"]["maxRunning"] == 3
    assert shown["consumableResourceProperties"] == {
        "consumableResourceList": [{"consumableResource": "licence", "quantity": "2"}]
    }
    shape = await stand.conn.fetchrow(
        "SELECT array_job, max_running, consumables FROM shapes JOIN jobs USING (shape_id) "
        "WHERE job_id = $1 AND array_index = -1",
        second,
    )
    assert (str(shape["array_job"]), *shape[1:]) == (second, 3, "licence=2")
    listed = await stand("ListJobsByConsumableResource", consumableResource="licence")
    assert [job["jobArn"].rpartition("/")[2] for job in listed["jobs"]] == [second, first]
    await other.consumable("licence", 4)
    await _over(stands, second)
    # Each array is capped for itself, and one without a cap has none when it runs again.
    plain = await stand.submit(arrayProperties={"size": 2})
    await _over(stands, plain)
    third = (await stand("RerunJob", jobId=plain))["jobId"]
    assert "maxRunning" not in (await _over(stands, third))["arrayProperties"]


async def test_where_arrays_have_two_children_at_least_one_is_not_run_again_alone(
    stands: Stands, database_url: str
) -> None:
    stand, other = stands
    await other.agent(vcpus=10, environment="ce", answers=Work({1}))
    array = await stand.submit(arrayProperties={"size": 3})
    assert (await _over(stands, array))["status"] == "FAILED"
    async with submission_stand(database_url, LONGSHORE_LIMITS="aws") as strict:
        with pytest.raises(PreconditionFailed, match=r"an array has at least 2 .*SubmitJob"):
            await strict("RerunJob", jobId=array)
    assert (await stand("RerunJob", jobId=array))["size"] == 1
