"""What EventBridge's API sets, over gRPC on a real database: each operation, and how it refuses."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.events import EventStand, event_stand

from longshore.domain.errors import LimitExceeded, LongshoreError, NotFound, PreconditionFailed
from longshore.events.replaying import ReplayRuns
from longshore.events.sealing import Sealer

Json = dict[str, Any]
ARN = "arn:aws:events:us-east-1:123456789012"
QUEUE = "arn:aws:batch:us-east-1:123456789012:job-queue/default"
SQS = "arn:aws:sqs:us-east-1:123456789012:letters"
PATTERN = '{"source": ["aws.batch"]}'
JOB: Json = {
    "Id": "job",
    "Arn": QUEUE,
    "BatchParameters": {
        "JobDefinition": "report:3",
        "JobName": "nightly",
        "ArrayProperties": {"Size": 4},
        "RetryStrategy": {"Attempts": 3},
    },
    "InputTransformer": {
        "InputPathsMap": {"id": "$.detail.jobId"},
        "InputTemplate": '{"Parameters": {"id": <id>, "rule": "<aws.events.rule-name>"}}',
    },
    "RetryPolicy": {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60},
    "DeadLetterConfig": {"Arn": SQS},
}


@pytest.fixture
def key_path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "key"


@pytest_asyncio.fixture
async def events(database_url: str, key_path: Path) -> AsyncIterator[EventStand]:
    async with event_stand(database_url, key_path) as stand:
        yield stand


async def refused(events: EventStand, operation: str, **members: Any) -> LongshoreError:
    with pytest.raises(LongshoreError) as raised:
        await events(operation, **members)
    return raised.value


def less_times(answer: Json) -> Json:
    return {name: value for name, value in answer.items() if not name.endswith("Time")}


# ------------------------------------------------------------------------------------------ rules


async def test_a_rule_is_switched_and_a_schedule_counts_while_it_is_on(events: EventStand) -> None:
    due = "SELECT due_at FROM event_rules WHERE name = 'r'"
    await events("PutRule", Name="r", ScheduleExpression="rate(1 hour)")
    first = await events.conn.fetchval(due)
    await events("PutRule", Name="r", ScheduleExpression="rate(1 hour)", Description="same")
    assert await events.conn.fetchval(due) == first is not None
    await events("DisableRule", Name="r")
    assert (await events("DescribeRule", Name="r"))["State"] == "DISABLED"
    assert await events.conn.fetchval(due) is None
    await events("EnableRule", Name="r")
    assert await events.conn.fetchval(due) >= first
    await events("PutRule", Name="r", EventPattern=PATTERN)
    assert await events.conn.fetchval(due) is None

    for operation in ("EnableRule", "DisableRule"):
        error = await refused(events, operation, Name="none")
        assert error.message == "Rule none does not exist on EventBus default."
    await events("CreateEventBus", Name="own")
    error = await refused(
        events, "PutRule", Name="r", EventBusName="own", ScheduleExpression="rate(1 hour)"
    )
    assert "supported only on the default event bus" in error.message
    for schedule in ("rate(1 hours)", "cron(0 0 1 1 ? 2020)", "at(x)"):
        error = await refused(events, "PutRule", Name="s", ScheduleExpression=schedule)
        assert "Parameter ScheduleExpression is not valid" in error.message


async def test_a_bus_has_as_many_rules_as_it_may_and_no_more(events: EventStand) -> None:
    await events.conn.execute(
        "INSERT INTO event_rules (bus, name, pattern, state)"
        " SELECT 'default', 'r' || n, '{}', 'ENABLED' FROM generate_series(1, 300) n"
    )
    error = await refused(events, "PutRule", Name="more", EventPattern=PATTERN)
    assert isinstance(error, LimitExceeded)
    await events("PutRule", Name="r1", EventPattern=PATTERN)


# ---------------------------------------------------------------------------------------- targets


async def test_targets_come_back_as_they_were_put(events: EventStand) -> None:
    await events("PutRule", Name="r", EventPattern=PATTERN)
    others: list[Json] = [
        {"Id": "sqs", "Arn": f"{SQS}.fifo", "SqsParameters": {"MessageGroupId": "g"}},
        {"Id": "sns", "Arn": "arn:aws:sns:us-east-1:123456789012:t", "InputPath": "$.detail"},
        {"Id": "log", "Arn": "arn:aws:logs:us-east-1:123456789012:log-group:/aws/events/x:*"},
        {"Id": "bus", "Arn": f"{ARN}:event-bus/default", "Input": '{"a": 1}'},
    ]
    assert await events("PutTargets", Rule="r", Targets=[JOB, *others]) == {"FailedEntryCount": 0}
    listed = (await events("ListTargetsByRule", Rule="r"))["Targets"]
    assert listed == sorted([JOB, *others], key=lambda one: one["Id"])

    first = await events("ListTargetsByRule", Rule="r", Limit=4)
    rest = await events("ListTargetsByRule", Rule="r", Limit=4, NextToken=first["NextToken"])
    assert first["Targets"] + rest["Targets"] == listed
    assert await events("ListRuleNamesByTarget", TargetArn=QUEUE) == {"RuleNames": ["r"]}
    assert await events("ListRuleNamesByTarget", TargetArn=f"{QUEUE}x") == {}

    # One more than there may be; one in place of another is none more.
    error = await refused(events, "PutTargets", Rule="r", Targets=[{**others[1], "Id": "x"}])
    assert isinstance(error, LimitExceeded)
    await events("PutTargets", Rule="r", Targets=[{**others[1], "Id": "job"}])

    error = await refused(events, "DeleteRule", Name="r")
    assert error.message == "Rule can't be deleted since it has targets."
    ids = [one["Id"] for one in listed]
    assert await events("RemoveTargets", Rule="r", Ids=[*ids, "none"]) == {
        "FailedEntryCount": 1,
        "FailedEntries": [
            {
                "TargetId": "none",
                "ErrorCode": "ResourceNotFoundException",
                "ErrorMessage": "Rule r has no target none.",
            }
        ],
    }
    await events("DeleteRule", Name="r")
    for operation, members in (
        ("PutTargets", {"Targets": [JOB]}),
        ("RemoveTargets", {"Ids": ["a"]}),
        ("ListTargetsByRule", {}),
    ):
        error = await refused(events, operation, Rule="r", **members)
        assert error.message == "Rule r does not exist on EventBus default."


async def test_a_target_that_is_not_there_is_refused_alone(events: EventStand) -> None:
    await events("PutRule", Name="r", EventPattern=PATTERN)
    gone = [
        {"Id": "bus", "Arn": f"{ARN}:event-bus/gone"},
        {"Id": "api", "Arn": f"{ARN}:api-destination/gone/00000000-0000-0000-0000-000000000000"},
        {"Id": "else", "Arn": "arn:aws:events:us-east-1:999999999999:event-bus/default"},
    ]
    answer = await events("PutTargets", Rule="r", Targets=[JOB, *gone])
    assert [entry["TargetId"] for entry in answer["FailedEntries"]] == ["bus", "api", "else"]
    assert {entry["ErrorCode"] for entry in answer["FailedEntries"]} == {
        "ResourceNotFoundException"
    }
    [only] = (await events("ListTargetsByRule", Rule="r"))["Targets"]
    assert only["Id"] == "job"


def a_job(**members: Any) -> Json:
    return {"Id": "a", "Arn": QUEUE, "BatchParameters": JOB["BatchParameters"], **members}


WRONG_TARGETS: list[tuple[Json, str, str]] = [
    ({"Arn": QUEUE}, "Targets[0].Id", "must not be null"),
    ({"Id": "a"}, "Targets[0].Arn", "must not be null"),
    (a_job(Id="a b"), "Targets[0].Id", "regular expression"),
    (
        a_job(Arn="arn:aws:lambda:us-east-1:123456789012:function:f"),
        "Targets[0].Arn",
        "not supported",
    ),
    (a_job(Arn=f"{QUEUE}/x"), "Targets[0].Arn", "neither a name"),
    ({"Id": "a", "Arn": QUEUE}, "Targets[0].BatchParameters", "is required for target a"),
    (
        a_job(BatchParameters={"JobName": "n"}),
        "Targets[0].BatchParameters.JobDefinition",
        "null",
    ),
    (
        a_job(
            BatchParameters={
                "JobName": "n",
                "JobDefinition": "d",
                "ArrayProperties": {"Size": 1},
            }
        ),
        "Targets[0].BatchParameters.ArrayProperties.Size",
        "greater than or equal to 2",
    ),
    (
        {"Id": "a", "Arn": SQS, "BatchParameters": JOB["BatchParameters"]},
        "Targets[0].BatchParameters",
        "job-queue",
    ),
    (
        {"Id": "a", "Arn": f"{SQS}.fifo"},
        "Targets[0].SqsParameters.MessageGroupId",
        "must be specified",
    ),
    (
        {"Id": "a", "Arn": SQS, "SqsParameters": {"MessageGroupId": "g"}},
        "Targets[0].SqsParameters.MessageGroupId",
        "FIFO",
    ),
    (
        {"Id": "a", "Arn": SQS, "EcsParameters": {"TaskDefinitionArn": "x"}},
        "Targets[0].EcsParameters",
        "use a job queue",
    ),
    (
        {"Id": "a", "Arn": SQS, "Input": "{"},
        "Targets[0].Input",
        "JSON syntax error in input for target a",
    ),
    (
        {"Id": "a", "Arn": SQS, "Input": "1", "InputPath": "$"},
        "Targets[0].InputPath",
        "Only one of Input",
    ),
    ({"Id": "a", "Arn": SQS, "InputPath": "detail"}, "Targets[0].InputPath", "no path"),
    (
        {"Id": "a", "Arn": SQS, "InputTransformer": {"InputTemplate": "<x>"}},
        "Targets[0].InputTransformer.InputTemplate",
        "contains invalid placeholder x",
    ),
    (
        {
            "Id": "a",
            "Arn": SQS,
            "InputTransformer": {"InputTemplate": "1", "InputPathsMap": {"AWS.x": "$"}},
        },
        "Targets[0].InputTransformer.InputPathsMap",
        "do not begin with AWS",
    ),
    (
        {"Id": "a", "Arn": SQS, "RetryPolicy": {"MaximumRetryAttempts": 186}},
        "Targets[0].RetryPolicy.MaximumRetryAttempts",
        "185",
    ),
    (
        {"Id": "a", "Arn": SQS, "RetryPolicy": {"MaximumEventAgeInSeconds": 59}},
        "Targets[0].RetryPolicy.MaximumEventAgeInSeconds",
        "60",
    ),
    (
        {"Id": "a", "Arn": SQS, "DeadLetterConfig": {"Arn": QUEUE}},
        "Targets[0].DeadLetterConfig.Arn",
        "SQS queue",
    ),
    (
        {
            "Id": "a",
            "Arn": f"{ARN}:api-destination/d/x",
            "HttpParameters": {"HeaderParameters": {"a b": "c"}},
        },
        "Targets[0].HttpParameters.HeaderParameters",
        "regular expression",
    ),
    (
        {
            "Id": "a",
            "Arn": f"{ARN}:api-destination/d/x",
            "HttpParameters": {"HeaderParameters": {"content-length": "1"}},
        },
        "Targets[0].HttpParameters.HeaderParameters",
        "follows from the call",
    ),
]


async def test_a_wrong_target_is_refused_by_its_member(events: EventStand) -> None:
    await events("PutRule", Name="r", EventPattern=PATTERN)
    for target, member, says in WRONG_TARGETS:
        error = await refused(events, "PutTargets", Rule="r", Targets=[target])
        assert (error.fields["member"], says in error.message) == (member, True), error.message
    assert await events("ListTargetsByRule", Rule="r") == {}


async def test_a_header_that_is_long_and_wrong_is_refused_at_once(events: EventStand) -> None:
    await events("PutRule", Name="r", EventPattern=PATTERN)
    http = {"HeaderParameters": {"X-A": " " * 511 + "\x7f"}}
    target = {"Id": "a", "Arn": f"{ARN}:api-destination/d/x", "HttpParameters": http}
    error = await refused(events, "PutTargets", Rule="r", Targets=[target])
    assert error.fields["member"] == "Targets[0].HttpParameters.HeaderParameters.X-A"


async def test_how_many_targets_a_request_has(events: EventStand) -> None:
    await events("PutRule", Name="r", EventPattern=PATTERN)
    many = [a_job(Id=f"t{number}") for number in range(11)]
    assert (
        "less than or equal to 10"
        in (await refused(events, "PutTargets", Rule="r", Targets=many)).message
    )
    assert "greater than or equal to 1" in (await refused(events, "PutTargets", Rule="r")).message
    error = await refused(events, "PutTargets", Rule="r", Targets=[a_job(), a_job()])
    assert "the id a twice" in error.message


# ------------------------------------------------------------------------------------------ buses


async def test_buses(events: EventStand) -> None:
    made = await events(
        "CreateEventBus", Name="own", Description="mine", DeadLetterConfig={"Arn": SQS}
    )
    arn = f"{ARN}:event-bus/own"
    assert made == {
        "EventBusArn": arn,
        "Description": "mine",
        "DeadLetterConfig": {"Arn": SQS},
    }
    error = await refused(events, "CreateEventBus", Name="own")
    assert error.fields["code"] == "ResourceAlreadyExistsException"
    assert isinstance(error, PreconditionFailed)
    await events("UpdateEventBus", Name="own", Description="ours")
    found = less_times(await events("DescribeEventBus", Name=arn))
    known = {"Name": "own", "Arn": arn, "Description": "ours"}
    assert found == {**known, "DeadLetterConfig": {"Arn": SQS}}
    assert less_times(await events("DescribeEventBus"))["Arn"] == f"{ARN}:event-bus/default"
    listed = (await events("ListEventBuses", NamePrefix="o"))["EventBuses"]
    assert [less_times(one) for one in listed] == [known]
    first = await events("ListEventBuses", Limit=1)
    rest = await events("ListEventBuses", NextToken=first["NextToken"])
    assert [one["Name"] for one in first["EventBuses"] + rest["EventBuses"]] == ["default", "own"]

    rule = await events("PutRule", Name="r", EventPattern=PATTERN, EventBusName="own")
    assert rule["RuleArn"] == f"{ARN}:rule/own/r"
    assert "has rules" in (await refused(events, "DeleteEventBus", Name="own")).message
    await events("DeleteRule", Name="r", EventBusName="own")
    await events("DeleteEventBus", Name="own")
    await events("DeleteEventBus", Name="own")
    assert isinstance(await refused(events, "DescribeEventBus", Name="own"), NotFound)
    assert isinstance(await refused(events, "UpdateEventBus", Name="own"), NotFound)
    assert "Cannot delete" in (await refused(events, "DeleteEventBus", Name="default")).message
    assert (
        "KmsKeyIdentifier"
        in (await refused(events, "CreateEventBus", Name="k", KmsKeyIdentifier="k")).message
    )
    assert "must not contain '/'" in (await refused(events, "CreateEventBus", Name="a/b")).message


async def test_tags_of_rules_and_buses(events: EventStand) -> None:
    tags = [{"Key": "team", "Value": "a"}]
    rule = (await events("PutRule", Name="r", EventPattern=PATTERN, Tags=tags))["RuleArn"]
    for arn, before in ((rule, tags), (f"{ARN}:event-bus/default", [])):
        assert (await events("ListTagsForResource", ResourceARN=arn)).get("Tags", []) == before
        more = [{"Key": "team", "Value": "b"}, {"Key": "cost", "Value": ""}]
        await events("TagResource", ResourceARN=arn, Tags=more)
        found = (await events("ListTagsForResource", ResourceARN=arn))["Tags"]
        assert found == [more[1], more[0]]
        await events("UntagResource", ResourceARN=arn, TagKeys=["team", "none"])
        assert (await events("ListTagsForResource", ResourceARN=arn))["Tags"] == [more[1]]

    many = [{"Key": f"k{number}", "Value": ""} for number in range(50)]
    error = await refused(events, "TagResource", ResourceARN=rule, Tags=many)
    assert "more than 50 tags" in error.message
    error = await refused(
        events, "TagResource", ResourceARN=rule, Tags=[{"Key": "aws:x", "Value": ""}]
    )
    assert "reserved prefix" in error.message
    for arn, kind in ((f"{ARN}:rule/none", NotFound), (f"{ARN}:event-bus/none", NotFound)):
        assert isinstance(await refused(events, "ListTagsForResource", ResourceARN=arn), kind)
    assert (
        "ResourceARN is not valid"
        in (await refused(events, "ListTagsForResource", ResourceARN=QUEUE)).message
    )


# ------------------------------------------------------------------ connections, API destinations

BASIC: Json = {"BasicAuthParameters": {"Username": "me", "Password": "hush-1"}}
HTTP: Json = {
    "HeaderParameters": [
        {"Key": "X-Team", "Value": "a", "IsValueSecret": False},
        {"Key": "X-Token", "Value": "hush-2", "IsValueSecret": True},
    ],
    "QueryStringParameters": [{"Key": "v", "Value": "1"}],
    "BodyParameters": [{"Key": "s", "Value": "hush-3", "IsValueSecret": True}],
}
OAUTH: Json = {
    "OAuthParameters": {
        "ClientParameters": {"ClientID": "id", "ClientSecret": "hush-4"},
        "AuthorizationEndpoint": "https://login.example/token",
        "HttpMethod": "POST",
        "OAuthHttpParameters": {"BodyParameters": [HTTP["BodyParameters"][0]]},
    }
}
API_KEY: Json = {"ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "hush-5"}}


def is_private(path: Path) -> bool:
    return path.stat().st_mode & 0o077 == 0


async def secret_of(events: EventStand, name: str, key_path: Path) -> Json:
    sealed = await events.conn.fetchval(
        "SELECT secret FROM event_connections WHERE name = $1", name
    )
    return Sealer(key_path).unseal(sealed)


async def test_secrets_of_a_connection_are_written_and_never_read(
    events: EventStand, key_path: Path
) -> None:
    for kind, parameters in (
        ("BASIC", BASIC),
        ("OAUTH_CLIENT_CREDENTIALS", OAUTH),
        ("API_KEY", API_KEY),
    ):
        given = {**parameters, "InvocationHttpParameters": HTTP}
        made = await events(
            "CreateConnection", Name=kind, AuthorizationType=kind, AuthParameters=given
        )
        assert made["ConnectionState"] == "AUTHORIZED"
        found = await events("DescribeConnection", Name=kind)
        assert (found["ConnectionArn"], found["AuthorizationType"]) == (made["ConnectionArn"], kind)
        assert "hush" not in repr(found)
        assert found["AuthParameters"]["InvocationHttpParameters"]["HeaderParameters"] == [
            HTTP["HeaderParameters"][0],
            {"Key": "X-Token", "IsValueSecret": True},
        ]
        secret = await secret_of(events, kind, key_path)
        assert len([value for value in secret.values() if value.startswith("hush")]) >= 3
    rows = await events.conn.fetch("SELECT * FROM event_connections")
    assert "hush" not in repr([dict(row) for row in rows])
    assert is_private(key_path)


async def test_a_connection_is_changed_member_by_member(events: EventStand, key_path: Path) -> None:
    await events("CreateConnection", Name="c", AuthorizationType="BASIC", AuthParameters=BASIC)
    await events("UpdateConnection", Name="c", Description="d")
    await events(
        "UpdateConnection", Name="c", AuthParameters={"BasicAuthParameters": {"Username": "you"}}
    )
    assert await secret_of(events, "c", key_path) == {"BasicAuthParameters/Password": "hush-1"}
    await events("UpdateConnection", Name="c", AuthorizationType="API_KEY", AuthParameters=API_KEY)
    assert await secret_of(events, "c", key_path) == {"ApiKeyAuthParameters/ApiKeyValue": "hush-5"}
    found = await events("DescribeConnection", Name="c")
    assert found["AuthParameters"] == {"ApiKeyAuthParameters": {"ApiKeyName": "X-Key"}}

    assert (await events("DeauthorizeConnection", Name="c"))["ConnectionState"] == "DEAUTHORIZED"
    assert await secret_of(events, "c", key_path) == {}
    listed = await events("ListConnections", ConnectionState="DEAUTHORIZED", NamePrefix="c")
    assert [one["Name"] for one in listed["Connections"]] == ["c"]
    assert await events("ListConnections", ConnectionState="AUTHORIZED") == {}
    # What was forgotten has to come whole.
    error = await refused(events, "UpdateConnection", Name="c", AuthorizationType="BASIC")
    assert error.fields["member"] == "AuthParameters.BasicAuthParameters"
    again = await events("UpdateConnection", Name="c", AuthParameters=API_KEY)
    assert again["ConnectionState"] == "AUTHORIZED"

    deleted = await events("DeleteConnection", Name="c")
    assert deleted["ConnectionArn"] == found["ConnectionArn"]
    for operation in (
        *("DescribeConnection", "UpdateConnection", "DeauthorizeConnection", "DeleteConnection"),
    ):
        assert isinstance(await refused(events, operation, Name="c"), NotFound)


async def test_secrets_whose_key_is_lost_are_set_anew(events: EventStand, key_path: Path) -> None:
    await events("CreateConnection", Name="c", AuthorizationType="BASIC", AuthParameters=BASIC)
    await asyncio.to_thread(key_path.unlink)
    name = {"BasicAuthParameters": {"Username": "you"}}
    error = await refused(events, "UpdateConnection", Name="c", AuthParameters=name)
    assert "set the secrets anew with UpdateConnection" in error.message
    await events("UpdateConnection", Name="c", AuthParameters=BASIC)
    assert await secret_of(events, "c", key_path) == {"BasicAuthParameters/Password": "hush-1"}


WRONG_CONNECTIONS: list[tuple[Json, str]] = [
    ({"AuthorizationType": "BASIC", "AuthParameters": BASIC}, "Name"),
    ({"Name": "c", "AuthParameters": BASIC}, "AuthorizationType"),
    ({"Name": "c", "AuthorizationType": "NONE", "AuthParameters": BASIC}, "AuthorizationType"),
    ({"Name": "c", "AuthorizationType": "BASIC"}, "AuthParameters"),
    (
        {"Name": "c", "AuthorizationType": "BASIC", "AuthParameters": API_KEY},
        "AuthParameters.BasicAuthParameters",
    ),
    (
        {"Name": "c", "AuthorizationType": "BASIC", "AuthParameters": {**BASIC, **API_KEY}},
        "AuthParameters.ApiKeyAuthParameters",
    ),
    (
        {
            "Name": "c",
            "AuthorizationType": "BASIC",
            "AuthParameters": {"BasicAuthParameters": {"Username": "a:b", "Password": "x"}},
        },
        "AuthParameters.BasicAuthParameters.Username",
    ),
    (
        {
            "Name": "c",
            "AuthorizationType": "BASIC",
            "AuthParameters": {
                **BASIC,
                "InvocationHttpParameters": {
                    "HeaderParameters": [{"Key": "a", "Value": "b\r\nc: d"}]
                },
            },
        },
        "AuthParameters.InvocationHttpParameters.HeaderParameters[0].Value",
    ),
    (
        {
            "Name": "c",
            "AuthorizationType": "BASIC",
            "AuthParameters": {
                **BASIC,
                "InvocationHttpParameters": {
                    "HeaderParameters": [{"Key": "Transfer-Encoding", "Value": "chunked"}]
                },
            },
        },
        "AuthParameters.InvocationHttpParameters.HeaderParameters[0].Key",
    ),
    (
        {
            "Name": "c",
            "AuthorizationType": "OAUTH_CLIENT_CREDENTIALS",
            "AuthParameters": {
                "OAuthParameters": {
                    **OAUTH["OAuthParameters"],
                    "AuthorizationEndpoint": "ftp://x",
                }
            },
        },
        "AuthParameters.OAuthParameters.AuthorizationEndpoint",
    ),
    (
        {
            "Name": "c",
            "AuthorizationType": "BASIC",
            "AuthParameters": BASIC,
            "InvocationConnectivityParameters": {
                "ResourceParameters": {"ResourceConfigurationArn": "x"}
            },
        },
        "InvocationConnectivityParameters",
    ),
]


async def test_a_wrong_connection_is_refused_by_its_member(events: EventStand) -> None:
    for members, member in WRONG_CONNECTIONS:
        error = await refused(events, "CreateConnection", **members)
        assert error.fields["member"] == member
    assert await events("ListConnections") == {}


async def test_api_destinations(events: EventStand) -> None:
    made = await events(
        "CreateConnection", Name="c", AuthorizationType="BASIC", AuthParameters=BASIC
    )
    members = {
        "Name": "d",
        "ConnectionArn": made["ConnectionArn"],
        "InvocationEndpoint": "https://hooks.example/*",
        "HttpMethod": "POST",
    }
    arn = (await events("CreateApiDestination", **members))["ApiDestinationArn"]
    error = await refused(events, "CreateApiDestination", **members)
    assert error.fields["code"] == "ResourceAlreadyExistsException"
    found = less_times(await events("DescribeApiDestination", Name="d"))
    assert found == {
        **members,
        "ApiDestinationArn": arn,
        "ApiDestinationState": "ACTIVE",
        "InvocationRateLimitPerSecond": 300,
    }
    assert (
        "is used by API destination d"
        in (await refused(events, "DeleteConnection", Name="c")).message
    )
    await events.conn.execute("UPDATE event_api_destinations SET state = 'INACTIVE'")
    await events("UpdateApiDestination", Name="d", HttpMethod="PUT", InvocationRateLimitPerSecond=1)
    listed = await events("ListApiDestinations", ConnectionArn=made["ConnectionArn"])
    assert [less_times(one) for one in listed["ApiDestinations"]] == [
        {**found, "HttpMethod": "PUT", "InvocationRateLimitPerSecond": 1}
    ]
    await events("PutRule", Name="r", EventPattern=PATTERN)
    http = {"PathParameterValues": ["$.detail.jobId"], "HeaderParameters": {"X-A": "b"}}
    target = {"Id": "t", "Arn": arn, "HttpParameters": http}
    assert (await events("PutTargets", Rule="r", Targets=[target]))["FailedEntryCount"] == 0

    await events("DeleteApiDestination", Name="d")
    for operation in ("DescribeApiDestination", "UpdateApiDestination", "DeleteApiDestination"):
        assert isinstance(await refused(events, operation, Name="d"), NotFound)
    for change, says in (
        ({"ConnectionArn": QUEUE}, "ConnectionArn is not valid"),
        ({"ConnectionArn": f"{ARN}:connection/c/x"}, "does not exist"),
        ({"InvocationEndpoint": "https://me@x"}, "InvocationEndpoint must be a URL"),
        ({"InvocationEndpoint": "https://*/x"}, "InvocationEndpoint must be a URL"),
        ({"HttpMethod": "TRACE"}, "enum value set"),
        ({"InvocationRateLimitPerSecond": 0}, "greater than or equal to 1"),
    ):
        assert (
            says in (await refused(events, "CreateApiDestination", **{**members, **change})).message
        )
    await events("DeleteConnection", Name="c")


# ----------------------------------------------------------------------------- archives, replays


async def test_archives_and_replays(events: EventStand, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_: ReplayRuns) -> None:
        """Else one that has nothing to replay may be over before it is looked at."""

    monkeypatch.setattr(ReplayRuns, "tick", nothing)
    bus = f"{ARN}:event-bus/default"
    made = await events("CreateArchive", ArchiveName="a", EventSourceArn=bus, EventPattern=PATTERN)
    arn = f"{ARN}:archive/a"
    assert (made["ArchiveArn"], made["State"]) == (arn, "ENABLED")
    error = await refused(events, "CreateArchive", ArchiveName="a", EventSourceArn=bus)
    assert error.fields["code"] == "ResourceAlreadyExistsException"
    await events("UpdateArchive", ArchiveName="a", RetentionDays=7, Description="week")
    found = less_times(await events("DescribeArchive", ArchiveName="a"))
    assert found == {
        "ArchiveArn": arn,
        "ArchiveName": "a",
        "EventSourceArn": bus,
        "EventPattern": PATTERN,
        "Description": "week",
        "State": "ENABLED",
        "RetentionDays": 7,
    }
    listed = await events("ListArchives", EventSourceArn=bus)
    assert [one["ArchiveName"] for one in listed["Archives"]] == ["a"]
    assert await events("ListArchives", State="DISABLED") == {}
    assert (
        "At most one filter"
        in (await refused(events, "ListArchives", State="ENABLED", NamePrefix="a")).message
    )

    members = {
        "ReplayName": "p",
        "EventSourceArn": arn,
        "EventStartTime": 1_795_867_360.0,
        "EventEndTime": 1_795_867_460.0,
        "Destination": {"Arn": bus},
    }
    started = await events("StartReplay", **members)
    assert (started["ReplayArn"], started["State"]) == (f"{ARN}:replay/p", "STARTING")
    error = await refused(events, "StartReplay", **members)
    assert error.fields["code"] == "ResourceAlreadyExistsException"
    described = await events("DescribeReplay", ReplayName="p")
    assert described.items() >= members.items()
    assert (await events("ListReplays", State="STARTING"))["Replays"][0]["ReplayName"] == "p"
    assert (await events("ListReplays", EventSourceArn=arn))["Replays"][0]["ReplayName"] == "p"
    assert (await events("CancelReplay", ReplayName="p"))["State"] == "CANCELLING"
    error = await refused(events, "CancelReplay", ReplayName="p")
    assert error.fields["code"] == "IllegalStatusException"

    await events("CreateEventBus", Name="own")
    for change, says in (
        ({"EventEndTime": 1.0}, "EventStartTime must be before EventEndTime"),
        ({"EventEndTime": 1e300}, "EventEndTime is not valid"),
        ({"EventSourceArn": bus}, "not the ARN of an archive"),
        ({"EventSourceArn": f"{arn}x"}, "Archive ax does not exist."),
        ({"Destination": {"Arn": f"{ARN}:event-bus/own"}}, "Cross event bus replay"),
        ({"Destination": {"Arn": bus, "FilterArns": [QUEUE]}}, "FilterArns[0] is not valid"),
        (
            {"Destination": {"Arn": bus, "FilterArns": [f"{ARN}:rule/none"]}},
            "Rule none does not exist",
        ),
    ):
        error = await refused(events, "StartReplay", **{**members, "ReplayName": "q", **change})
        assert says in error.message

    await events("DeleteArchive", ArchiveName="a")
    for operation in ("DescribeArchive", "UpdateArchive", "DeleteArchive"):
        assert isinstance(await refused(events, operation, ArchiveName="a"), NotFound)
    for operation in ("DescribeReplay", "CancelReplay"):
        assert isinstance(await refused(events, operation, ReplayName="none"), NotFound)
    for change, says in (
        ({"ArchiveName": "a" * 49}, "less than or equal to 48"),
        ({"EventSourceArn": arn}, "not the ARN of an event-bus"),
        ({"EventSourceArn": f"{bus}x"}, "Event bus defaultx does not exist."),
        ({"EventPattern": "{}"}, "Empty objects are not allowed"),
        ({"RetentionDays": -1}, "greater than or equal to 0"),
    ):
        members = {"ArchiveName": "b", "EventSourceArn": bus, **change}
        assert says in (await refused(events, "CreateArchive", **members)).message


async def test_a_token_of_another_listing_is_refused(events: EventStand) -> None:
    await events("CreateEventBus", Name="own")
    token = (await events("ListEventBuses", Limit=1))["NextToken"]
    for operation, members in (
        ("ListRules", {}),
        ("ListConnections", {}),
        ("ListArchives", {}),
        ("ListReplays", {}),
        ("ListApiDestinations", {}),
        ("ListRuleNamesByTarget", {"TargetArn": SQS}),
    ):
        error = await refused(events, operation, NextToken=token, **members)
        assert "nextToken is not one that this listing gave" in error.message
        error = await refused(events, operation, Limit=101, **members)
        assert "less than or equal to 100" in error.message


# ------------------------------------------------------------------------------------ put events


def an_event(**members: Any) -> Json:
    return {"Source": "com.example", "DetailType": "t", "Detail": '{"a": 1}', **members}


async def test_events_are_taken_in_each_by_itself(events: EventStand) -> None:
    answer = await events(
        "PutEvents",
        Entries=[
            an_event(Time=1_795_867_360.5, Resources=["arn:x"]),
            an_event(Source="aws.batch"),
            an_event(Detail="[]"),
            an_event(Detail='{"a": ' * 200 + "1" + "}" * 200),
            an_event(Detail='{"a": NaN}'),
            an_event(Detail=""),
            an_event(EventBusName="none"),
            {"Source": "x"},
            an_event(Time=-1.0),
            an_event(),
        ],
    )
    assert answer["FailedEntryCount"] == 8
    assert [entry.get("ErrorCode") for entry in answer["Entries"]] == [
        None,
        "NotAuthorizedForSourceException",
        "MalformedDetail",
        "MalformedDetail",
        "MalformedDetail",
        "InvalidArgument",
        "ResourceNotFoundException",
        "InvalidArgument",
        "InvalidArgument",
        None,
    ]
    ids = [entry["EventId"] for entry in answer["Entries"] if "EventId" in entry]
    assert len(set(ids)) == 2
    rows = await events.conn.fetch("SELECT body FROM outbox WHERE kind = 'PUT' ORDER BY event_id")
    assert json.loads(rows[0]["body"]) == {
        "bus": "default",
        "source": "com.example",
        "detail-type": "t",
        "time": "2026-11-28T12:02:40Z",
        "resources": ["arn:x"],
        "detail": {"a": 1},
    }
    assert len(rows) == 2


async def test_a_request_of_events_that_is_wrong_is_refused_whole(events: EventStand) -> None:
    for entries, says in (
        ([], "greater than or equal to 1"),
        ([an_event()] * 11, "less than or equal to 10"),
        ([an_event(Detail='{"a": "' + "x" * 110_000 + '"}')] * 10, "over the limit"),
        ([an_event(EventBusName="a b")], "regular expression"),
        ([an_event(TraceHeader="x")], "Entries[0].TraceHeader is not supported"),
    ):
        assert says in (await refused(events, "PutEvents", Entries=entries)).message
    assert await events.conn.fetchval("SELECT count(*) FROM outbox") == 0
