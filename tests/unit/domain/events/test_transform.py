"""What a target gets of an event."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from longshore.domain.errors import InvalidRequest, LimitExceeded
from longshore.domain.events.transform import MISSING, Occasion, parse_path, transform_of

EVENT: dict[str, Any] = {
    "version": "0",
    "detail-type": "Batch Job State Change",
    "detail": {
        "jobName": "square",
        "statusReason": 'said "no"\n',
        "createdAt": 1795867360123,
        "attempts": [{"exitCode": 1}, {"exitCode": 0}],
        "tags": {"team": "a"},
        "isIt": True,
    },
}
OCCASION = Occasion("arn:rule", "mine", datetime(2026, 11, 28, 18, 1, 3, 500, UTC))


def sent(**target: Any) -> str:
    return transform_of({"Id": "t", **target}, "Targets[0]").apply(EVENT, OCCASION)


def templated(template: str, **paths: str) -> str:
    return sent(InputTransformer={"InputTemplate": template, "InputPathsMap": paths})


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", EVENT),
        ("$.detail.jobName", "square"),
        ("$.detail-type", "Batch Job State Change"),
        ("$['detail-type']", "Batch Job State Change"),
        ('$["detail"].attempts[1].exitCode', 0),
        ("$.detail.attempts[*].exitCode", [1, 0]),
        ("$.detail.attempts[2]", MISSING),
        ("$.detail.attempts.exitCode", MISSING),
        ("$.detail.none", MISSING),
        ("$.detail.jobName[0]", MISSING),
    ],
)
def test_a_path_leads_to_a_part(path: str, found: Any) -> None:
    assert parse_path(path, "InputPath").of(EVENT) == found


@pytest.mark.parametrize(
    "path", ["", "detail", "$detail", "$.", "$..a", "$.a[x]", "$.a[-1]", "$[*][*]", "$['a\"]"]
)
def test_no_path(path: str) -> None:
    with pytest.raises(InvalidRequest, match="is no path like"):
        parse_path(path, "InputPath")


def test_all_of_the_event_a_constant_or_a_part() -> None:
    assert json.loads(sent()) == EVENT
    assert sent(Input='{"a":  1}') == '{"a":  1}'
    assert sent(InputPath="$.detail.tags") == '{"team":"a"}'
    assert sent(InputPath="$.none") == "null"


def test_a_part_is_json_and_within_quotes_its_text() -> None:
    paths = {"name": "$.detail.jobName", "at": "$.detail.createdAt", "tags": "$.detail.tags"}
    paths |= {"why": "$.detail.statusReason", "none": "$.detail.none", "is": "$.detail.isIt"}
    template = (
        '{"name": <name>, "text": "<name> at <at>: <why>", "at": <at>, "tags": <tags>, '
        '"said": "<tags>", "none": <none>, "empty": "<none>", "is": "<is>"}'
    )
    assert json.loads(templated(template, **paths)) == {
        "name": "square",
        "text": 'square at 1795867360123: said "no"\n',
        "at": 1795867360123,
        "tags": {"team": "a"},
        "said": '{"team":"a"}',
        "none": "",
        "empty": "",
        "is": "true",
    }
    assert templated('"<name> is <name>"', name="$.detail.jobName") == '"square is square"'
    # A quote behind a backslash is part of its text.
    assert templated(r'"a \"<name>\""', name="$.detail.jobName") == r'"a \"square\""'


def test_some_parts_are_there_without_being_named() -> None:
    template = (
        '{"arn": <aws.events.rule-arn>, "name": "<aws.events.rule-name>", '
        '"at": <aws.events.event.ingestion-time>, "all": <aws.events.event.json>, '
        '"head": <aws.events.event>}'
    )
    assert json.loads(templated(template)) == {
        "arn": "arn:rule",
        "name": "mine",
        "at": "2026-11-28T18:01:03Z",
        "all": EVENT,
        "head": {"version": "0", "detail-type": "Batch Job State Change"},
    }


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"Input": "x"}, "JSON syntax error in input for target t"),
        ({"Input": "[" * 100_000}, "JSON syntax error in input for target t"),
        ({"Input": "1", "InputPath": "$"}, "Only one of Input, InputPath, or InputTransformer"),
        ({"InputTransformer": {"InputTemplate": "<a>"}}, "contains invalid placeholder a"),
        ({"InputTransformer": {"InputTemplate": "<aws.events.x>"}}, "invalid placeholder aws.eve"),
        (
            {"InputTransformer": {"InputTemplate": "1", "InputPathsMap": {"aws": "$"}}},
            "do not begin with AWS",
        ),
        ({"InputTransformer": {"InputTemplate": "1", "InputPathsMap": {"a": "b"}}}, "is no path"),
    ],
)
def test_what_is_malformed_is_refused(target: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        sent(**target)


def test_what_is_sent_is_bounded_and_can_be_written() -> None:
    target = {"Id": "t", "InputTransformer": {"InputTemplate": "<aws.events.event.json>" * 300}}
    with pytest.raises(LimitExceeded, match="name smaller parts"):
        transform_of(target, "x").apply({"a": "b" * 1000}, OCCASION)
    lone = transform_of({"Id": "t"}, "x").apply({"a": "\ud800", "b": "ä"}, OCCASION)
    assert json.loads(lone.encode()) == {"a": "\ud800", "b": "ä"}
