"""Events as jobs, in queues and in topics."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from support.events import EventStand, event_stand
from support.patience import PATIENCE_SECONDS
from support.scheduling import Ended, scheduler_stand
from support.sts import serving_moto
from support.submission import Stand, submission_stand

from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.domain.events.hops import HOPS_TAG
from longshore.logs.cloudwatch.servicer import SERVICE, CloudWatchLogsServicer
from longshore.logs.store import LogStore
from longshore.rpc.channel import open_channel
from longshore.rpc.server import GrpcServer
from longshore.state.events import delivery, outbox
from longshore.state.events.delivery import Lane, NewDelivery
from longshore.v1 import cloudwatch_logs_service_pb2 as pb
from longshore.v1 import cloudwatch_logs_service_pb2_grpc

QUEUE = "arn:aws:batch:us-east-1:123456789012:job-queue/q"
TEST = '{"source":["test"]}'


async def put(stand: EventStand, **detail: Any) -> None:
    """An event from outside."""
    event = {
        "bus": "default",
        "source": "test",
        "detail-type": "t",
        "time": "2026-11-28T18:01:03Z",
        "resources": [],
        "detail": detail,
    }
    await outbox.put(stand.conn, [event])


async def target(stand: EventStand, arn: str, pattern: str = TEST, **given: Any) -> None:
    """A rule with one target."""
    await stand("PutRule", Name="r", EventPattern=pattern)
    answer = await stand("PutTargets", Rule="r", Targets=[{"Id": "t", "Arn": arn, **given}])
    assert not answer.get("FailedEntryCount"), answer


async def until(condition: Any) -> Any:
    """Waits for a value."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (found := await condition()):
            await asyncio.sleep(0.01)
        return found


@pytest.fixture
async def jobs(database_url: str) -> AsyncIterator[Stand]:
    async with submission_stand(database_url) as running:
        await running.prepare()
        yield running


@pytest.fixture
async def stand(database_url: str, tmp_path: Path, jobs: Stand) -> AsyncIterator[EventStand]:
    key = tmp_path / "key"
    async with event_stand(database_url, key, submission=jobs.target) as running:
        yield running


async def test_an_event_submits_a_job_once_however_often_it_is_delivered(
    stand: EventStand, jobs: Stand
) -> None:
    await target(
        stand,
        QUEUE,
        BatchParameters={
            "JobDefinition": "d",
            "JobName": "from-event",
            "ArrayProperties": {"Size": 3},
            "RetryStrategy": {"Attempts": 2},
        },
        InputTransformer={
            "InputPathsMap": {"n": "$.detail.number"},
            "InputTemplate": '{"Parameters":{"p":"<n>"},"ContainerOverrides":{"Environment":'
            '[{"Name":"N","Value":"<n>"}]}}',
        },
    )
    await put(stand, number=7)
    await until(jobs.job_count)
    job_id = await stand.conn.fetchval("SELECT job_id FROM jobs")
    shown = await jobs.describe(str(job_id))
    assert (shown["jobName"], shown["parameters"]) == ("from-event", {"p": "7"})
    assert shown["arrayProperties"]["size"] == 3
    assert shown["retryStrategy"]["attempts"] == 2
    assert shown["container"]["environment"] == [{"name": "N", "value": "7"}]
    assert shown["tags"] == {HOPS_TAG: "1"}
    # The answer to the first call is lost: the event is delivered again.
    lane, event_id = Lane("default", "r", "t"), uuid.uuid4()
    event = json.dumps({"id": str(event_id), "detail": {"number": 8}, "resources": []})
    for count in (2, 2):
        await delivery.add(stand.conn, [NewDelivery(lane, event_id, event)])
        await until(lambda: _empty(stand))
        assert await jobs.job_count() == count


async def _empty(stand: EventStand) -> bool:
    return not await stand.conn.fetchval("SELECT count(*) FROM event_deliveries")


async def test_what_cannot_be_submitted_is_given_up_with_what_submission_said(
    stand: EventStand, jobs: Stand
) -> None:
    await target(stand, QUEUE, BatchParameters={"JobDefinition": "none", "JobName": "j"})
    await put(stand, number=1)

    async def found() -> list[delivery.DeadLetter]:
        return await delivery.letters(stand.conn, None, None, before=None, limit=10)

    [letter] = await until(found)
    assert letter.condition == "NotRetryable"
    assert "none" in letter.error
    assert await jobs.job_count() == 0


async def test_jobs_that_their_own_events_submit_end_after_eight(
    stand: EventStand, jobs: Stand, database_url: str
) -> None:
    async with scheduler_stand(database_url) as scheduler:
        await scheduler.agent(vcpus=8, environment="ce", answers=lambda _: Ended())
        await target(
            stand,
            QUEUE,
            '{"source":["aws.batch"],"detail":{"status":["SUCCEEDED"]}}',
            BatchParameters={"JobDefinition": "d", "JobName": "again"},
        )
        await jobs.submit()

        async def found() -> list[delivery.DeadLetter]:
            return await delivery.letters(stand.conn, None, None, before=None, limit=10)

        [letter] = await until(found)
    assert letter.error_code == "LOOP"
    assert await jobs.job_count() == 1 + 8


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    with serving_moto() as url:
        yield url


def client(service: str, url: str) -> Any:
    """A client as users have."""
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="k",
        aws_secret_access_key="s",  # noqa: S106 - of moto
    )


def received(sqs: Any, url: str) -> list[Json]:
    """Messages of a queue."""
    found = sqs.receive_message(
        QueueUrl=url, WaitTimeSeconds=10, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    )
    return list(found.get("Messages", []))


@pytest.fixture
def _to_moto(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("AWS_ENDPOINT_URL", aws),
        ("AWS_ACCESS_KEY_ID", "k"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)


@pytest.mark.slow
@pytest.mark.usefixtures("_to_moto")
async def test_queues_and_topics_get_events_and_a_queue_what_was_given_up(
    database_url: str, tmp_path: Path, aws: str
) -> None:
    """AWS's library takes seconds to load on a busy machine."""
    sqs, sns = client("sqs", aws), client("sns", aws)
    urls = {n: sqs.create_queue(QueueName=n)["QueueUrl"] for n in ("events", "topic", "dead")}
    arns = {name: f"arn:aws:sqs:us-east-1:123456789012:{name}" for name in urls}
    topic = sns.create_topic(Name="told")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arns["topic"])
    missing = "arn:aws:sqs:us-east-1:123456789012:missing"
    async with event_stand(database_url, tmp_path / "key") as stand:
        await stand("PutRule", Name="r", EventPattern=TEST)
        targets = [
            {"Id": "queue", "Arn": arns["events"]},
            {"Id": "topic", "Arn": topic, "InputPath": "$.detail"},
            {"Id": "missing", "Arn": missing, "DeadLetterConfig": {"Arn": arns["dead"]}},
        ]
        await stand("PutTargets", Rule="r", Targets=targets)
        await put(stand, number=1)
        [event] = await asyncio.to_thread(received, sqs, urls["events"])
        [note] = await asyncio.to_thread(received, sqs, urls["topic"])
        [dead] = await asyncio.to_thread(received, sqs, urls["dead"])
    whole = json.loads(event["Body"])
    assert (whole["source"], whole["detail"]) == ("test", {"number": 1})
    assert json.loads(json.loads(note["Body"])["Message"]) == {"number": 1}
    assert json.loads(dead["Body"]) == whole
    told = {name: value["StringValue"] for name, value in dead["MessageAttributes"].items()}
    assert told["RULE_ARN"] == "arn:aws:events:us-east-1:123456789012:rule/r"
    assert told["TARGET_ARN"] == missing
    assert told["RETRY_ATTEMPTS"] == "0"


async def _is_done(stand: EventStand) -> bool:
    """Whether all that was put in was matched and delivered."""
    left = await stand.conn.fetchval(
        "SELECT count(*) FROM outbox o, event_cursor c "
        "WHERE (o.xid, o.event_id) > (c.xid, c.event_id)"
    )
    return not left and await _empty(stand)


async def test_a_log_group_gets_a_line_for_each_event(database_url: str, tmp_path: Path) -> None:
    """It is made when the first one comes."""
    store = LogStore(tmp_path / "logs")
    await store.catalogue.begin()
    server = GrpcServer("127.0.0.1:0")
    server.add(
        cloudwatch_logs_service_pb2_grpc.add_CloudWatchLogsServiceServicer_to_server,
        CloudWatchLogsServicer(store, Arns("123456789012", "us-east-1")),
        SERVICE.full_name,
    )
    group = "/aws/events/jobs"
    async with server:
        logs = f"127.0.0.1:{server.port}"
        async with event_stand(database_url, tmp_path / "key", logs=logs) as stand:
            await target(stand, f"arn:aws:logs:us-east-1:123456789012:log-group:{group}")
            for number in range(3):
                await put(stand, number=number)
            await until(lambda: _is_done(stand))
        async with open_channel(logs) as channel:
            stub = cloudwatch_logs_service_pb2_grpc.CloudWatchLogsServiceStub(channel)
            found = await stub.FilterLogEvents(pb.FilterLogEventsRequest(log_group_name=group))
    told = [json.loads(event.message)["detail"]["number"] for event in found.events]
    assert sorted(told) == [0, 1, 2]
    assert {event.log_stream_name[:10] for event in found.events} == {"default/r/"}
    await store.catalogue.close()
