"""From what happens to who is told, through the service as it runs."""

import asyncio
import base64
import contextlib
import json
import sqlite3
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from support.events import EventStand, event_stand
from support.patience import PATIENCE_SECONDS
from support.receiver import receiving
from support.scheduling import Ended, scheduler_stand

from longshore.domain.checks import Json
from longshore.state.events import outbox
from longshore.v1 import event_service_pb2 as pb

JOBS = {"source": ["aws.batch"], "detail-type": ["Batch Job State Change"]}


@pytest.fixture
async def stand(database_url: str, tmp_path: Path) -> AsyncIterator[EventStand]:
    async with event_stand(database_url, tmp_path / "key") as running:
        yield running


async def hook(stand: EventStand, url: str, *, key: str = "secret", **rule: object) -> None:
    """A rule whose target is a webhook, made as users make it."""
    connection = await stand(
        "CreateConnection",
        Name="c",
        AuthorizationType="API_KEY",
        AuthParameters={"ApiKeyAuthParameters": {"ApiKeyName": "x-key", "ApiKeyValue": key}},
    )
    destination = await stand(
        "CreateApiDestination",
        Name="d",
        ConnectionArn=connection["ConnectionArn"],
        InvocationEndpoint=url,
        HttpMethod="POST",
        InvocationRateLimitPerSecond=10_000,
    )
    await stand("PutRule", Name="r", **rule)
    target = {"Id": "t", "Arn": destination["ApiDestinationArn"]}
    answer = await stand("PutTargets", Rule="r", Targets=[target])
    assert not answer.get("FailedEntryCount")


async def put(stand: EventStand, *numbers: int) -> None:
    """Events from outside."""
    await outbox.put(
        stand.conn,
        [
            {
                "bus": "default",
                "source": "test",
                "detail-type": "t",
                "time": "2026-11-28T18:01:03Z",
                "resources": [],
                "detail": {"number": number},
            }
            for number in numbers
        ],
    )


def numbers(events: list[Json]) -> list[int]:
    return [event["detail"]["number"] for event in events]


class Follower:
    """Who follows a stream of events."""

    def __init__(self, stand: EventStand, **request: object) -> None:
        self._call = stand.own.WatchEvents(
            pb.WatchEventsRequest(**request), timeout=PATIENCE_SECONDS
        )
        self.position = ""

    async def take(self, count: int) -> list[Json]:
        """So many events."""
        events: list[Json] = []
        while len(events) < count:
            answer = await self._call.read()
            assert answer is not grpc.aio.EOF
            self.position = answer.position
            events += [json.loads(answer.event)] if answer.event else []
        return events

    async def begin(self) -> None:
        """Waits until the stream has begun."""
        answer = await self._call.read()
        assert answer.event == ""
        self.position = answer.position

    async def rest(self) -> list[Json]:
        """All up to the end."""
        return [json.loads(one.event) async for one in self._call if one.event]

    def close(self) -> None:
        self._call.cancel()


async def test_a_job_s_life_reaches_a_webhook(stand: EventStand, database_url: str) -> None:
    async with receiving() as receiver, scheduler_stand(database_url) as jobs:
        await hook(stand, receiver.url, EventPattern=json.dumps(JOBS))
        await jobs.environment()
        await jobs.queue()
        await jobs.agent(vcpus=8, answers=lambda _: Ended())
        job = await jobs.submit()
        await receiver.until(4)
        told = [json.loads(body)["detail"] for _, body, _ in receiver.calls]
    assert {one["jobId"] for one in told} == {job}
    statuses = {one["status"] for one in told}
    assert statuses == {"RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"}
    assert {headers["x-key"] for headers, _, _ in receiver.calls} == {"secret"}


async def test_each_node_of_a_job_tells_of_each_of_its_attempts(
    stand: EventStand, database_url: str
) -> None:
    kinds = ["Batch Job State Change", "ECS Task State Change"]
    follower = Follower(stand, event_pattern=json.dumps({"detail-type": kinds}))
    await follower.begin()
    async with scheduler_stand(database_url) as jobs:
        await jobs.managed(maxv_cpus=256)
        await jobs.queue("q", "fleet")
        for _ in range(2):
            await jobs.join(4)
        await jobs.conn.execute("UPDATE instances SET zone = 'eu-central-1b'")
        job = await jobs.submit(nodes=2, attempts=2)
        for attempt, exit_code in ((1, 7), (2, 0)):
            for index in (0, 1):
                agent = await jobs.who_has(f"{job}#{index}", attempt)
                await agent.start(f"{job}#{index}", f"10.0.0.{index}")
            for index in (0, 1):
                agent = await jobs.who_has(f"{job}#{index}", attempt)
                await agent.end(f"{job}#{index}", Ended(exit_code), started=True)
        await jobs.until(job, "SUCCEEDED")
        events = await follower.take(7 + 2 * 6 + 2 * 2 * 3)
    follower.close()
    told = [one["detail"] for one in events if one["detail-type"] == kinds[0]]
    tries = ["STARTING", "RUNNING", "FAILED", "STARTING", "RUNNING", "SUCCEEDED"]
    for index in (0, 1):
        node = [one for one in told if one["jobId"] == f"{job}#{index}"]
        assert [one["status"] for one in node] == tries
        assert [one["nodeDetails"]["nodeIndex"] for one in node] == [index] * 6
        assert [one["container"].get("exitCode") for one in node] == [None, None, 7, None, None, 0]
        assert [len(one["attempts"]) for one in node] == [0, 0, 1, 1, 1, 2]
        assert all("nodeProperties" not in one for one in node)
    whole = [one["status"] for one in told if one["jobId"] == job]
    assert whole == ["RUNNABLE", "STARTING", "RUNNING", "RUNNABLE", *tries[3:]]
    tasks = [one["detail"] for one in events if one["detail-type"] == kinds[1]]
    assert len(tasks) == 2 * 2 * 3
    assert len({one["taskArn"] for one in tasks}) == 4
    assert {one["availabilityZone"] for one in tasks} == {"eu-central-1b"}


async def test_a_stream_goes_on_where_it_broke(stand: EventStand) -> None:
    first = Follower(stand, event_pattern='{"source":["test"]}')
    await first.begin()
    await put(stand, 1, 2, 3)
    assert numbers(await first.take(2)) == [1, 2]
    first.close()
    await put(stand, 4)
    second = Follower(stand, after_position=first.position, event_pattern='{"source":["test"]}')
    assert numbers(await second.take(2)) == [3, 4]
    await put(stand, 5)
    assert numbers(await second.take(1)) == [5]
    second.close()


async def test_a_stream_may_begin_earlier_and_end_with_now(stand: EventStand) -> None:
    await put(stand, 1, 2)
    since = pb.WatchEventsRequest(until_now=True)
    since.since_time.FromDatetime(datetime.now(UTC) - timedelta(minutes=5))
    call = stand.own.WatchEvents(since, timeout=PATIENCE_SECONDS)
    events = [json.loads(one.event) async for one in call if one.event]
    assert numbers(events) == [1, 2]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"after_position": "x"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"after_position": f"{2**63}-0-0"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"after_position": f"{2**62}-0-0"}, grpc.StatusCode.OUT_OF_RANGE),
        ({"event_pattern": "{}"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"event_bus_name": "%"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"event_bus_name": "nope"}, grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_what_no_stream_can_be_is_refused(
    stand: EventStand, request_: Json, code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await Follower(stand, **request_).begin()
    assert refused.value.code() == code


async def test_dead_letters_are_listed_in_pages_and_sent_anew(stand: EventStand) -> None:
    async with receiving() as receiver:
        receiver.refuse(400)
        await hook(stand, receiver.url, EventPattern='{"source":["test"]}')
        await put(stand, *range(5))
        await receiver.until(5)
        async with asyncio.timeout(PATIENCE_SECONDS):
            found: list[pb.DeadLetter] = []
            while len(found) < 5:
                request = pb.ListDeadLettersRequest(rule="r", page_size=2)
                found = []
                while True:
                    page = await stand.own.ListDeadLetters(request)
                    found += page.letters
                    if not page.next_page_token:
                        break
                    request.page_token = page.next_page_token
        assert found[0].error_code == "HTTP_400"
        assert sorted(numbers([json.loads(one.event) for one in found])) == list(range(5))
        receiver.refuse(None)
        ids = [one.letter_id for one in found[:2]]
        sent = await stand.own.ResendDeadLetters(pb.ResendDeadLettersRequest(letter_ids=ids))
        assert sorted(sent.letter_ids) == sorted(ids)
        await receiver.until(7)
    left = await stand.own.ListDeadLetters(pb.ListDeadLettersRequest())
    assert len(left.letters) == 3


async def test_a_schedule_fires_once_and_what_was_missed_once(stand: EventStand) -> None:
    async with receiving() as receiver:
        await hook(stand, receiver.url, ScheduleExpression="rate(1 hour)")
        await stand.conn.execute("UPDATE event_rules SET due_at = now() - interval '59.5 hours'")
        await stand.conn.execute("NOTIFY longshore_event_rules")
        await receiver.until(1)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await stand.conn.fetchval("SELECT count(*) FROM event_deliveries"):
                await asyncio.sleep(0.01)
        [(_, body, _)] = receiver.calls
        event = json.loads(body)
        assert (event["source"], event["detail-type"], event["detail"]) == (
            "aws.events",
            "Scheduled Event",
            {},
        )
        assert event["resources"] == ["arn:aws:events:us-east-1:123456789012:rule/r"]
        due = await stand.conn.fetchval("SELECT due_at FROM event_rules")
        assert datetime.now(UTC) < due <= datetime.now(UTC) + timedelta(hours=1)


async def test_two_services_share_the_work(
    stand: EventStand, database_url: str, tmp_path: Path
) -> None:
    async with receiving() as receiver, event_stand(database_url, tmp_path / "key"):
        await hook(stand, receiver.url, EventPattern='{"source":["test"]}')
        for first in range(0, 200, 20):
            await put(stand, *range(first, first + 20))
        await receiver.until(200)
        got = [json.loads(body) for _, body, _ in receiver.calls]
    assert sorted(numbers(got)) == list(range(200))


async def test_the_example_keeps_items_of_what_it_is_told(
    stand: EventStand, database_url: str, tmp_path: Path
) -> None:
    """Of jobs, tasks, hosts; by the patterns that public consumers use. One of these never matches.

    Its `eventSource` stands outside `detail`.
    """
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    table = tmp_path / "items.db"
    example = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.events", "--port", "0"),
        *("--secret", secret, "--table", str(table)),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert example.stdout is not None
    try:
        url = (await example.stdout.readline()).decode().split()[-1]
        ecs = {"detail-type": ["AWS API Call via CloudTrail"], "source": ["aws.ecs"]}
        names = {"eventName": ["RunTask", "RegisterContainerInstance"]}
        await hook(stand, url, key=secret, EventPattern=json.dumps(JOBS))
        [target] = (await stand("ListTargetsByRule", Rule="r"))["Targets"]
        for name, pattern in (
            ("tasks", {"source": ["aws.ecs"], "detail-type": ["ECS Task State Change"]}),
            ("calls", {**ecs, "detail": {**names, "eventSource": ["ecs.amazonaws.com"]}}),
            ("never", {**ecs, "detail": names, "eventSource": ["ecs.amazonaws.com"]}),
        ):
            await stand("PutRule", Name=name, EventPattern=json.dumps(pattern))
            await stand("PutTargets", Rule=name, Targets=[target])
        async with scheduler_stand(database_url) as jobs:
            await jobs.environment()
            await jobs.queue()
            await jobs.agent(vcpus=8, answers=lambda _: Ended())
            job = await jobs.submit()
            lines = []
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(lines) < 4 + 3 + 2:
                    lines.append((await example.stdout.readline()).decode())
    finally:
        example.kill()
        await example.wait()
    with contextlib.closing(sqlite3.connect(table)) as db:
        rows = db.execute("SELECT kind, id, item FROM items").fetchall()
    items = {kind: (ident, json.loads(item)) for kind, ident, item in rows}
    assert len(items) == len(rows) == 3
    ident, item = items["jobs"]
    assert ident == job
    assert item["States"].keys() == {"RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"}
    _, task = items["tasks"]
    assert task["States"].keys() == {"RunTask", "PENDING", "RUNNING", "STOPPED"}
    assert (task["JobId"], task["CEName"], task["JobAttempt"]) == (job, "machines", "1")
    _, host = items["hosts"]
    assert (host["CEName"], host["InstanceId"]) == ("machines", "i-00000000000000000")


async def test_a_replay_tells_once_more_what_an_archive_holds(stand: EventStand) -> None:
    """To rules that let it: with its name, the same ids and times, and to those alone it names."""
    bus = "arn:aws:events:us-east-1:123456789012:event-bus/default"
    before = datetime.now(UTC) - timedelta(minutes=1)
    archive = await stand(
        "CreateArchive",
        ArchiveName="a",
        EventSourceArn=bus,
        EventPattern='{"detail":{"number":[{"numeric":["<",4]}]}}',
    )
    async with receiving() as receiver:
        await hook(stand, receiver.url, EventPattern='{"source":["test"]}')
        [target] = (await stand("ListTargetsByRule", Rule="r"))["Targets"]
        quiet = {"source": ["test"], "replay-name": [{"exists": False}]}
        await stand("PutRule", Name="quiet", EventPattern=json.dumps(quiet))
        await stand("PutTargets", Rule="quiet", Targets=[target])
        await put(stand, *range(6))
        await receiver.until(12)
        after = datetime.now(UTC) + timedelta(minutes=1)
        await stand(
            "StartReplay",
            ReplayName="again",
            EventSourceArn=archive["ArchiveArn"],
            EventStartTime=before.timestamp(),
            EventEndTime=after.timestamp(),
            Destination={"Arn": bus},
        )
        await receiver.until(16)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await stand("DescribeReplay", ReplayName="again"))["State"] != "COMPLETED":
                await asyncio.sleep(0.01)
        calls = [(headers["ce-id"], json.loads(body)) for headers, body, _ in receiver.calls]
    ids = {event["detail"]["number"]: ident for ident, event in calls[:12]}
    assert len(calls) == 16
    assert {event["replay-name"] for _, event in calls[12:]} == {"again"}
    assert sorted(numbers([event for _, event in calls[12:]])) == [0, 1, 2, 3]
    assert all(ids[event["detail"]["number"]] == ident for ident, event in calls[12:])
