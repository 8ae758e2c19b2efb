"""The audit log: what is recorded of calls, and that nothing of it can be changed unseen."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import grpc
import pytest
from support.patience import PATIENCE_SECONDS
from support.submission import Stand, a_container, submission_stand

from longshore.domain.audit import record as audit
from longshore.domain.audit.record import AuditedCaller, AuditRecord
from longshore.domain.errors import LongshoreError, Unavailable
from longshore.rpc.channel import open_channel
from longshore.runtime import recorder
from longshore.state.audit import audit_record
from longshore.state.pool import Pool, open_pool
from longshore.v1 import (
    audit_service_pb2,
    audit_service_pb2_grpc,
    ecs_service_pb2,
    ecs_service_pb2_grpc,
)

Json = dict[str, Any]


@pytest.fixture
async def stand(database_url: str) -> AsyncIterator[Stand]:
    async with submission_stand(database_url) as running:
        await running.prepare()
        yield running


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    opened = await open_pool(database_url)
    yield opened
    await opened.close()


async def recorded(conn: asyncpg.Connection, name: str, count: int = 1) -> list[Json]:
    """The records of calls of a name, once there are as many."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            rows = await conn.fetch(
                "SELECT record FROM audit_records WHERE event_name = $1 ORDER BY number", name
            )
            if len(rows) >= count:
                return [json.loads(row["record"]) for row in rows]
            await asyncio.sleep(0.01)


async def test_a_write_is_recorded_with_what_was_asked_and_answered(stand: Stand) -> None:
    answer = await stand(
        "SubmitJob",
        metadata={
            "x-longshore-region": "eu-west-1",
            "x-longshore-source-address": "10.0.0.7",
            "x-longshore-user-agent": "Boto3/1.44.8",
            "x-longshore-access-key-id": "AKIAEXAMPLE",
            "x-request-id": "r-1",
        },
        jobName="square",
        jobQueue="q",
        jobDefinition="d",
        tags={"team": "a"},
        arrayProperties={"size": 10},
        containerOverrides={
            "environment": [
                {"name": "TOKEN", "value": "very secret"},
                {"name": "AWS_BATCH_X", "value": "1"},
            ]
        },
    )

    [record] = await recorded(stand.conn, "SubmitJob")
    assert record["userIdentity"] == {"type": "Unknown", "accessKeyId": "AKIAEXAMPLE"}
    assert (record["eventSource"], record["awsRegion"]) == ("batch.amazonaws.com", "eu-west-1")
    assert (record["sourceIPAddress"], record["userAgent"]) == ("10.0.0.7", "Boto3/1.44.8")
    assert record["requestID"] == "r-1"
    asked = record["requestParameters"]
    assert asked["tags"] == {"team": "a"}
    assert asked["arrayProperties"] == {"size": 10}
    assert asked["containerOverrides"]["environment"] == [
        {"name": "TOKEN", "value": "HIDDEN_DUE_TO_SECURITY_REASONS"},
        {"name": "AWS_BATCH_X", "value": "1"},
    ]
    assert record["responseElements"]["jobId"] == answer["jobId"]
    assert "very secret" not in json.dumps(record)
    assert "errorCode" not in record
    assert record["readOnly"] is False


async def test_a_refused_call_is_recorded_whatever_it_is(stand: Stand) -> None:
    with pytest.raises(LongshoreError) as refused:
        await stand("ListJobs", jobQueue="none")
    await stand("ListJobs", jobQueue="q")

    [record] = await recorded(stand.conn, "ListJobs")
    assert record["errorCode"] == "ClientException"
    assert record["errorMessage"] == refused.value.message
    assert record["responseElements"] is None
    assert record["sourceIPAddress"] == "127.0.0.1"
    assert record["readOnly"] is True


async def test_a_stream_and_a_call_by_longshores_own_name_are_recorded(stand: Stand) -> None:
    await stand.stop("CANCEL", selection={"jobQueue": "q"})

    [record] = await recorded(stand.conn, "StopJobs")
    assert record["requestParameters"]["selection"] == {"jobQueue": "q"}
    assert record["requestParameters"]["reason"] == "enough"


async def test_one_row_for_a_call_of_many_jobs(stand: Stand) -> None:
    await stand(
        "SubmitJob", jobName="a", jobQueue="q", jobDefinition="d", arrayProperties={"size": 10_000}
    )
    await stand(
        "RegisterJobDefinition",
        jobDefinitionName="e",
        type="container",
        containerProperties=a_container(),
    )

    await recorded(stand.conn, "RegisterJobDefinition", 2)
    assert len(await recorded(stand.conn, "SubmitJob")) == 1


async def test_records_are_numbered_in_the_order_of_commits_and_are_chained(stand: Stand) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(
                stand("SubmitJob", jobName=f"j{number}", jobQueue="q", jobDefinition="d")
            )
    await recorded(stand.conn, "SubmitJob", 40)

    found = await audit_record.committed(stand.conn, 0, 1_000, with_reads=False)
    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    assert await audit_record.head(stand.conn) == len(found)


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_records SET event_name = 'x'", "DELETE FROM audit_records"]
)
async def test_no_record_is_changed_or_taken_out(stand: Stand, statement: str) -> None:
    await recorded(stand.conn, "CreateJobQueue")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await stand.conn.execute(statement)


async def test_old_days_are_dropped_whole(stand: Stand) -> None:
    [record] = await recorded(stand.conn, "CreateJobQueue")
    day = datetime.fromisoformat(record["eventTime"]).date()

    async with stand.conn.transaction():
        assert await audit_record.drop_before(stand.conn, day) == []
        assert await audit_record.drop_before(stand.conn, day + timedelta(days=1)) == [day]

    assert await audit_record.days(stand.conn) == []
    assert await stand.conn.fetchval("SELECT count(*) FROM audit_records") == 0


async def verified(stand: Stand) -> list[tuple[int, str]]:
    """How many records each day has, and what is wrong with it."""
    async with open_channel(stand.target) as channel:
        stub = audit_service_pb2_grpc.AuditServiceStub(channel)
        request = audit_service_pb2.VerifyAuditLogRequest()
        return [
            (day.records, day.fault)
            async for day in stub.VerifyAuditLog(request, timeout=PATIENCE_SECONDS)
        ]


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE audit_records SET event_name = 'ListJobs' WHERE number = 2", "what it does not"),
        ("UPDATE audit_records SET record = replace(record, 'q', 'p') WHERE number = 2", "written"),
        ("DELETE FROM audit_records WHERE number = 2", "before it is missing"),
        ("DELETE FROM audit_records WHERE number = 3", "1 of 3 records are missing"),
        ("DELETE FROM audit_days", "the day's entry is not"),
        ("UPDATE audit_days SET records = 2", "the day's entry is not"),
    ],
)
async def test_what_was_done_to_the_log_is_found(stand: Stand, statement: str, says: str) -> None:
    await recorded(stand.conn, "RegisterJobDefinition")
    assert await verified(stand) == [(3, "")]

    async with stand.conn.transaction():
        # As who owns the database can: the triggers are off.
        await stand.conn.execute("SET LOCAL session_replication_role = replica")
        await stand.conn.execute(statement)

    [(_, fault)] = await verified(stand)
    assert says in fault


async def put_on_record(stand: Stand, *records: audit_service_pb2.CallRecord) -> None:
    async with open_channel(stand.target) as channel:
        stub = audit_service_pb2_grpc.AuditServiceStub(channel)
        await stub.RecordCalls(
            audit_service_pb2.RecordCallsRequest(records=records), timeout=PATIENCE_SECONDS
        )


async def test_other_services_records_are_taken_once_however_often_they_are_sent(
    stand: Stand,
) -> None:
    await recorded(stand.conn, "RegisterJobDefinition")
    row = await stand.conn.fetchrow("SELECT at, record FROM audit_records WHERE number = 1")
    told = json.loads(row["record"]) | {"eventName": "Foreign", "eventID": str(uuid.uuid4())}
    entry = audit_service_pb2.CallRecord(time=row["at"], record=json.dumps(told))

    await put_on_record(stand, entry)
    await put_on_record(stand, entry)

    [found] = await recorded(stand.conn, "Foreign")
    assert found == told
    assert await verified(stand) == [(4, "")]


@pytest.mark.parametrize(
    "entry",
    [
        audit_service_pb2.CallRecord(record="{}"),
        audit_service_pb2.CallRecord(record="[" * 10_000),
        audit_service_pb2.CallRecord(record="x" * 40_000),
        audit_service_pb2.CallRecord(
            time=datetime(9999, 1, 1, tzinfo=UTC),
            record='{"eventID":"00000000-0000-0000-0000-000000000000","eventName":"a",'
            '"eventSource":"b","readOnly":false,"userIdentity":{},"requestParameters":null}',
        ),
    ],
)
async def test_what_is_no_record_is_refused(
    stand: Stand, entry: audit_service_pb2.CallRecord
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await put_on_record(stand, entry)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_refusal_has_the_name_that_the_wire_gives_it(stand: Stand) -> None:
    async with open_channel(stand.target) as channel:
        stub = ecs_service_pb2_grpc.EcsServiceStub(channel)
        for request in (
            ecs_service_pb2.DescribeTasksRequest(cluster="none", tasks=["x"]),
            ecs_service_pb2.DescribeTasksRequest(cluster="none"),
        ):
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.DescribeTasks(request, timeout=PATIENCE_SECONDS)

    codes = [record["errorCode"] for record in await recorded(stand.conn, "DescribeTasks", 2)]
    assert codes == ["ClusterNotFoundException", "InvalidParameterException"]


async def test_a_call_far_too_large_is_recorded_by_its_size(stand: Stand) -> None:
    with pytest.raises(LongshoreError):
        await stand("TerminateJobs", jobs=["x" * 1_000] * 1_000, reason="enough")
    [record] = await recorded(stand.conn, "TerminateJobs")
    assert record["requestParameters"] == {"omitted": True, "originalSize": 1_003_008}
    assert len(json.dumps(record)) < 4_000


async def test_nothing_is_done_that_cannot_be_recorded(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await recorded(stand.conn, "RegisterJobDefinition")

    async def full(_self: recorder.Recorder) -> None:
        raise Unavailable("full")

    monkeypatch.setattr(recorder.Recorder, "reserve", full)
    with pytest.raises(Unavailable):
        await stand("SubmitJob", jobName="j", jobQueue="q", jobDefinition="d")
    assert await stand.conn.fetchval("SELECT count(*) FROM jobs") == 0
    await stand("ListJobs", jobQueue="q")


def a_record(at: datetime, number: int) -> AuditRecord:
    return audit.record_of(
        at=at,
        event_id=audit.event_id_at(at, number),
        source="batch.amazonaws.com",
        name="SubmitJob",
        caller=AuditedCaller(
            address="10.0.0.7",
            user_agent="a",
            access_key_id=None,
            request_id="r",
            account="123456789012",
            region="us-east-1",
        ),
        parameters={"jobName": f"j{number}"},
    )


async def test_several_services_write_one_chain_over_midnight(stand: Stand, pool: Pool) -> None:
    await recorded(stand.conn, "RegisterJobDefinition")
    days = [datetime(2026, 11, 28, 23, 59, tzinfo=UTC), datetime(2026, 11, 29, tzinfo=UTC)]
    batches = [
        [a_record(days[number % 2], number) for number in range(first, first + 10)]
        for first in range(0, 200, 10)
    ]
    async with asyncio.TaskGroup() as group:
        for batch in batches:
            group.create_task(audit_record.write(pool, batch, is_repeated=False))

    told = await verified(stand)
    assert [fault for _, fault in told] == [""] * len(told)
    assert sum(count for count, _ in told) == 203
    found = await audit_record.committed(stand.conn, 3, 1_000, with_reads=False)
    assert [number for number, _ in found] == list(range(4, 204))


async def test_what_was_perhaps_written_is_not_written_twice(stand: Stand, pool: Pool) -> None:
    records = [a_record(datetime.now(UTC), number) for number in range(3)]
    await audit_record.write(pool, records[:2], is_repeated=False)
    await audit_record.write(pool, records, is_repeated=True)
    await audit_record.write(pool, records, is_repeated=True)
    assert len(await recorded(stand.conn, "SubmitJob", 3)) == 3
    assert [fault for _, fault in await verified(stand)] == [""]
