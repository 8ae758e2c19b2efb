"""Rules of events over gRPC, on a real database."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.events import EventStand, event_stand
from support.patience import PATIENCE_SECONDS

from longshore.domain.errors import InvalidRequest, LongshoreError, NotFound

PATTERN = '{"source": ["aws.batch"]}'


@pytest_asyncio.fixture
async def events(database_url: str, tmp_path: Path) -> AsyncIterator[EventStand]:
    async with event_stand(database_url, tmp_path / "key") as stand:
        yield stand


async def refused(events: EventStand, operation: str, **members: object) -> LongshoreError:
    with pytest.raises(LongshoreError) as raised:
        await events(operation, **members)
    return raised.value


async def test_a_rule_comes_back_as_it_was_put_and_is_replaced_wholly(events: EventStand) -> None:
    put = await events(
        "PutRule", Name="r", EventPattern=PATTERN, Description="mine", State="DISABLED"
    )
    assert put == {"RuleArn": "arn:aws:events:us-east-1:123456789012:rule/r"}
    described = {
        "Name": "r",
        "Arn": put["RuleArn"],
        "EventPattern": PATTERN,
        "State": "DISABLED",
        "Description": "mine",
        "EventBusName": "default",
        "CreatedBy": "123456789012",
    }
    assert await events("DescribeRule", Name="r") == described

    bus = "arn:aws:events:us-east-1:123456789012:event-bus/default"
    await events("PutRule", Name="r", EventPattern=PATTERN, EventBusName=bus)
    assert await events("DescribeRule", Name="r") == {
        name: value for name, value in described.items() if name != "Description"
    } | {"State": "ENABLED"}


async def test_rules_are_listed_by_name_and_prefix_page_by_page(events: EventStand) -> None:
    for name in ("b", "a-2", "a-1"):
        await events("PutRule", Name=name, EventPattern=PATTERN)
    first = await events("ListRules", Limit=2)
    assert [rule["Name"] for rule in first["Rules"]] == ["a-1", "a-2"]
    rest = await events("ListRules", Limit=2, NextToken=first["NextToken"])
    assert ([rule["Name"] for rule in rest["Rules"]], "NextToken" in rest) == (["b"], False)
    assert len((await events("ListRules", NamePrefix="a-"))["Rules"]) == 2


async def test_a_deleted_rule_is_gone_and_deleting_it_again_is_no_error(events: EventStand) -> None:
    await events("PutRule", Name="r", EventPattern=PATTERN)
    await events("DeleteRule", Name="r")
    await events("DeleteRule", Name="r")
    error = await refused(events, "DescribeRule", Name="r")
    assert isinstance(error, NotFound)
    assert error.message == "Rule r does not exist on EventBus default."


WRONG: list[tuple[dict[str, str], str]] = [
    ({}, "Value null at 'name' failed to satisfy constraint: Member must not be null"),
    ({"Name": "r r", "EventPattern": PATTERN}, "Member must satisfy regular expression"),
    ({"Name": "r" * 65, "EventPattern": PATTERN}, "length less than or equal to 64"),
    ({"Name": "r"}, "EventPattern or ScheduleExpression must be specified"),
    ({"Name": "r", "EventPattern": PATTERN, "State": "ON"}, "satisfy enum value set"),
    ({"Name": "r", "EventPattern": "{}"}, "Reason: Empty objects are not allowed"),
    (
        {"Name": "r", "EventPattern": PATTERN, "EventBusName": "x"},
        "Event bus x does not exist.",
    ),
]


async def test_what_is_wrong_is_refused_in_awss_words(events: EventStand) -> None:
    for members, says in WRONG:
        assert says in (await refused(events, "PutRule", **members)).message
    assert await events("ListRules") == {}


async def test_a_pattern_is_tried(events: EventStand) -> None:
    event = (
        '{"id": "1", "account": "1", "source": "aws.batch", "time": "2026-11-28T18:01:03Z", '
        '"region": "us-east-1", "resources": [], "detail-type": "x"}'
    )
    assert await events("TestEventPattern", EventPattern=PATTERN, Event=event) == {"Result": True}
    other = await events("TestEventPattern", EventPattern='{"source": ["x"]}', Event=event)
    assert other == {"Result": False}
    error = await refused(events, "TestEventPattern", EventPattern=PATTERN, Event="{}")
    assert error.message == "Parameter Event is not valid."
    error = await refused(events, "TestEventPattern", EventPattern="[]", Event=event)
    assert error.fields["code"] == "InvalidEventPatternException"
    assert isinstance(error, InvalidRequest)


async def test_a_rule_that_meets_the_end_of_its_bus_is_refused(events: EventStand) -> None:
    await events("CreateEventBus", Name="own")
    async with events.conn.transaction():
        await events.conn.execute("DELETE FROM event_buses WHERE name = 'own'")
        put = asyncio.create_task(
            refused(events, "PutRule", Name="r", EventPattern=PATTERN, EventBusName="own")
        )
        await locked(events, database_waits=1)
    assert (await put).message == "Event bus own does not exist."


async def locked(events: EventStand, *, database_waits: int) -> None:
    """Waits until so many others wait for a lock of the database."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            waiting = await events.conn.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if waiting >= database_waits:
                return
            await asyncio.sleep(0.02)
