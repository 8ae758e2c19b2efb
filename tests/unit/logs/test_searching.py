"""FilterLogEvents: what matches, of many streams, each event once and in order."""

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from unit.logs.conftest import BEGIN, Logs

from longshore.logs.cloudwatch import searching

JOBS = "/aws/batch/job"


def stream(index: int) -> str:
    return f"job/default/{index:032x}"


async def found(logs: Logs, **parameters: Any) -> list[dict[str, Any]]:
    """The events of all pages."""
    pages = await logs.pages("filter_log_events", logGroupName=JOBS, **parameters)
    assert all(page["searchedLogStreams"] == [] for page in pages)
    return [event for page in pages for event in page["events"]]


def messages(events: list[dict[str, Any]]) -> list[str]:
    return [event["message"] for event in events]


async def test_streams_are_merged_by_time(logs: Logs) -> None:
    for index in range(3):
        for at in range(4):
            await logs.prints(stream(index), f"{index} at {at}", at=at * 10 + index)
    events = await found(logs)
    assert messages(events) == [f"{index} at {at}" for at in range(4) for index in range(3)]
    assert [e["eventId"] for e in events] == sorted({e["eventId"] for e in events})
    assert {len(event["eventId"]) for event in events} == {56}
    assert (events[0]["logStreamName"], events[0]["timestamp"]) == (stream(0), BEGIN)
    backwards = await found(logs, startFromHead=False)
    assert backwards == events[::-1]
    some = await found(logs, logStreamNames=[stream(1)], filterPattern='"at 2"')
    assert messages(some) == ["1 at 2"]
    window = {"startTime": BEGIN + 10, "endTime": BEGIN + 12}
    assert messages(await found(logs, **window)) == ["0 at 1", "1 at 1", "2 at 1"]
    prefix = stream(0)[:-1]
    assert len(await found(logs, logStreamNamePrefix=prefix)) == 12
    assert await found(logs, logStreamNamePrefix="none") == []


@pytest.mark.parametrize("newest_first", [False, True])
async def test_every_event_once_however_small_the_pages(
    logs: Logs, monkeypatch: pytest.MonkeyPatch, newest_first: bool
) -> None:
    """Also of one time, of more streams than are merged at once, in calls that get nowhere near."""
    monkeypatch.setattr(searching, "STREAMS", 3)
    expected = []
    for index in range(7):
        for at in range(3):
            await logs.prints(stream(index), f"{index} {at} a", f"{index} {at} b", at=at)
            expected += [f"{index} {at} a", f"{index} {at} b"]
    for limit, seconds in ((1, 0.5), (4, 0.5), (10_000, 0.0)):
        monkeypatch.setattr(searching, "SEARCH_SECONDS", seconds)
        paging = {"PageSize": limit}
        events = await found(logs, PaginationConfig=paging, startFromHead=not newest_first)
        assert sorted(messages(events)) == sorted(expected)
        assert len({event["eventId"] for event in events}) == len(expected)


@pytest.mark.parametrize("newest_first", [False, True])
async def test_a_call_ends_also_where_nothing_was_said_for_long(
    logs: Logs, monkeypatch: pytest.MonkeyPatch, newest_first: bool
) -> None:
    """Empty lines are no events, however many there are; each call gets on by so many bytes."""
    monkeypatch.setattr(searching, "SEARCH_SECONDS", 0.0)
    blank = b"2026-11-22T11:47:16.001000000Z stdout F \n" * 15_000
    for index in range(2):
        log = await logs.store.log(stream(index))
        for at in range(2):
            await logs.store.append(log, log.stored, blank)
            await logs.prints(stream(index), f"{index} {at}", at=2 + at * 2 + index)
            await logs.store.append(log, log.stored, blank)
    pages = await logs.pages("filter_log_events", logGroupName=JOBS, startFromHead=not newest_first)
    expected = ["0 0", "1 0", "0 1", "1 1"]
    texts = messages([event for page in pages for event in page["events"]])
    assert texts == (expected[::-1] if newest_first else expected)
    assert len(pages) > len(expected)
    window = {"startTime": BEGIN + 4, "endTime": BEGIN + 4}
    assert messages(await found(logs, **window)) == ["0 1"]


async def test_a_follower_sees_what_comes_in_between(logs: Logs) -> None:
    """As `aws logs tail --follow` asks: from the newest time on, told apart by eventId."""
    seen: dict[str, str] = {}
    since = BEGIN
    for step in range(4):
        for index in range(2):
            await logs.prints(stream(index), f"{index} {step}", at=step)
        events = await found(logs, startTime=since, interleaved=True)
        fresh = [event for event in events if event["eventId"] not in seen]
        assert messages(fresh) == [f"0 {step}", f"1 {step}"]
        seen |= {event["eventId"]: event["message"] for event in fresh}
        since = max(event["timestamp"] for event in events)


async def test_a_stream_that_grows_while_it_is_paged_through(logs: Logs) -> None:
    await logs.prints(stream(0), "a", "b")
    first = await logs.call("filter_log_events", logGroupName=JOBS, limit=1)
    await logs.prints(stream(0), "c", at=2)
    await logs.prints(stream(1), "d", at=3)
    rest, token = [], first["nextToken"]
    while token:
        page = await logs.call("filter_log_events", logGroupName=JOBS, nextToken=token)
        rest += messages(page["events"])
        token = page.get("nextToken")
    assert messages(first["events"]) + rest in (["a", "b", "c"], ["a", "b", "c", "d"])


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("ERROR -DEBUG", ["ERROR one"]),
        ("?one ?two", ["ERROR one", "two"]),
        ("%o[nw]%", ["ERROR one"]),
        ("{ $.n >= 2 }", ['{"n": 2}']),
    ],
)
async def test_patterns(logs: Logs, pattern: str, expected: list[str]) -> None:
    await logs.prints(stream(0), "ERROR one", "ERROR DEBUG", "two", '{"n": 2}', '{"n": 1}')
    assert messages(await found(logs, filterPattern=pattern)) == expected


@pytest.mark.parametrize(
    ("parameters", "code", "says"),
    [
        ({"filterPattern": "a-b"}, "InvalidParameterException", "Invalid filter pattern"),
        ({"filterPattern": "%[%"}, "InvalidParameterException", "Invalid filter pattern"),
        ({"filterPattern": "[a, b]"}, "InvalidParameterException", "spaces delimit"),
        ({"logStreamNames": ["none"]}, "ResourceNotFoundException", "log stream does not exist"),
        (
            {"logStreamNames": [stream(0)], "logStreamNamePrefix": "job"},
            "InvalidParameterException",
            "At most one of",
        ),
        ({"nextToken": "x"}, "InvalidParameterException", "nextToken"),
    ],
)
async def test_what_is_refused(
    logs: Logs, parameters: dict[str, Any], code: str, says: str
) -> None:
    await logs.prints(stream(0), "x")
    with pytest.raises(ClientError) as caught:
        await logs.call("filter_log_events", logGroupName=JOBS, **parameters)
    error = caught.value.response["Error"]
    assert error["Code"] == code
    assert says in error["Message"]


async def test_a_pattern_takes_no_longer_than_its_message(logs: Logs) -> None:
    """As an expression that other engines take for ever over."""
    await logs.prints(stream(0), "x" * 100_000)
    began = time.thread_time()
    assert await found(logs, filterPattern="%x*x*x*x*x*x*y%") == []
    assert time.thread_time() - began < 5
