"""The calls that known clients make of CloudWatch Logs, one after the other as they make them.

Where a client is too large to install whenever tests run, its sequence of calls stands here;
`make clients` runs the clients themselves.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from unit.logs.conftest import BEGIN, REGION, Logs

JOBS = "/aws/batch/job"
STREAM = f"train/default/{1:032x}"
LINES = [f"line {index}" for index in range(25)]


def airflow_log_events(client: Any, group: str, stream: str) -> Iterator[str]:
    """AwsLogsHook.get_log_events: until the token repeats, or after three empty pages."""
    token, empty = None, 0
    while True:
        more = {} if token is None else {"nextToken": token}
        answer = client.get_log_events(
            logGroupName=group,
            logStreamName=stream,
            startTime=0,
            startFromHead=True,
            limit=10,
            **more,
        )
        empty = 0 if answer["events"] else empty + 1
        yield from (event["message"] for event in answer["events"])
        if empty == 3 or token == answer["nextForwardToken"]:
            return
        token = answer["nextForwardToken"]


async def test_airflows_task_log_fetcher(logs: Logs) -> None:
    """A stream that is not there yet is an error that it knows; then all lines, and the last."""
    names = {"logGroupName": JOBS, "logStreamName": STREAM}
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        await logs.call("get_log_events", **names, startTime=0, startFromHead=True)
    await logs.prints(STREAM, *LINES)
    read = await asyncio.to_thread(lambda: list(airflow_log_events(logs.client, JOBS, STREAM)))
    assert read == LINES
    last = await logs.call("get_log_events", **names, startFromHead=False, limit=3)
    assert [event["message"] for event in last["events"]] == LINES[-3:]


async def test_torchx(logs: Logs) -> None:
    """Forwards within a time, until the token is the one that was passed."""
    await logs.prints(STREAM, *LINES)

    def read() -> Iterator[str]:
        more: dict[str, str] = {}
        while True:
            answer = logs.client.get_log_events(
                logGroupName=JOBS,
                logStreamName=STREAM,
                startFromHead=True,
                startTime=BEGIN + 5,
                endTime=BEGIN + 20,
                limit=10000,
                **more,
            )
            if answer["nextForwardToken"] == more.get("nextToken"):
                return
            yield from (event["message"] for event in answer["events"])
            more["nextToken"] = answer["nextForwardToken"]

    assert await asyncio.to_thread(lambda: list(read())) == LINES[5:20]


async def test_prefect_and_nextflow(logs: Logs) -> None:
    """One page: the last lines of one, the first page of the other."""
    await logs.prints(STREAM, *LINES, complete=True)
    names = {"logGroupName": JOBS, "logStreamName": STREAM}
    last = await logs.call("get_log_events", **names, limit=5, startFromHead=False)
    assert [event["message"] for event in last["events"]] == LINES[-5:]
    page = await logs.call("get_log_events", **names)
    assert [event["message"] for event in page["events"]] == LINES


async def test_nextstrain(logs: Logs) -> None:
    """The paginator again and again, from the last time on; events are told apart by eventId."""
    seen: dict[str, str] = {}
    since = 0
    for begin in range(0, 25, 5):
        await logs.prints(STREAM, *LINES[begin : begin + 5], at=begin)
        pages = await logs.pages(
            "filter_log_events", logGroupName=JOBS, logStreamNames=[STREAM], startTime=since
        )
        for event in (event for page in pages for event in page["events"]):
            seen.setdefault(event["eventId"], event["message"])
            since = event["timestamp"]
    assert list(seen.values()) == LINES


async def test_terraforms_log_group(logs: Logs) -> None:
    """Create, read, change, and destroy."""
    await logs.call("create_log_group", logGroupName="/tf", tags={"env": "test"})
    await logs.call("put_retention_policy", logGroupName="/tf", retentionInDays=14)
    found = await logs.call("describe_log_groups", logGroupNamePrefix="/tf")
    (group,) = [each for each in found["logGroups"] if each["logGroupName"] == "/tf"]
    assert group["retentionInDays"] == 14
    arn = group["arn"].removesuffix(":*")
    assert arn == f"arn:aws:logs:{REGION}:123456789012:log-group:/tf"
    await logs.call("tag_resource", resourceArn=arn, tags={"env": "prod"})
    assert (await logs.call("list_tags_for_resource", resourceArn=arn))["tags"] == {"env": "prod"}
    await logs.call("delete_log_group", logGroupName="/tf")
    found = await logs.call("describe_log_groups", logGroupNamePrefix="/tf")
    assert found["logGroups"] == []
