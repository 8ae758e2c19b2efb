"""CloudTrail's LookupEvents by boto3: calls on record, and what longshore does by itself."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import pytest_asyncio
from botocore.config import Config
from botocore.exceptions import ClientError
from support.clusters import GONE, INSTANCE, OVER, TASK, fill
from support.events import event_stand
from support.patience import PATIENCE_SECONDS
from support.submission import Stand, submission_stand

from longshore.gateway.config import GatewayConfig
from longshore.gateway.server import serve
from longshore.rpc.channel import open_channel
from longshore.state.audit import lookup
from longshore.v1 import cloud_trail_service_pb2 as pb
from longshore.v1 import cloud_trail_service_pb2_grpc

Json = dict[str, Any]


class Trail:
    """The services over one database, and CloudTrail's client."""

    def __init__(self, stand: Stand, events_target: str, url: str) -> None:
        self.stand = stand
        self.events_target = events_target
        self._url = url
        self._clients = {name: self._client(name) for name in ("cloudtrail", "batch")}

    def _client(self, name: str) -> Any:
        return boto3.client(
            name,
            endpoint_url=self._url,
            region_name="us-east-1",
            aws_access_key_id="AKIAALICE",
            aws_secret_access_key="anything",  # noqa: S106 - any credentials will do
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )

    async def batch(self, operation: str, **members: Any) -> Json:
        """A call of AWS Batch by boto3."""
        return dict(await asyncio.to_thread(getattr(self._clients["batch"], operation), **members))

    async def look_up(self, **members: Any) -> Json:
        """LookupEvents by boto3."""
        return dict(await asyncio.to_thread(self._clients["cloudtrail"].lookup_events, **members))

    async def events(self, key: str, value: str) -> list[Json]:
        """Events that have an attribute."""
        attributes = [{"AttributeKey": key, "AttributeValue": value}]
        return list((await self.look_up(LookupAttributes=attributes))["Events"])

    async def until(self, name: str, count: int = 1) -> list[Json]:
        """Events of a name, once there are as many."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found := await self.events("EventName", name)) < count:
                await asyncio.sleep(0.01)
        return found


@contextlib.asynccontextmanager
async def gateway(addresses: dict[str, str]) -> AsyncIterator[str]:
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(GatewayConfig("127.0.0.1:0", addresses), stop, ready))
    await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield f"http://127.0.0.1:{ready.result()}"
    finally:
        stop.set()
        await serving


@pytest_asyncio.fixture
async def trail(database_url: str, tmp_path: Path) -> AsyncIterator[Trail]:
    async with (
        submission_stand(database_url) as stand,
        event_stand(database_url, tmp_path / "key") as events,
    ):
        addresses = {"submission": stand.target, "events": events.target, "logs": "127.0.0.1:1"}
        async with gateway(addresses) as url:
            await stand.prepare()
            yield Trail(stand, events.target, url)


async def test_who_submitted_what(trail: Trail) -> None:
    answer = await trail.batch("submit_job", jobName="j", jobQueue="q", jobDefinition="d")

    [event] = await trail.until("SubmitJob")
    assert (event["ReadOnly"], event["AccessKeyId"]) == ("false", "AKIAALICE")
    assert event["EventSource"] == "batch.amazonaws.com"
    assert {"ResourceType": "AWS::Batch::JobQueue", "ResourceName": "q"} in event["Resources"]
    assert "Username" not in event
    record = json.loads(event["CloudTrailEvent"])
    assert record["responseElements"]["jobId"] == answer["jobId"]
    assert record["userAgent"].startswith("Boto3/")
    assert record["sourceIPAddress"] == "127.0.0.1"
    assert abs(event["EventTime"] - datetime.now(UTC)) < timedelta(hours=1)

    for key, value in (
        ("EventId", event["EventId"]),
        ("ResourceName", f"arn:aws:batch:us-east-1:123456789012:job/{answer['jobId']}"),
        ("ResourceType", "AWS::Batch::Job"),
        ("AccessKeyId", "AKIAALICE"),
    ):
        assert [found["EventId"] for found in await trail.events(key, value)] == [event["EventId"]]
    assert await trail.events("Username", "alice") == []
    assert event["EventId"] in [
        found["EventId"] for found in await trail.events("ReadOnly", "false")
    ]


async def test_a_refusal_of_the_gateway_is_found(trail: Trail) -> None:
    with pytest.raises(ClientError):
        await trail.batch("submit_job", jobName=7, jobQueue="q", jobDefinition="d")
    [event] = await trail.until("SubmitJob")
    assert json.loads(event["CloudTrailEvent"])["errorCode"] == "ClientException"


async def test_what_longshore_does_by_itself_is_told_as_ecs_calls(trail: Trail) -> None:
    """What consumers of AWS Batch's events read of them."""
    job_id = (await trail.stand("SubmitJob", jobName="j", jobQueue="q", jobDefinition="d"))["jobId"]
    await fill(trail.stand.conn, job_id)

    placed = [json.loads(e["CloudTrailEvent"]) for e in await trail.events("EventName", "RunTask")]
    assert [record["eventID"].replace("-", "") for record in placed] == [TASK, OVER]
    asked = placed[0]["requestParameters"]
    assert asked["cluster"].split("/")[-1].split("_Batch")[0] == "ce"
    assert asked["taskDefinition"].endswith(":task-definition/d:1")
    assert {tag["key"]: tag["value"] for tag in asked["tags"]} == {
        "aws:batch:compute-environment": "ce",
        "aws:batch:job-queue": "q",
    }
    environment = asked["overrides"]["containerOverrides"][0]["environment"]
    assert {"name": "AWS_BATCH_JOB_ID", "value": job_id} in environment
    assert {"name": "AWS_BATCH_JOB_ATTEMPT", "value": "2"} in environment
    assert placed[0]["userIdentity"] == {"type": "AWSService", "invokedBy": "batch.amazonaws.com"}

    joined = await trail.events("EventName", "RegisterContainerInstance")
    shown = [
        json.loads(event["CloudTrailEvent"])["responseElements"]["containerInstance"]
        for event in joined
    ]
    assert {instance["ec2InstanceId"] for instance in shown} == {INSTANCE, GONE}
    assert {instance["status"] for instance in shown} == {"ACTIVE"}
    assert all(instance["agentConnected"] for instance in shown)
    resources = {entry["name"]: entry for entry in shown[0]["registeredResources"]}
    assert (resources["CPU"]["type"], resources["CPU"]["integerValue"]) == ("INTEGER", 2048)

    [left] = await trail.events("EventName", "DeregisterContainerInstance")
    gone = json.loads(left["CloudTrailEvent"])["responseElements"]["containerInstance"]
    assert (gone["ec2InstanceId"], gone["status"]) == (GONE, "INACTIVE")
    assert [e["EventId"] for e in await trail.events("EventId", left["EventId"])] == [
        left["EventId"]
    ]
    assert (await trail.events("EventId", placed[0]["eventID"]))[0]["EventName"] == "RunTask"


async def test_pages_lead_through_all_of_it_once(
    trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = (await trail.stand("SubmitJob", jobName="j", jobQueue="q", jobDefinition="d"))["jobId"]
    await fill(trail.stand.conn, job_id)
    await trail.until("SubmitJob")
    whole = (await trail.look_up())["Events"]
    times = [event["EventTime"] for event in whole]
    assert times == sorted(times, reverse=True)
    # Three to prepare, one job, two attempts, two joined, one left.
    assert len(whole) == 9

    # Few records are walked through at once, so that pages end within the search.
    monkeypatch.setattr(lookup, "WALK", 1)
    for attributes in (
        [],
        [{"AttributeKey": "EventSource", "AttributeValue": "ecs.amazonaws.com"}],
    ):
        found: list[str] = []
        token: Json = {}
        while True:
            page = await trail.look_up(MaxResults=2, LookupAttributes=attributes, **token)
            found += [event["EventId"] for event in page["Events"]]
            if "NextToken" not in page:
                break
            token = {"NextToken": page["NextToken"]}
        assert found == [
            event["EventId"]
            for event in whole
            if not attributes or event["EventSource"] == "ecs.amazonaws.com"
        ]


async def test_times_bound_the_search(trail: Trail) -> None:
    [event] = await trail.until("CreateJobQueue")
    at = event["EventTime"]
    found = await trail.look_up(StartTime=at, EndTime=at + timedelta(minutes=1))
    assert "CreateJobQueue" in [event["EventName"] for event in found["Events"]]
    for bounds in (
        {"EndTime": at - timedelta(minutes=1)},
        {"StartTime": at + timedelta(minutes=1)},
    ):
        assert (await trail.look_up(**bounds))["Events"] == []


async def test_longshores_own_callers_ask_for_several_things_at_once(trail: Trail) -> None:
    await trail.batch("submit_job", jobName="j", jobQueue="q", jobDefinition="d")
    await trail.stand("SubmitJob", jobName="j", jobQueue="q", jobDefinition="d")
    await trail.until("SubmitJob", 2)
    async with open_channel(trail.events_target) as channel:
        stub = cloud_trail_service_pb2_grpc.CloudTrailServiceStub(channel)
        answer = await stub.LookupEvents(
            pb.LookupEventsRequest(
                also=[
                    pb.LookupAttribute(attribute_key="EventName", attribute_value="SubmitJob"),
                    pb.LookupAttribute(attribute_key="AccessKeyId", attribute_value="AKIAALICE"),
                ],
                calls_only=True,
            ),
            timeout=PATIENCE_SECONDS,
        )
    assert [event.access_key_id for event in answer.events] == ["AKIAALICE"]


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"MaxResults": 51}, "InvalidMaxResultsException"),
        ({"MaxResults": 0}, "InvalidMaxResultsException"),
        ({"NextToken": "x"}, "InvalidNextTokenException"),
        ({"StartTime": 2, "EndTime": 1}, "InvalidTimeRangeException"),
        ({"EventCategory": "insight"}, "InvalidEventCategoryException"),
        (
            {"LookupAttributes": [{"AttributeKey": "Colour", "AttributeValue": "x"}]},
            "InvalidLookupAttributesException",
        ),
        (
            {"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": ""}]},
            "InvalidLookupAttributesException",
        ),
        (
            {"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "x"}] * 2},
            "InvalidLookupAttributesException",
        ),
    ],
)
async def test_what_cannot_be_looked_for_is_refused(trail: Trail, members: Json, code: str) -> None:
    with pytest.raises(ClientError) as refused:
        await trail.look_up(**members)
    assert refused.value.response["Error"]["Code"] == code
