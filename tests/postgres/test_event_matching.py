"""What happens becomes deliveries: in the order of commits, once, whatever dies in the middle."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from support.patience import PATIENCE_SECONDS
from support.scheduling import Ended, Stand, scheduler_stand
from support.targets import rule

from longshore.domain.arn import Arns
from longshore.domain.audit.record import found_by
from longshore.domain.checks import Json
from longshore.domain.events.hops import HOPS_TAG, hops_of
from longshore.domain.events.occurrence import Position
from longshore.events.matching import Matching
from longshore.events.watching import Watching
from longshore.scheduler.history import History
from longshore.state.audit import audit_record
from longshore.state.events import outbox
from longshore.state.pool import Connection, Pool, open_pool, transaction

ARNS = Arns("123456789012", "us-east-1")
EVERYTHING = {"account": ["123456789012"]}


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(database_url)
    yield pool
    await pool.close()


async def settle(matching: Matching) -> None:
    """Matches all that there is."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await matching.tick() is not None:
            await asyncio.sleep(0)


async def delivered(pool: Pool) -> list[Json]:
    """The events of all deliveries, in order."""
    async with transaction(pool) as conn:
        rows = await conn.fetch("SELECT event FROM event_deliveries ORDER BY delivery_id")
    return [json.loads(row["event"]) for row in rows]


def states(events: list[Json]) -> list[tuple[str, str]]:
    """Which job reached what."""
    return [(e["detail"]["jobId"], e["detail"]["status"]) for e in events]


async def put(conn: Any, *sources: str, bus: str = "default") -> None:
    """Events from outside."""
    await outbox.put(
        conn,
        [
            {
                "bus": bus,
                "source": source,
                "detail-type": "t",
                "time": "2026-11-28T18:01:03Z",
                "resources": [],
                "detail": {},
            }
            for source in sources
        ],
    )


async def ready(stand: Stand) -> None:
    """A queue whose jobs end well at once."""
    await stand.environment()
    await stand.queue()
    await stand.agent(vcpus=8, answers=lambda _: Ended())


async def test_a_job_is_told_of_as_it_was(database_url: str, pool: Pool) -> None:
    await rule(pool, {"source": ["aws.batch"]}, targets=2)
    matching = Matching(pool, ARNS)
    async with scheduler_stand(database_url) as stand:
        await ready(stand)
        job = await stand.submit()
        await stand.until(job, "SUCCEEDED")
        await stand.conn.execute("UPDATE job_specs SET detail = $1", {"container": {"image": "i"}})
        await settle(matching)
        events = await delivered(pool)
    assert states(events[::2]) == [
        (job, status) for status in ("RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED")
    ]
    assert events[::2] == events[1::2]
    assert len({event["id"] for event in events}) == 4
    runnable, starting, running, succeeded = (event["detail"] for event in events[::2])
    assert (runnable["attempts"], "taskArn" in runnable["container"]) == ([], False)
    assert "taskArn" in starting["container"]
    assert "logStreamName" not in starting["container"]
    assert ("startedAt" in starting, "startedAt" in running) == (False, True)
    assert (running["attempts"], "stoppedAt" in running) == ([], False)
    assert succeeded["attempts"][0]["container"]["exitCode"] == 0
    assert succeeded["container"]["exitCode"] == 0
    assert succeeded["statusReason"] == "Essential container in task exited"
    event = events[0]
    assert event["resources"] == [f"arn:aws:batch:us-east-1:123456789012:job/{job}"]
    assert (event["version"], event["source"], event["detail-type"]) == (
        "0",
        "aws.batch",
        "Batch Job State Change",
    )


async def test_children_are_told_of_one_by_one_and_their_parent_with_its_counts(
    database_url: str, pool: Pool
) -> None:
    await rule(pool, {"detail-type": ["Batch Job State Change"]})
    matching = Matching(pool, ARNS)
    async with scheduler_stand(database_url) as stand:
        await ready(stand)
        array = await stand.submit(size=3)
        await stand.until(array, "SUCCEEDED")
        await settle(matching)
        events = await delivered(pool)
    life = ("RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED")
    expected = {(f"{array}:{n}", status) for n in range(3) for status in life}
    expected |= {(array, "PENDING"), (array, "SUCCEEDED")}
    assert len(events) == len(expected)
    assert set(states(events)) == expected
    whole = events[-1]["detail"]["arrayProperties"]
    assert (whole["size"], whole["statusSummary"]["SUCCEEDED"]) == (3, 3)
    assert events[0]["detail"]["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 0


async def test_what_a_rule_asks_for_beyond_what_is_known_first_is_asked_of_the_event(
    database_url: str, pool: Pool
) -> None:
    await rule(pool, {"detail": {"status": ["SUCCEEDED", "FAILED"], "jobName": ["other"]}}, "a")
    await rule(pool, {"detail": {"status": ["SUCCEEDED"], "container": {"exitCode": [0]}}}, "b")
    await rule(pool, {"detail": {"lastStatus": ["STOPPED"]}}, "c")
    await rule(pool, {"detail": {"eventName": ["RunTask"]}, "source": ["aws.ecs"]}, "d")
    matching = Matching(pool, ARNS)
    async with scheduler_stand(database_url) as stand:
        await ready(stand)
        job = await stand.submit()
        await stand.until(job, "SUCCEEDED")
        await stand.conn.execute("UPDATE job_specs SET detail = $1", {"container": {"image": "i"}})
        await settle(matching)
    call, success, task = await delivered(pool)
    assert success["detail"]["status"] == "SUCCEEDED"
    assert task["detail-type"] == "ECS Task State Change"
    assert task["detail"]["containers"][0]["exitCode"] == 0
    environment = task["detail"]["overrides"]["containerOverrides"][0]["environment"]
    assert {"name": "AWS_BATCH_JOB_ID", "value": job} in environment
    cluster = call["detail"]["requestParameters"]["cluster"]
    assert cluster == task["detail"]["clusterArn"]


async def test_a_later_commit_with_an_earlier_number_is_not_lost(
    database_url: str, pool: Pool
) -> None:
    """Numbers are given before transactions commit: what is read waits for the older ones."""
    await rule(pool, EVERYTHING)
    matching = Matching(pool, ARNS)
    slow = await asyncpg.connect(database_url)
    try:
        under_way = slow.transaction()
        await under_way.start()
        await put(slow, "slow")
        async with transaction(pool) as conn:
            await put(conn, "fast")
        assert await matching.tick() is not None, "it is to look again soon"
        assert await delivered(pool) == []
        await under_way.commit()
    finally:
        await slow.close()
    await settle(matching)
    assert [event["source"] for event in await delivered(pool)] == ["slow", "fast"]


async def test_what_is_rolled_back_never_was(pool: Pool) -> None:
    await rule(pool, EVERYTHING)
    matching = Matching(pool, ARNS)

    async def fails() -> None:
        async with transaction(pool) as conn:
            await put(conn, "never")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fails()
    async with transaction(pool) as conn:
        await put(conn, "once")
    await settle(matching)
    await settle(matching)
    assert [event["source"] for event in await delivered(pool)] == ["once"]


async def test_of_two_that_match_one_does(pool: Pool) -> None:
    await rule(pool, EVERYTHING)
    first, second = Matching(pool, ARNS), Matching(pool, ARNS)
    async with transaction(pool) as conn:
        await put(conn, *(f"s{number}" for number in range(50)))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(await delivered(pool)) < 50:
            await asyncio.gather(first.tick(), second.tick())
    await asyncio.gather(settle(first), settle(second))
    assert [event["source"] for event in await delivered(pool)] == [f"s{n}" for n in range(50)]


async def test_a_stream_that_ends_with_now_waits_for_what_an_older_transaction_holds_up(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, real = asyncio.Event(), outbox.lag

    async def lag(conn: Connection, at: Position) -> tuple[float, bool]:
        said = await real(conn, at)
        looked.set()
        return said

    monkeypatch.setattr(outbox, "lag", lag)
    async with transaction(pool) as older:
        await older.execute("SELECT pg_current_xact_id()")
        async with transaction(pool) as conn:
            await put(conn, "s")
        since = datetime.now(UTC) - timedelta(minutes=5)
        watch = Watching(pool, ARNS).watch("default", None, after=None, since=since, until_now=True)
        assert (await anext(watch))[1] == ""
        told = asyncio.ensure_future(anext(watch))
        await asyncio.wait_for(looked.wait(), PATIENCE_SECONDS)
    assert json.loads((await told)[1])["source"] == "s"
    assert [one async for one in watch] == []


async def test_who_dies_before_the_commit_has_done_nothing(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rule(pool, EVERYTHING)
    async with transaction(pool) as conn:
        await put(conn, "s")
    with monkeypatch.context() as patched:

        async def dies(*_: object) -> None:
            raise ConnectionResetError

        patched.setattr(outbox, "move_cursor", dies)
        with pytest.raises(Exception, match="does not answer"):
            await Matching(pool, ARNS).tick()
    assert await delivered(pool) == []
    await settle(Matching(pool, ARNS))
    assert len(await delivered(pool)) == 1


async def test_a_rule_holds_for_what_happens_after_it_was_made(pool: Pool) -> None:
    matching = Matching(pool, ARNS)
    await settle(matching)
    await rule(pool, {"source": ["one"]}, "one")
    async with transaction(pool) as conn:
        await put(conn, "one")
    await settle(matching)
    await rule(pool, {"source": ["two"]}, "two")
    async with transaction(pool) as conn:
        await put(conn, "one", "two")
    await settle(matching)
    assert [event["source"] for event in await delivered(pool)] == ["one", "one", "two"]


async def test_where_nobody_waits_all_is_passed_over_at_once(pool: Pool) -> None:
    matching = Matching(pool, ARNS)
    for _ in range(3):
        async with transaction(pool) as conn:
            await put(conn, *["test"] * 400)
    assert await matching.tick() is None
    async with transaction(pool) as conn:
        cursor, _ = await outbox.cursor(conn)
        assert not await outbox.read(conn, cursor, 1)
    await rule(pool, {"source": ["test"]})
    async with transaction(pool) as conn:
        await put(conn, "test")
    await settle(matching)
    assert len(await delivered(pool)) == 1


async def test_events_of_a_bus_are_for_its_rules_alone(pool: Pool) -> None:
    async with transaction(pool) as conn:
        await conn.execute("INSERT INTO event_buses (name) VALUES ('mine')")
    await rule(pool, EVERYTHING, bus="mine")
    await rule(pool, {"source": ["a"]}, "of-default")
    matching = Matching(pool, ARNS)
    async with transaction(pool) as conn:
        await put(conn, "a", bus="mine")
        await put(conn, "b")
    await settle(matching)
    async with transaction(pool) as conn:
        rows = await conn.fetch("SELECT bus, rule FROM event_deliveries")
    assert [tuple(row) for row in rows] == [("mine", "r")]


async def test_instances_are_told_of_in_the_words_of_ec2(database_url: str, pool: Pool) -> None:
    await rule(pool, {"source": ["aws.ec2"]})
    matching = Matching(pool, ARNS)
    async with scheduler_stand(database_url) as stand:
        await stand.managed()
        instance = await stand.instance("i-00000000000000001")
        await stand.conn.execute("UPDATE instances SET purchase_option = 'SPOT'")
        await stand.conn.execute(
            "UPDATE instances SET status = 'TERMINATING', terminating_at = now(), ends_at = now()"
        )
        await stand.conn.execute("UPDATE instances SET status = 'TERMINATED', ended_at = now()")
        await settle(matching)
    events = await delivered(pool)
    assert all(e["resources"][0].endswith(f":instance/{instance}") for e in events)
    told = [e["detail"].get("state") or e["detail"]["instance-action"] for e in events]
    assert told[:2] == ["pending", "running"]
    assert sorted(told[2:4]) == ["shutting-down", "terminate"]
    assert told[4:] == ["terminated"]


async def test_history_keeps_what_was_not_matched(database_url: str, pool: Pool) -> None:
    """Moved to history it is read as before, and its week stays until rules have seen it."""
    matching = Matching(pool, ARNS)
    await rule(pool, {"detail": {"status": ["SUCCEEDED"]}})
    async with scheduler_stand(database_url) as stand:
        await ready(stand)
        job = await stand.submit()
        await stand.until(job, "SUCCEEDED")
        await stand.conn.execute(
            "UPDATE jobs SET stopped_at = stopped_at - interval '30 days' WHERE job_id = $1",
            uuid.UUID(job),
        )
        kept = timedelta(days=1)
        history = History(stand.scheduler.lead.leadership, kept, timedelta(0))
        await history.tick()
        await history.tick()
        assert await stand.conn.fetchval("SELECT count(*) FROM all_job_events") == 4
        await settle(matching)
        assert states(await delivered(pool)) == [(job, "SUCCEEDED")]
        await history.tick()
        assert await stand.conn.fetchval("SELECT count(*) FROM all_job_events") == 0


async def test_all_of_a_large_array_is_told_in_bounded_parts(
    database_url: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longshore.events.matching.STEPS", 7)
    monkeypatch.setattr("longshore.events.matching.DELIVERIES", 5)
    await rule(pool, {"detail": {"status": ["RUNNABLE"]}}, targets=2)
    async with scheduler_stand(database_url) as stand:
        await ready(stand)
        array = await stand.submit(size=30)
        await stand.until(array, "SUCCEEDED")
        matching = Matching(pool, ARNS)
        await settle(matching)
    told = states(await delivered(pool))
    assert sorted(told) == sorted([(f"{array}:{n}", "RUNNABLE") for n in range(30)] * 2)


async def test_agents_join_and_leave_clusters_as_at_aws(database_url: str, pool: Pool) -> None:
    """What consumers cut the environment's name from is there."""
    await rule(pool, {"detail": {"eventName": [{"suffix": "ContainerInstance"}]}})
    matching = Matching(pool, ARNS)
    async with scheduler_stand(database_url) as stand:
        await ready(stand)
        await stand.conn.execute("UPDATE agents SET status = 'LOST'")
        await settle(matching)
    joined, left = (event["detail"] for event in await delivered(pool))
    assert joined["eventName"] == "RegisterContainerInstance"
    assert left["eventName"] == "DeregisterContainerInstance"
    cluster = joined["requestParameters"]["cluster"]
    assert cluster.split("/")[-1].split("_Batch")[0] == "machines"
    instance = joined["responseElements"]["containerInstance"]
    assert instance["ec2InstanceId"] == "i-00000000000000000"
    assert {"name": "CPU", "type": "INTEGER", "integerValue": 8192} in instance[
        "registeredResources"
    ]


async def test_calls_on_record_are_told_of_those_that_write_alone(pool: Pool) -> None:
    """Unless a rule asks for reads as well, which may not be on record."""
    at = datetime.now(UTC)
    called = [
        found_by(
            {
                "eventID": str(uuid.uuid4()),
                "userIdentity": {},
                "eventSource": "batch.amazonaws.com",
                "eventName": name,
                "readOnly": is_read,
                "requestParameters": {"tags": {HOPS_TAG: "3"}},
            },
            at,
        )
        for name, is_read in (("SubmitJob", False), ("DescribeJobs", True))
    ]
    await rule(pool, {"source": ["aws.batch"], "detail": {"eventSource": [{"exists": True}]}}, "w")
    await rule(pool, {"detail": {"eventName": ["DescribeJobs"]}}, "r")
    async with transaction(pool) as conn:
        await conn.execute(
            "UPDATE event_rules SET state = 'ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS' "
            "WHERE name = 'r'"
        )
    await audit_record.write(pool, called, is_repeated=False)
    matching = Matching(pool, ARNS)
    await settle(matching)
    await settle(matching)
    events = await delivered(pool)
    assert [event["detail"]["eventName"] for event in events] == ["SubmitJob", "DescribeJobs"]
    assert {event["detail-type"] for event in events} == {"AWS API Call via CloudTrail"}
    assert [hops_of(event) for event in events] == [3, 3]
