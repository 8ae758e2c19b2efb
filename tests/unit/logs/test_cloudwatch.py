"""CloudWatch Logs through AWS's own client: groups, streams, events."""

import asyncio
import time
from itertools import chain
from typing import Any

import pytest
from botocore.exceptions import ClientError
from unit.logs.conftest import BEGIN, REGION, Logs

from longshore.logs.cloudwatch.groups import Groups
from longshore.logs.reader import read_entries
from longshore.v1 import cloudwatch_logs_service_pb2 as pb

STREAM = "train/default/0123456789abcdef0123456789abcdef"
JOBS = "/aws/batch/job"


async def refused(logs: Logs, operation: str, **parameters: Any) -> tuple[str, str]:
    """Code and message of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        await logs.call(operation, **parameters)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


async def test_what_a_job_printed(logs: Logs) -> None:
    await logs.prints(STREAM, "one", "", "two")
    answer = await logs.call("get_log_events", logGroupName=JOBS, logStreamName=STREAM)
    assert [(e["timestamp"], e["message"]) for e in answer["events"]] == [
        (BEGIN, "one"),
        (BEGIN + 2, "two"),
    ]
    assert abs(answer["events"][0]["ingestionTime"] - time.time() * 1000) < 600_000
    assert answer["nextForwardToken"][:2] == "f/"
    assert answer["nextBackwardToken"] == f"b/{0:056d}/s"


async def test_pages_of_a_stream(logs: Logs) -> None:
    """Forwards until the token repeats, backwards until nothing comes, on when more is there."""
    await logs.prints(STREAM, *(f"line {index}" for index in range(10)))
    names: dict[str, Any] = {"logGroupName": JOBS, "logStreamName": STREAM, "limit": 4}

    async def walk(member: str, **first: Any) -> list[list[str]]:
        pages, token = [], None
        while True:
            given = first if token is None else {"nextToken": token}
            answer = await logs.call("get_log_events", **names, **given)
            if token == answer[member]:
                return pages
            pages.append([event["message"] for event in answer["events"]])
            token = answer[member]

    forward = await walk("nextForwardToken", startFromHead=True)
    assert [len(page) for page in forward] == [4, 4, 2]
    assert list(chain(*forward)) == [f"line {index}" for index in range(10)]
    backward = await walk("nextBackwardToken")
    assert [len(page) for page in backward] == [4, 4, 2]
    assert list(chain(*reversed(backward))) == list(chain(*forward))
    last = await logs.call("get_log_events", **names)
    await logs.prints(STREAM, "later", at=10)
    more = await logs.call("get_log_events", **names, nextToken=last["nextForwardToken"])
    assert [event["message"] for event in more["events"]] == ["later"]


async def test_events_of_a_time(logs: Logs) -> None:
    await logs.prints(STREAM, *(f"{index}" for index in range(10)))
    names = {"logGroupIdentifier": JOBS, "logStreamName": STREAM}
    window = {"startTime": BEGIN + 3, "endTime": BEGIN + 5}
    for head in (False, True):
        answer = await logs.call("get_log_events", **names, **window, startFromHead=head)
        assert [event["message"] for event in answer["events"]] == ["3", "4"]
    window = {"startTime": BEGIN + 100}
    answer = await logs.call("get_log_events", **names, **window)
    assert answer["events"] == []
    again = await logs.call(
        "get_log_events", **names, **window, nextToken=answer["nextForwardToken"]
    )
    assert again["nextForwardToken"] == answer["nextForwardToken"]


async def test_what_is_no_utf_8_and_what_was_never_ended(logs: Logs) -> None:
    log = await logs.store.log(STREAM)
    line = b"2026-11-22T11:47:16.1Z stdout %s %s\n"
    data = line % (b"F", b"\xff\0") + line % (b"P", b"no ") + line % (b"P", b"end")
    await logs.store.append(log, 0, data)
    names = {"logGroupName": JOBS, "logStreamName": STREAM}
    answer = await logs.call("get_log_events", **names)
    assert [event["message"] for event in answer["events"]] == ["\ufffd\0"]
    await logs.store.append(log, len(data), b"", complete=True)
    answer = await logs.call("get_log_events", **names)
    assert [event["message"] for event in answer["events"]] == ["\ufffd\0", "no end"]
    answer = await logs.call("get_log_events", **names, nextToken=answer["nextForwardToken"])
    assert answer["events"] == []


@pytest.mark.parametrize(
    ("parameters", "code", "says"),
    [
        ({"logStreamName": "none"}, "ResourceNotFoundException", "specified log stream does not"),
        ({"logGroupName": "/none"}, "ResourceNotFoundException", "specified log group does not"),
        ({"logGroupName": "a b"}, "InvalidParameterException", "logGroupName must have"),
        ({"logStreamName": "a:b"}, "InvalidParameterException", "none of them : or *"),
        ({"logGroupIdentifier": JOBS}, "InvalidParameterException", "Exactly one of"),
        ({"nextToken": "x"}, "InvalidParameterException", "The specified nextToken is invalid."),
        ({"nextToken": f"f/{'9' * 56}/s"}, "InvalidParameterException", "nextToken is invalid."),
        ({"limit": 10001}, "InvalidParameterException", "Value '10001' at 'limit' failed to"),
        ({"startTime": -1}, "InvalidParameterException", "greater than or equal to 0"),
    ],
)
async def test_what_is_refused_of_a_page(
    logs: Logs, parameters: dict[str, Any], code: str, says: str
) -> None:
    await logs.prints(STREAM, "x")
    whole = {"logGroupName": JOBS, "logStreamName": STREAM} | parameters
    found = await refused(logs, "get_log_events", **whole)
    assert found[0] == code
    assert says in found[1]


async def test_groups(logs: Logs) -> None:
    await logs.call("create_log_group", logGroupName="/app", tags={"team": "a"})
    assert (await refused(logs, "create_log_group", logGroupName="/app")) == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    await logs.call("put_retention_policy", logGroupName="/app", retentionInDays=7)
    code, text = await refused(logs, "put_retention_policy", logGroupName="/app", retentionInDays=2)
    assert (code, "must be one of" in text) == ("InvalidParameterException", True)
    await logs.prints(STREAM, "x", group="/app")
    (page,) = await logs.pages("describe_log_groups", logGroupNamePrefix="/app")
    (group,) = page["logGroups"]
    arn = f"arn:aws:logs:{REGION}:123456789012:log-group:/app"
    assert (group["arn"], group["logGroupArn"]) == (f"{arn}:*", arn)
    assert (group["retentionInDays"], group["storedBytes"]) == (7, 42)
    assert (group["metricFilterCount"], group["logGroupClass"]) == (0, "STANDARD")
    await logs.call("delete_retention_policy", logGroupName="/app")
    await logs.call("tag_resource", resourceArn=f"{arn}:*", tags={"x": "y"})
    await logs.call("untag_resource", resourceArn=arn, tagKeys=["team", "none"])
    assert (await logs.call("list_tags_for_resource", resourceArn=arn))["tags"] == {"x": "y"}
    answer = await logs.call("describe_log_groups", logGroupNamePattern="AP")
    assert "retentionInDays" not in answer["logGroups"][0]
    pages = await logs.pages("describe_log_groups", PaginationConfig={"PageSize": 2})
    names = [[group["logGroupName"] for group in page["logGroups"]] for page in pages]
    assert names == [["/app", JOBS], ["/longshore/agent"]]
    await logs.call("delete_log_group", logGroupName="/app")
    for operation, parameters in (
        ("delete_log_group", {"logGroupName": "/app"}),
        ("list_tags_for_resource", {"resourceArn": arn}),
        ("get_log_events", {"logGroupName": "/app", "logStreamName": STREAM}),
    ):
        assert (await refused(logs, operation, **parameters))[0] == "ResourceNotFoundException"


async def test_a_group_that_a_job_names_is_created(logs: Logs) -> None:
    """The same stream may be in two groups."""
    await logs.prints(STREAM, "one")
    await logs.prints(STREAM, "two", group="/team/jobs")
    for group, message in ((JOBS, "one"), ("/team/jobs", "two")):
        answer = await logs.call("get_log_events", logGroupName=group, logStreamName=STREAM)
        assert [event["message"] for event in answer["events"]] == [message]
    await logs.call("delete_log_group", logGroupName=JOBS)
    assert (await logs.call("describe_log_streams", logGroupName=JOBS))["logStreams"] == []
    await logs.prints(STREAM, "again")
    await logs.prints(f"next/default/{2:032x}", "more")
    (stream,) = (await logs.call("describe_log_streams", logGroupName=JOBS))["logStreams"]
    assert stream["logStreamName"] == f"next/default/{2:032x}"
    await logs.call("delete_log_group", logGroupName="/team/jobs")
    await logs.prints(STREAM, "again", group="/team/jobs")
    assert not (await logs.call("describe_log_groups", logGroupNamePrefix="/team"))["logGroups"]


async def test_streams(logs: Logs) -> None:
    for index, name in enumerate(("c", "a", "b")):
        await logs.prints(f"{name}/default/{index:032x}", "first", "last", at=index * 10)
    await logs.call("create_log_stream", logGroupName=JOBS, logStreamName="empty")
    (page,) = await logs.pages("describe_log_streams", logGroupName=JOBS)
    assert [stream["logStreamName"][0] for stream in page["logStreams"]] == ["a", "b", "c", "e"]
    first = page["logStreams"][0]
    assert (first["firstEventTimestamp"], first["lastEventTimestamp"]) == (BEGIN + 10, BEGIN + 11)
    assert first["arn"].endswith(f"log-group:{JOBS}:log-stream:a/default/{1:032x}")
    assert first["storedBytes"] == 0
    assert first["creationTime"] <= first["lastIngestionTime"]
    assert "firstEventTimestamp" not in page["logStreams"][3]
    pages = await logs.pages(
        "describe_log_streams",
        logGroupName=JOBS,
        orderBy="LastEventTime",
        descending=True,
        PaginationConfig={"PageSize": 3},
    )
    names = [[stream["logStreamName"][0] for stream in page["logStreams"]] for page in pages]
    assert names == [["b", "a", "c"], ["e"]]
    answer = await logs.call("describe_log_streams", logGroupName=JOBS, logStreamNamePrefix="b/")
    assert len(answer["logStreams"]) == 1
    names = {"logGroupName": JOBS, "logStreamName": f"b/default/{2:032x}"}
    await logs.call("delete_log_stream", **names)
    assert (await refused(logs, "delete_log_stream", **names))[0] == "ResourceNotFoundException"
    code, _ = await refused(
        logs,
        "describe_log_streams",
        logGroupName=JOBS,
        logStreamNamePrefix="b",
        orderBy="LastEventTime",
    )
    assert code == "InvalidParameterException"


async def test_events_that_callers_put(logs: Logs) -> None:
    names = {"logGroupName": JOBS, "logStreamName": "mine"}
    await logs.call("create_log_stream", **names)
    assert (await refused(logs, "create_log_stream", **names))[1] == (
        "The specified log stream already exists"
    )
    now = int(time.time() * 1000)
    day = 24 * 3600 * 1000
    messages = ["two\nlines\n\n", "x" * 40_000, " ", "größe\t\u2028"]
    events = [{"timestamp": now + index, "message": m} for index, m in enumerate(messages)]
    answer = await logs.call("put_log_events", **names, logEvents=events)
    assert answer["nextSequenceToken"]
    assert "rejectedLogEventsInfo" not in answer
    old, new = now - 15 * day, now + 3 * 3600 * 1000
    for event, info in (
        ({"timestamp": old, "message": "old"}, {"tooOldLogEventEndIndex": 1}),
        ({"timestamp": new, "message": "new"}, {"tooNewLogEventStartIndex": 0}),
    ):
        answer = await logs.call("put_log_events", **names, logEvents=[event])
        assert answer["rejectedLogEventsInfo"] == info
    found = await logs.call("get_log_events", **names)
    assert [event["message"] for event in found["events"]] == messages
    assert [event["timestamp"] for event in found["events"]] == [e["timestamp"] for e in events]


@pytest.mark.parametrize(
    "message",
    ["x" * 1_048_550, "\n" * 500_000, "a\0b", "line\n" * 60_000, "größe 🙂\n" * 40_000],
    ids=["long", "breaks", "NUL", "lines", "smiles"],
)
async def test_one_event_stays_one_whatever_it_is(logs: Logs, message: str) -> None:
    names = {"logGroupName": JOBS, "logStreamName": "mine"}
    await logs.call("create_log_stream", **names)
    now = int(time.time() * 1000)
    event = {"timestamp": now, "message": message}
    await logs.call("put_log_events", **names, logEvents=[event])
    found = (await logs.call("get_log_events", **names))["events"]
    assert [(each["timestamp"], each["message"] == message) for each in found] == [(now, True)]
    log = await logs.store.log("mine")
    entries, _ = read_entries(log.read, 0, log.stored)
    assert b"".join(each.text for each in entries)[:100] == message.encode()[:100]


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([(5, "b"), (4, "a")], "chronological"),
        ([(0, "a"), (90_000_000, "b")], "24 hours"),
        ([(0, "x" * 130_000)] * 9, "Upload too large"),
        ([(0, "x" * 1_048_551)], "Upload too large"),
    ],
)
async def test_what_is_refused_of_events(
    logs: Logs, events: list[tuple[int, str]], says: str
) -> None:
    names = {"logGroupName": JOBS, "logStreamName": "mine"}
    await logs.call("create_log_stream", **names)
    now = int(time.time() * 1000)
    found = await refused(
        logs,
        "put_log_events",
        **names,
        logEvents=[{"timestamp": now + ms, "message": text} for ms, text in events],
    )
    assert found[0] == "InvalidParameterException"
    assert says in found[1]


async def test_nobody_writes_what_longshore_writes(logs: Logs) -> None:
    await logs.prints(STREAM, "x")
    event = {"timestamp": int(time.time() * 1000), "message": "forged"}
    for operation, parameters in (
        ("put_log_events", {"logStreamName": STREAM, "logEvents": [event]}),
        ("create_log_stream", {"logStreamName": f"other/default/{1:032x}"}),
    ):
        code, _ = await refused(logs, operation, logGroupName=JOBS, **parameters)
        assert code == "InvalidParameterException"


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("tag_log_group", {"logGroupName": JOBS, "tags": {"a": "b"}}),
        ("create_log_group", {"logGroupName": "/k", "kmsKeyId": "arn:aws:kms:x"}),
        ("create_log_group", {"logGroupName": "/k", "logGroupClass": "INFREQUENT_ACCESS"}),
        ("describe_log_groups", {"includeLinkedAccounts": True}),
    ],
)
async def test_what_longshore_does_not_do_is_refused_by_name(
    logs: Logs, operation: str, parameters: dict[str, Any]
) -> None:
    code, text = await refused(logs, operation, **parameters)
    assert (code, "is not supported" in text) == ("InvalidParameterException", True)


async def test_changes_of_a_group_at_one_time_all_have_effect(logs: Logs) -> None:
    """None of them writes what another one has changed meanwhile."""
    groups = Groups(logs.store)
    await groups.create_group(pb.CreateLogGroupRequest(log_group_name="/team"))
    arn = f"arn:aws:logs:{REGION}:123456789012:log-group:/team"
    tagging = [groups.tag(arn, {f"key{index}": "x"}) for index in range(10)]
    await asyncio.gather(groups.set_retention("/team", 7), *tagging, groups.untag(arn, ["key0"]))
    assert set(groups.tags(arn)) == {f"key{index}" for index in range(1, 10)}
    assert logs.store.catalogue.groups["/team"].retention_days == 7
