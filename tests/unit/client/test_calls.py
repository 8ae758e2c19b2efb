"""Deadlines, retries and errors of calls."""

import asyncio
import inspect
import socket

import grpc
import pytest
from support.patience import PATIENCE_SECONDS
from unit.client.service import Script

from longshore.domain import errors as domain
from longshore.v1 import job_pb2, job_queue_pb2
from longshore_client import (
    Client,
    InternalError,
    InvalidRequest,
    LimitExceeded,
    LongshoreError,
    NotFound,
    PreconditionFailed,
    Timeout,
    Unavailable,
    Unimplemented,
    refusal,
)
from longshore_client.call import check_health


def _accepted(request: job_pb2.SubmitJobRequest) -> job_pb2.SubmitJobResponse:
    return job_pb2.SubmitJobResponse(job_id="the-id", job_name=request.job_name)


async def _submit(client: Client) -> str:
    return await client.submit_job("a", queue="q", definition="d")


async def test_unavailable_is_tried_again_with_one_request_id(
    client: Client, script: Script
) -> None:
    """So the service can tell that it is the same submission, and no job is doubled."""
    script.on("SubmitJob", domain.Unavailable("away"), grpc.StatusCode.UNAVAILABLE, _accepted)
    assert await _submit(client) == "the-id"
    ids = [metadata["x-longshore-request-id"] for _, _, metadata in script.requests]
    assert len(ids) == 3
    assert len(set(ids)) == 1


async def test_every_submission_has_an_id_of_its_own(client: Client, script: Script) -> None:
    script.on("SubmitJob", _accepted)
    await _submit(client)
    await _submit(client)
    ids = [metadata["x-longshore-request-id"] for _, _, metadata in script.requests]
    assert len(set(ids)) == 2


async def test_what_cannot_be_repeated_is_tried_again_only_on_the_services_word(
    client: Client, script: Script
) -> None:
    def created(
        request: job_queue_pb2.CreateJobQueueRequest,
    ) -> job_queue_pb2.CreateJobQueueResponse:
        return job_queue_pb2.CreateJobQueueResponse(job_queue_arn=request.job_queue_name)

    script.on("CreateJobQueue", domain.Unavailable("busy"), created)
    assert await client.create_queue("q", ["e"]) == "q"
    script.on("CreateJobQueue", grpc.StatusCode.UNAVAILABLE, created)
    with pytest.raises(Unavailable):
        await client.create_queue("q", ["e"])


@pytest.mark.parametrize(
    ("told", "raised"),
    [
        (domain.InvalidRequest("bad", member="jobName"), InvalidRequest),
        (domain.NotFound("none"), NotFound),
        (domain.PreconditionFailed("not now"), PreconditionFailed),
        (domain.LimitExceeded("too many"), LimitExceeded),
        (domain.Unimplemented("not here"), Unimplemented),
        (grpc.StatusCode.INTERNAL, InternalError),
        (grpc.StatusCode.ALREADY_EXISTS, PreconditionFailed),
        (grpc.StatusCode.DATA_LOSS, InternalError),
    ],
)
async def test_refusals_are_typed_and_never_tried_again(
    client: Client,
    script: Script,
    told: domain.LongshoreError | grpc.StatusCode,
    raised: type[LongshoreError],
) -> None:
    script.on("SubmitJob", told)
    with pytest.raises(raised) as refused:
        await _submit(client)
    assert type(refused.value) is raised
    assert len(script.requests) == 1
    if isinstance(told, domain.LongshoreError):
        assert refused.value.message == told.message
        assert refused.value.fields == told.fields


async def test_member_at_fault_is_told(client: Client, script: Script) -> None:
    script.on("SubmitJob", domain.InvalidRequest("bad", member="jobName"))
    with pytest.raises(InvalidRequest) as refused:
        await _submit(client)
    assert refused.value.member == "jobName"


def test_every_reason_of_the_services_is_known() -> None:
    theirs = {
        cls.reason
        for _, cls in inspect.getmembers(domain, inspect.isclass)
        if issubclass(cls, domain.LongshoreError)
    }
    assert theirs <= refusal._BY_REASON.keys()


async def test_deadline_holds_over_retries(script: Script, client: Client) -> None:
    script.on("DescribeJobs", lambda _: job_pb2.DescribeJobsResponse())
    await client.describe_jobs(["a"])  # now it is known that a service is there
    script.on("SubmitJob", domain.Unavailable("away"))
    began = asyncio.get_running_loop().time()
    # Whether the last try began in time or not.
    with pytest.raises((Unavailable, Timeout)):
        await client.submit(job_pb2.SubmitJobRequest(job_name="a"), timeout=0.5)
    assert asyncio.get_running_loop().time() - began < PATIENCE_SECONDS / 2


async def test_service_that_never_answered_is_given_up_soon() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{probe.getsockname()[1]}"
        async with Client(target, timeout=3600, patience=0.3) as client:
            async with asyncio.timeout(PATIENCE_SECONDS):
                with pytest.raises(Unavailable):
                    await client.describe_jobs(["a"])
            assert await check_health(target, timeout=0.3) == "UNREACHABLE"


async def test_a_timeout_says_why_it_was_tried_again(client: Client, script: Script) -> None:
    script.on("SubmitJob", domain.Unavailable("It rests."), grpc.StatusCode.DEADLINE_EXCEEDED)
    with pytest.raises(Timeout, match="It rests"):
        await _submit(client)


async def test_slow_service_is_a_timeout(client: Client, script: Script) -> None:
    script.on("SubmitJob", grpc.StatusCode.DEADLINE_EXCEEDED)
    with pytest.raises(Timeout):
        await _submit(client)
