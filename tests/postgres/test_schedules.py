"""Schedules by the client: they are made whole or not at all, and submit jobs."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from support.events import EventStand, event_stand
from support.patience import PATIENCE_SECONDS
from support.submission import Stand, submission_stand

from longshore.state import listen
from longshore_client import Addresses, Client, InvalidRequest, NotFound, PreconditionFailed


@dataclass(frozen=True)
class World:
    """Both services, and a client of them."""

    client: Client
    events: EventStand
    submission: Stand


@pytest_asyncio.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with (
        submission_stand(database_url) as submission,
        event_stand(database_url, tmp_path / "key", submission=submission.target) as events,
    ):
        await submission.prepare()
        nowhere = "127.0.0.1:1"
        addresses = Addresses(submission.target, *[nowhere] * 4, events.target)
        async with Client(addresses) as client:
            yield World(client, events, submission)


async def submitted(world: World) -> str:
    """The id of the first job that there is."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            job_id = await world.events.conn.fetchval("SELECT job_id FROM jobs LIMIT 1")
            if job_id is not None:
                return str(job_id)
            await asyncio.sleep(0.05)


async def test_a_schedule_submits_the_job_that_was_asked_for(world: World) -> None:
    arn = await world.client.create_schedule(
        "nightly",
        "cron(0 3 * * ? *)",
        queue="q",
        definition="d",
        command=["echo", "it's"],
        env={"A": "1"},
        array_size=3,
        attempts=2,
        description="reports",
    )
    assert arn == "arn:aws:events:us-east-1:123456789012:rule/nightly"
    [rule] = [rule async for rule in world.client.list_rules()]
    assert (rule.schedule_expression, rule.state) == ("cron(0 3 * * ? *)", "ENABLED")
    assert rule.next_time > 0
    _, [target] = await world.client.describe_rule("nightly")
    assert target.batch_parameters.job_name == "nightly"

    # As when nobody looked for two days.
    await world.events.conn.execute("UPDATE event_rules SET due_at = now() - interval '2 days'")
    await world.events.conn.execute("SELECT pg_notify($1, '')", listen.EVENT_RULES)
    job = await world.submission.describe(await submitted(world))
    assert (job["jobName"], job["arrayProperties"]["size"]) == ("nightly", 3)
    assert job["container"]["command"] == ["echo", "it's"]
    assert {"name": "A", "value": "1"} in job["container"]["environment"]
    assert job["retryStrategy"]["attempts"] == 2

    await world.client.delete_schedule("nightly")
    assert [rule async for rule in world.client.list_rules()] == []
    assert await world.submission.job_count() == 1


async def test_a_schedule_that_cannot_be_is_not_there(world: World) -> None:
    create = world.client.create_schedule
    with pytest.raises(NotFound, match="no job queue none"):
        await create("s", "rate(1 day)", queue="none", definition="d")
    for definition in ("none", "d:7"):
        with pytest.raises(NotFound, match=f"no ACTIVE job definition {definition}"):
            await create("s", "rate(1 day)", queue="q", definition=definition)
    with pytest.raises(InvalidRequest, match="ScheduleExpression is not valid"):
        await create("s", "daily", queue="q", definition="d")
    with pytest.raises(InvalidRequest, match="arrayProperties"):
        await create("s", "rate(1 day)", queue="q", definition="d", array_size=1)
    assert [rule async for rule in world.client.list_rules()] == []

    await create("s", "rate(1 day)", queue="q", definition="d:1")
    with pytest.raises(PreconditionFailed, match="a rule s already"):
        await create("s", "rate(2 days)", queue="q", definition="d")
    await world.events("PutRule", Name="p", EventPattern='{"source": ["x"]}')
    with pytest.raises(PreconditionFailed, match="has no schedule"):
        await world.client.delete_schedule("p")
    with pytest.raises(NotFound):
        await world.client.delete_schedule("none")
