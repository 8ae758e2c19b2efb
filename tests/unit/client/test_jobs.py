"""Helpers about jobs and resources."""

import grpc
import pytest
from support.patience import PATIENCE_SECONDS
from unit.client.service import Script

from longshore.v1 import (
    compute_environment_pb2,
    job_control_service_pb2,
    job_definition_pb2,
    job_pb2,
    job_queue_pb2,
    scheduler_service_pb2,
)
from longshore_client import Client, NotFound, PreconditionFailed, Timeout, build


def _describe(statuses: dict[str, str]):  # noqa: ANN202 - an answer of the script
    def answer(request: job_pb2.DescribeJobsRequest) -> job_pb2.DescribeJobsResponse:
        return job_pb2.DescribeJobsResponse(
            jobs=[
                job_pb2.JobDetail(job_id=job_id, status=statuses[job_id])
                for job_id in request.jobs
                if job_id in statuses
            ]
        )

    return answer


async def test_a_child_that_is_not_made_yet_is_told_from_one_that_never_will_be(
    client: Client, script: Script
) -> None:
    def describe(request: job_pb2.DescribeJobsRequest) -> job_pb2.DescribeJobsResponse:
        array = job_pb2.JobDetail(job_id="a", status="PENDING")
        array.array_properties.size = 3
        return job_pb2.DescribeJobsResponse(jobs=[array] if "a" in request.jobs else [])

    script.on("DescribeJobs", describe)
    with pytest.raises(NotFound, match="a is PENDING and has no children yet: a:2 is there once"):
        await client.describe_job("a:2")
    for job_id in ("a:3", "a:x", "b:1", "b", "a#0"):
        with pytest.raises(NotFound, match=f"There is no job {job_id}; "):
            await client.describe_job(job_id)


async def test_submit_says_only_what_is_given(client: Client, script: Script) -> None:
    script.on("SubmitJob", lambda _: job_pb2.SubmitJobResponse(job_id="id"))
    await client.submit_job("a", queue="q", definition="d")
    (request,) = script.sent("SubmitJob")
    assert request == job_pb2.SubmitJobRequest(job_name="a", job_queue="q", job_definition="d")


async def test_submit_says_all_that_is_given(client: Client, script: Script) -> None:
    script.on("SubmitJob", lambda _: job_pb2.SubmitJobResponse(job_id="id"))
    await client.submit_job(
        "a",
        queue="q",
        definition="d:1",
        command=["echo", "1"],
        env={"B": "2", "A": "1"},
        vcpus=2,
        memory_mib=64,
        parameters={"p": "v"},
        array_size=5,
        depends_on=["x", job_pb2.JobDependency(type="SEQUENTIAL")],
        attempts=3,
        timeout_seconds=60,
        tags={"t": "u"},
    )
    (request,) = script.sent("SubmitJob")
    overrides = request.container_overrides
    assert list(overrides.command) == ["echo", "1"]
    assert [(item.name, item.value) for item in overrides.environment] == [("A", "1"), ("B", "2")]
    needs = {item.type: item.value for item in overrides.resource_requirements}
    assert needs == {"VCPU": "2", "MEMORY": "64"}
    assert request.array_properties.size == 5
    assert [(item.job_id, item.type) for item in request.depends_on] == [
        ("x", ""),
        ("", "SEQUENTIAL"),
    ]
    assert request.retry_strategy.attempts == 3
    assert request.timeout.attempt_duration_seconds == 60
    assert dict(request.tags) == {"t": "u"}


async def test_describe_goes_in_chunks_and_keeps_the_order(client: Client, script: Script) -> None:
    ids = [f"job-{number}" for number in range(250)]
    script.on("DescribeJobs", _describe(dict.fromkeys(reversed(ids), "RUNNING")))
    assert [job.job_id for job in await client.describe_jobs([*ids, ids[0], "no"])] == ids
    assert [len(request.jobs) for request in script.sent("DescribeJobs")] == [100, 100, 51]


async def test_describe_of_one_unknown_job(client: Client, script: Script) -> None:
    script.on("DescribeJobs", _describe({}))
    with pytest.raises(NotFound, match="gone"):
        await client.describe_job("gone")


async def test_list_turns_pages(client: Client, script: Script) -> None:
    def page(request: job_pb2.ListJobsRequest) -> job_pb2.ListJobsResponse:
        number = int(request.next_token or 0)
        return job_pb2.ListJobsResponse(
            job_summary_list=[job_pb2.JobSummary(job_id=f"{number}-{n}") for n in range(2)],
            next_token=str(number + 1) if number < 2 else None,
        )

    script.on("ListJobs", page)
    found = [job.job_id async for job in client.list_jobs("q", filters={"JOB_NAME": "a*"})]
    assert found == ["0-0", "0-1", "1-0", "1-1", "2-0", "2-1"]
    assert {request.filters[0].name for request in script.sent("ListJobs")} == {"JOB_NAME"}


async def test_wait_ends_with_the_last_job(client: Client, script: Script) -> None:
    script.on(
        "DescribeJobs",
        _describe({"a": "RUNNABLE", "b": "SUCCEEDED"}),
        _describe({"a": "RUNNING", "b": "SUCCEEDED"}),
        _describe({"a": "FAILED", "b": "SUCCEEDED"}),
    )
    seen: list[list[str]] = []
    jobs = await client.wait(
        ["a", "b"],
        timeout=PATIENCE_SECONDS,
        seen=lambda jobs: seen.append([job.status for job in jobs]),
    )
    assert [job.status for job in jobs] == ["FAILED", "SUCCEEDED"]
    assert [statuses[0] for statuses in seen] == ["RUNNABLE", "RUNNING", "FAILED"]


async def test_wait_gives_up_and_says_on_what(client: Client, script: Script) -> None:
    script.on("DescribeJobs", _describe({"a": "RUNNABLE"}))
    with pytest.raises(Timeout, match="a is RUNNABLE"):
        await client.wait(["a"], timeout=0.2)


async def test_wait_for_an_unknown_job(client: Client, script: Script) -> None:
    script.on("DescribeJobs", _describe({"a": "RUNNABLE"}))
    with pytest.raises(NotFound, match="nothing"):
        await client.wait(["a", "nothing"], timeout=PATIENCE_SECONDS)


async def test_explain_asks_the_scheduler(client: Client, script: Script) -> None:
    answer = scheduler_service_pb2.ExplainJobResponse(status="RUNNABLE", summary="It waits.")
    script.on("ExplainJob", lambda _: answer)
    assert await client.explain_job("a") == answer


async def test_stopping_carries_the_reason(client: Client, script: Script) -> None:
    script.on("CancelJob", lambda _: job_pb2.CancelJobResponse())
    script.on("TerminateJob", lambda _: job_pb2.TerminateJobResponse())
    await client.cancel_job("a", "because")
    await client.terminate_job("b", "therefore")
    assert [(item.job_id, item.reason) for item in script.sent("CancelJob")] == [("a", "because")]
    assert [(item.job_id, item.reason) for item in script.sent("TerminateJob")] == [
        ("b", "therefore")
    ]


async def test_definition_of_one_container(client: Client, script: Script) -> None:
    script.on(
        "RegisterJobDefinition",
        lambda request: job_definition_pb2.RegisterJobDefinitionResponse(
            job_definition_name=request.job_definition_name, revision=7
        ),
    )
    container = build.container(
        "busybox", ["true"], vcpus=0.5, memory_mib=32, mounts=[("/here", "/there", True)]
    )
    registered = await client.register_container_definition(
        "d", container, attempts=2, timeout_seconds=90
    )
    assert registered == "d:7"
    (request,) = script.sent("RegisterJobDefinition")
    made = request.container_properties
    assert made.volumes[0].host.source_path == "/here"
    assert (made.mount_points[0].container_path, made.mount_points[0].read_only) == ("/there", True)
    assert made.mount_points[0].source_volume == made.volumes[0].name
    assert {item.type: item.value for item in made.resource_requirements} == {
        "VCPU": "0.5",
        "MEMORY": "32",
    }
    assert request.retry_strategy.attempts == 2
    assert request.timeout.attempt_duration_seconds == 90


async def test_nodes_are_asked_for_by_their_job(client: Client, script: Script) -> None:
    script.on("ListJobs", lambda _: job_pb2.ListJobsResponse())
    script.on("SubmitJob", lambda _: job_pb2.SubmitJobResponse(job_id="id"))
    assert [job async for job in client.list_jobs(multi_node_job="j", status="FAILED")] == []
    await client.submit_job("a", queue="q", definition="d", num_nodes=3)
    assert script.sent("ListJobs") == [
        job_pb2.ListJobsRequest(multi_node_job_id="j", job_status="FAILED")
    ]
    (request,) = script.sent("SubmitJob")
    assert request.node_overrides == job_pb2.NodeOverrides(num_nodes=3)
    assert not request.HasField("container_overrides")


async def test_queue_waits_until_it_is_valid(client: Client, script: Script) -> None:
    def status(text: str, reason: str = ""):  # noqa: ANN202 - an answer of the script
        queue = job_queue_pb2.JobQueueDetail(job_queue_name="q", status=text, status_reason=reason)
        return lambda _: job_queue_pb2.DescribeJobQueuesResponse(job_queues=[queue])

    script.on("DescribeJobQueues", status("CREATING"), status("VALID"))
    assert (await client.wait_for_queue("q")).status == "VALID"
    script.on("DescribeJobQueues", status("INVALID", "no capacity"))
    with pytest.raises(PreconditionFailed, match="no capacity"):
        await client.wait_for_queue("q")
    script.on("DescribeJobQueues", status("CREATING"))
    with pytest.raises(Timeout, match="CREATING"):
        await client.wait_for_queue("q", timeout=0.2)


async def test_environment_that_is_not_there(client: Client, script: Script) -> None:
    script.on(
        "DescribeComputeEnvironments",
        lambda _: compute_environment_pb2.DescribeComputeEnvironmentsResponse(),
    )
    with pytest.raises(NotFound, match="nowhere"):
        await client.wait_for_environment("nowhere")


@pytest.mark.parametrize(
    ("vcpus", "text"),
    [(1, "1"), (0.25, "0.25"), (1_234_567, "1234567"), (99_999_999_999, "9" * 11)],
)
def test_numbers_keep_their_digits(vcpus: float, text: str) -> None:
    (need,) = build.requirements(vcpus=vcpus)
    assert need.value == text


async def test_stopping_goes_on_where_a_stream_broke(client: Client, script: Script) -> None:
    told = job_control_service_pb2.StopJobsResponse
    script.stops = [
        [told(jobs=3, children=1), grpc.StatusCode.UNAVAILABLE],
        [told(jobs=2), told(jobs=2, complete=True)],
    ]
    answers = [
        (answer.jobs, answer.children, answer.complete)
        async for answer in client.stop_jobs(terminate=True, reason="r", queue="q", name="a*")
    ]
    assert answers == [(3, 1, False), (5, 1, False), (5, 1, True)]
    request = script.sent("StopJobs")[0]
    assert request.action == job_control_service_pb2.STOP_ACTION_TERMINATE
    assert (request.selection.job_queue, request.selection.job_name) == ("q", "a*")
    assert not request.selection.HasField("share_identifier")


async def test_counting_begins_anew_where_a_stream_broke(client: Client, script: Script) -> None:
    told = job_control_service_pb2.StopJobsResponse
    script.stops = [
        [told(jobs=3), grpc.StatusCode.UNAVAILABLE],
        [told(jobs=5, complete=True)],
    ]
    answers = client.stop_jobs(terminate=False, dry_run=True, queue="q")
    assert [answer.jobs async for answer in answers] == [3, 5]


async def test_an_array_is_run_again_once_although_the_first_answer_was_lost(
    client: Client, script: Script
) -> None:
    made = job_control_service_pb2.RerunJobResponse(job_id="new", size=3)
    script.on("RerunJob", grpc.StatusCode.UNAVAILABLE, lambda _: made)
    assert await client.rerun_job("old") == made
    first, second = script.sent("RerunJob")
    assert first == second
    assert first.client_token
