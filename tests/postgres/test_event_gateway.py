"""EventBridge's operations by boto3, over the gateway: each once, and how errors are called."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import botocore
import pytest
import pytest_asyncio
from botocore.config import Config
from botocore.exceptions import ClientError
from support.events import SERVICE, event_stand
from support.gateway import gateway_before

Json = dict[str, Any]
Call = Callable[..., Awaitable[Json]]
ARN = "arn:aws:events:us-east-1:123456789012"
BUS = f"{ARN}:event-bus/default"
SQS = "arn:aws:sqs:us-east-1:123456789012:q"
KINESIS: Json = {"KinesisParameters": {"PartitionKeyPath": "x"}}
PATTERN = '{"source": ["com.example"]}'
EVENT = {
    "id": "1",
    "account": "123456789012",
    "source": "com.example",
    "time": "2026-11-28T18:01:03Z",
    "region": "us-east-1",
    "resources": [],
    "detail-type": "t",
    "detail": {},
}


@pytest_asyncio.fixture
async def called() -> set[str]:
    """The operations that were called."""
    return set()


@pytest_asyncio.fixture
async def aws(database_url: str, tmp_path: Path, called: set[str]) -> AsyncIterator[Call]:
    """A call by boto3; its answer less what boto3 adds."""
    async with (
        event_stand(database_url, tmp_path / "key") as stand,
        gateway_before(events=stand.target) as url,
    ):
        client = boto3.client(
            "events",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="anyone",
            aws_secret_access_key="anything",  # noqa: S106 - any credentials will do
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )

        async def call(operation: str, /, **members: Any) -> Json:
            called.add(operation)
            method = getattr(client, botocore.xform_name(operation))
            answer = dict(await asyncio.to_thread(method, **members))
            del answer["ResponseMetadata"]
            return answer

        yield call
        client.close()


async def refused(aws: Call, operation: str, **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as raised:
        await aws(operation, **members)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


async def test_every_operation_is_reached(aws: Call, called: set[str]) -> None:
    for part in (rules, buses, connections, archives):
        await part(aws)
    assert called == {method.name for method in SERVICE.methods}


async def rules(aws: Call) -> None:
    rule = (await aws("PutRule", Name="r", EventPattern=PATTERN))["RuleArn"]
    await aws("DisableRule", Name="r")
    await aws("EnableRule", Name="r")
    assert (await aws("DescribeRule", Name="r"))["State"] == "ENABLED"
    [listed] = (await aws("ListRules"))["Rules"]
    assert (listed["Arn"], listed["EventPattern"]) == (rule, PATTERN)
    target = {"Id": "t", "Arn": SQS, "InputTransformer": {"InputTemplate": '"x"'}}
    answer = await aws("PutTargets", Rule="r", Targets=[target])
    assert answer == {"FailedEntryCount": 0, "FailedEntries": []}
    assert await aws("ListTargetsByRule", Rule="r") == {"Targets": [target]}
    assert await aws("ListRuleNamesByTarget", TargetArn=SQS) == {"RuleNames": ["r"]}
    assert await aws("TestEventPattern", EventPattern=PATTERN, Event=json.dumps(EVENT)) == {
        "Result": True
    }
    entry = {"Source": "com.example", "DetailType": "t", "Detail": "{}", "Time": datetime.now(UTC)}
    put = await aws("PutEvents", Entries=[entry, {**entry, "Source": "aws.x"}])
    assert (put["FailedEntryCount"], "EventId" in put["Entries"][0]) == (1, True)
    await aws("RemoveTargets", Rule="r", Ids=["t"])

    await aws("TagResource", ResourceARN=rule, Tags=[{"Key": "a", "Value": "b"}])
    tags = await aws("ListTagsForResource", ResourceARN=rule)
    assert tags == {"Tags": [{"Key": "a", "Value": "b"}]}
    await aws("UntagResource", ResourceARN=rule, TagKeys=["a"])
    await aws("DeleteRule", Name="r")


async def buses(aws: Call) -> None:
    await aws("CreateEventBus", Name="own")
    await aws("UpdateEventBus", Name="own", Description="d")
    bus = await aws("DescribeEventBus", Name="own")
    assert (bus["Description"], type(bus["CreationTime"])) == ("d", datetime)
    assert len((await aws("ListEventBuses"))["EventBuses"]) == 2
    await aws("DeleteEventBus", Name="own")


async def connections(aws: Call) -> None:
    basic = {"BasicAuthParameters": {"Username": "me", "Password": "hush"}}
    made = await aws("CreateConnection", Name="c", AuthorizationType="BASIC", AuthParameters=basic)
    await aws("UpdateConnection", Name="c", Description="d")
    described = await aws("DescribeConnection", Name="c")
    assert described["AuthParameters"] == {"BasicAuthParameters": {"Username": "me"}}
    assert len((await aws("ListConnections"))["Connections"]) == 1
    await aws(
        "CreateApiDestination",
        Name="d",
        ConnectionArn=made["ConnectionArn"],
        InvocationEndpoint="https://hooks.example/",
        HttpMethod="POST",
    )
    await aws("UpdateApiDestination", Name="d", HttpMethod="PUT")
    assert (await aws("DescribeApiDestination", Name="d"))["HttpMethod"] == "PUT"
    assert len((await aws("ListApiDestinations"))["ApiDestinations"]) == 1
    await aws("DeleteApiDestination", Name="d")
    await aws("DeauthorizeConnection", Name="c")
    await aws("DeleteConnection", Name="c")


async def archives(aws: Call) -> None:
    archive = (await aws("CreateArchive", ArchiveName="a", EventSourceArn=BUS))["ArchiveArn"]
    await aws("UpdateArchive", ArchiveName="a", RetentionDays=1)
    assert (await aws("DescribeArchive", ArchiveName="a"))["RetentionDays"] == 1
    assert len((await aws("ListArchives"))["Archives"]) == 1
    begin, end = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)
    await aws(
        "StartReplay",
        ReplayName="p",
        EventSourceArn=archive,
        EventStartTime=begin,
        EventEndTime=end,
        Destination={"Arn": BUS},
    )
    replay = await aws("DescribeReplay", ReplayName="p")
    assert (replay["EventStartTime"], replay["Destination"]) == (begin, {"Arn": BUS})
    assert len((await aws("ListReplays"))["Replays"]) == 1
    try:
        await aws("CancelReplay", ReplayName="p")
    except ClientError as error:
        # It may be over already, as it had nothing to do.
        assert error.response["Error"]["Code"] == "IllegalStatusException"  # noqa: PT017
    await aws("DeleteArchive", ArchiveName="a")


async def test_errors_are_called_as_at_aws(aws: Call) -> None:
    await aws("PutRule", Name="r", EventPattern=PATTERN)
    await aws("CreateEventBus", Name="own")
    for operation, members, code, says in (
        ("DescribeRule", {"Name": "x"}, "ResourceNotFoundException", "Rule x does not exist on"),
        ("PutRule", {"Name": "x"}, "ValidationException", "must be specified"),
        ("PutRule", {}, "ValidationException", "Value null at 'name' failed to satisfy"),
        ("PutRule", {"Name": 1}, "ValidationException", "Name must be a string."),
        (
            "PutRule",
            {"Name": "x", "EventPattern": "{}"},
            "InvalidEventPatternException",
            "Event pattern is not valid. Reason: Empty objects are not allowed",
        ),
        ("CreateEventBus", {"Name": "own"}, "ResourceAlreadyExistsException", "already exists"),
        (
            "PutTargets",
            {"Rule": "r", "Targets": [{"Id": str(n), "Arn": SQS} for n in range(6)]},
            "LimitExceededException",
            "exceeds the maximum number allowed",
        ),
        (
            "PutTargets",
            {
                "Rule": "r",
                "Targets": [
                    {"Id": "a", "Arn": SQS, "KinesisParameters": {"PartitionKeyPath": "x"}}
                ],
            },
            "ValidationException",
            "Targets[0].KinesisParameters is not supported by longshore: a Kinesis stream",
        ),
    ):
        error = await refused(aws, operation, **members)
        assert error[0] == code, error
        assert says in error[1]
