"""StartLiveTail through boto3's own event stream: what is stored from now on, each second."""

import asyncio
import gc
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp.base_protocol import BaseProtocol
from botocore.exceptions import ClientError, EventStreamError
from support.patience import PATIENCE_SECONDS
from unit.logs.conftest import BEGIN, REGION, Logs

from longshore.logs.cloudwatch import live_tail
from longshore.logs.store import LogStore, Watcher

#: For what comes by a signal.
LONG_SECONDS = 40
JOBS = "/aws/batch/job"
GROUP = f"arn:aws:logs:{REGION}:123456789012:log-group:{JOBS}"


def stream(index: int) -> str:
    return f"job/default/{index:032x}"


class Session:
    """A live tail as boto3 hands it out."""

    def __init__(self, answer: Any) -> None:
        self._events = answer["responseStream"]
        self._iterator: Iterator[Any] = iter(self._events)

    async def next(self) -> dict[str, Any]:
        """The next message, by its kind."""
        found: dict[str, Any] = await asyncio.to_thread(next, self._iterator)
        return found

    async def results(self, count: int) -> list[dict[str, Any]]:
        """As many events as are expected."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            found += (await self.next())["sessionUpdate"]["sessionResults"]
        return found

    def close(self) -> None:
        self._events.close()


#: Of one test, closed when all is over.
SESSIONS: list[Session] = []


async def begun(logs: Logs, **parameters: Any) -> Session:
    """A session that has begun."""
    whole = {"logGroupIdentifiers": [GROUP]} | parameters
    session = Session(await logs.call("start_live_tail", **whole))
    SESSIONS.append(session)
    start = (await session.next())["sessionStart"]
    assert start["logGroupIdentifiers"] == whole["logGroupIdentifiers"]
    assert start["sessionId"]
    assert start["requestId"]
    return session


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Updates come more often than they do for users."""
    monkeypatch.setattr(live_tail, "UPDATE_SECONDS", 0.05)
    yield
    while SESSIONS:
        SESSIONS.pop().close()


async def test_what_is_stored_from_now_on(logs: Logs) -> None:
    """Also of what goes on in lines that had begun before."""
    await logs.prints(stream(0), "before")
    log = await logs.store.log(stream(1))
    begin = b"2026-11-22T11:47:16.000Z stdout P begun "
    await logs.store.append(log, 0, begin)
    session = await begun(logs)
    assert not (await session.next())["sessionUpdate"]["sessionMetadata"]["sampled"]
    await logs.prints(stream(0), "one", "two", at=1)
    await logs.store.append(log, log.stored, b"before\n")
    await logs.store.append(log, log.stored, b"", complete=True)
    found = await session.results(3)
    assert sorted(event["message"] for event in found) == ["begun before", "one", "two"]
    (first,) = [event for event in found if event["message"] == "one"]
    assert (first["logStreamName"], first["timestamp"]) == (stream(0), BEGIN + 1)
    assert first["logGroupIdentifier"] == GROUP


async def test_only_what_was_asked_for(logs: Logs) -> None:
    by_name = await begun(logs, logStreamNames=[stream(1)])
    by_prefix = await begun(logs, logStreamNamePrefixes=["job/", "none"])
    by_pattern = await begun(logs, logEventFilterPattern="-noise")
    await logs.prints("other/default/x", "noise")
    await logs.prints(stream(1), "a", "noise")
    await logs.prints(stream(2), "b")
    await logs.prints(stream(3), "elsewhere", group="/other")
    found = [await by_name.results(2), await by_prefix.results(3), await by_pattern.results(2)]
    told = [sorted(event["message"] for event in events) for events in found]
    assert told == [["a", "noise"], ["a", "b", "noise"], ["a", "b"]]


async def test_more_than_an_update_holds_is_sampled(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_tail, "UPDATE_EVENTS", 10)
    session = await begun(logs)
    await logs.prints(stream(0), *map(str, range(100)))
    update: dict[str, Any] = {"sessionResults": []}
    while not update["sessionResults"]:
        update = (await session.next())["sessionUpdate"]
    assert [event["message"] for event in update["sessionResults"]] == list(map(str, range(10)))
    assert update["sessionMetadata"]["sampled"]


async def test_an_update_is_bounded_however_long_its_events_are(logs: Logs) -> None:
    session = await begun(logs)
    await logs.prints(stream(0), *["x" * 200_000] * 10)
    update: dict[str, Any] = {"sessionResults": []}
    while not update["sessionResults"]:
        update = (await session.next())["sessionUpdate"]
    assert len(update["sessionResults"]) == live_tail.UPDATE_TEXT_BYTES // 200_000
    assert update["sessionMetadata"]["sampled"]


async def test_a_session_ends_after_its_time(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_tail, "SESSION_SECONDS", 0.3)
    session = await begun(logs)

    async def to_the_end() -> None:
        while True:
            await session.next()

    with pytest.raises(EventStreamError, match="SessionTimeoutException"):
        await to_the_end()


async def test_sessions_are_bounded_and_those_that_are_left_end(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_tail, "SESSIONS", 1)
    session = await begun(logs)
    with pytest.raises(ClientError, match="LimitExceededException"):
        await begun(logs)
    session.close()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                (await begun(logs)).close()
            except ClientError:
                continue
            break


async def test_a_caller_that_took_nothing_leaves_nothing_when_it_goes(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session ends with its connection, whatever of its answer is still on the way."""
    begun, moved, paused, ended = (asyncio.Event() for _ in range(4))
    loop = asyncio.get_running_loop()
    fill, watch, unwatch = live_tail._fill, LogStore.watch, LogStore.unwatch

    def filling(*args: Any) -> bool:
        try:
            return fill(*args)
        finally:
            loop.call_soon_threadsafe(moved.set)

    def watching(store: LogStore, watcher: Watcher) -> None:
        watch(store, watcher)
        begun.set()

    def unwatching(store: LogStore, watcher: Watcher) -> None:
        unwatch(store, watcher)
        ended.set()

    monkeypatch.setattr(live_tail, "_fill", filling)
    monkeypatch.setattr(LogStore, "watch", watching)
    monkeypatch.setattr(LogStore, "unwatch", unwatching)
    pause = BaseProtocol.pause_writing

    def pausing(protocol: BaseProtocol) -> None:
        pause(protocol)
        paused.set()
        moved.set()

    monkeypatch.setattr(BaseProtocol, "pause_writing", pausing)
    body = json.dumps({"logGroupIdentifiers": [GROUP]}).encode()
    host, port = logs.url.removeprefix("http://").split(":")
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.connect((host, int(port)))
        caller.sendall(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: Logs_20140328.StartLiveTail\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        async with asyncio.timeout(LONG_SECONDS):
            await begun.wait()
        # Until what is on the way is more than buffers hold, and the gateway waits for the caller.
        at = 0
        while not paused.is_set():
            moved.clear()
            await logs.prints(stream(0), *["x" * 2000] * 500, at=at)
            at += 500
            async with asyncio.timeout(LONG_SECONDS):
                await moved.wait()
        gc.disable()
    try:
        async with asyncio.timeout(LONG_SECONDS):
            await ended.wait()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"logGroupIdentifiers": [f"{GROUP}:*"]}, "without"),
        ({"logGroupIdentifiers": [f"{GROUP}s"]}, "does not exist"),
        ({"logGroupIdentifiers": []}, "1 to 10"),
        ({"logEventFilterPattern": "a-b"}, "Invalid filter pattern"),
        ({"logStreamNames": ["a"], "logStreamNamePrefixes": ["b"]}, "At most 10"),
        ({"logStreamNames": ["a:b"]}, "none of them"),
    ],
)
async def test_what_is_refused(logs: Logs, parameters: dict[str, Any], says: str) -> None:
    """As any other call, before the stream begins."""
    with pytest.raises(ClientError, match=says):
        await begun(logs, **parameters)


async def test_a_gateway_that_stops_waits_for_no_session(logs: Logs) -> None:
    """The fixture stops it while the session goes on, and within its usual time."""
    session = await begun(logs)
    await session.next()
