"""What an audit record says and is found by, and how one is chained to the next."""

import dataclasses
import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from longshore.domain.audit import chain
from longshore.domain.audit import record as audit
from longshore.domain.audit.record import AuditedCaller, AuditRecord, Refusal

AT = datetime(2026, 11, 28, 18, 1, 0, 123_456, tzinfo=UTC)
CALLER = AuditedCaller(
    address="10.0.0.7",
    user_agent="Boto3/1",
    access_key_id="AKIA",
    request_id="r",
    account="123456789012",
    region="us-east-1",
)


def a_record(name: str = "SubmitJob", **members: Any) -> AuditRecord:
    given = {"parameters": {"jobQueue": "q"}, "response": {"jobId": "j"}, "caller": CALLER}
    return audit.record_of(
        at=AT,
        event_id=audit.event_id_at(AT, 5),
        source="batch.amazonaws.com",
        name=name,
        **(given | members),
    )


def test_a_record_is_found_by_what_its_call_names() -> None:
    arn = "arn:aws:batch:us-east-1:123456789012:job-definition/d:3"
    found = a_record(parameters={"jobQueue": "q", "jobDefinition": arn, "jobName": "x"})
    assert found.resources == (
        ("AWS::Batch::JobQueue", "q"),
        ("AWS::Batch::JobDefinition", "d:3"),
        ("AWS::Batch::Job", "j"),
    )
    assert audit.resource_name(arn) == "d:3"


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("PutRule", {"Name": "r"}, ("AWS::Events::Rule", "r")),
        ("CreateEventBus", {"Name": "b"}, ("AWS::Events::EventBus", "b")),
        (
            "TagResource",
            {"resourceArn": "arn:aws:batch:r:1:scheduling-policy/p"},
            ("AWS::Batch::SchedulingPolicy", "p"),
        ),
        (
            "TagResource",
            {"resourceArn": "arn:aws:logs:r:1:log-group:/aws/batch/job"},
            ("AWS::Logs::LogGroup", "/aws/batch/job"),
        ),
        ("TerminateJobs", {"jobs": ["1", "2"]}, ("AWS::Batch::Job", "2")),
    ],
)
def test_each_service_names_what_it_is_about(
    name: str, parameters: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert expected in a_record(name, parameters=parameters, response=None).resources


def test_reads_and_refused_calls_have_no_answer() -> None:
    refused = json.loads(a_record(refusal=Refusal("ClientException", "no")).text)
    assert (refused["responseElements"], refused["errorCode"]) == (None, "ClientException")
    read = json.loads(a_record("DescribeJobs").text)
    assert (read["responseElements"], read["readOnly"]) == (None, True)


@pytest.mark.parametrize(
    ("name", "is_refused", "with_reads", "expected"),
    [
        ("SubmitJob", False, False, True),
        ("StopJobs", False, False, True),
        ("ListJobs", False, False, False),
        ("ListJobs", False, True, True),
        ("ListJobs", True, False, True),
        ("PutLogEvents", False, False, False),
        ("TestEventPattern", False, False, False),
    ],
)
def test_what_is_recorded(name: str, is_refused: bool, with_reads: bool, expected: bool) -> None:
    assert audit.is_recorded(name, is_refused=is_refused, with_reads=with_reads) is expected


def test_large_members_give_way_and_say_so() -> None:
    members = {
        "jobs": ["x" * 36] * 1_000,
        "parameters": {"a": "y" * 20_000},
        "reason": "enough",
    }
    kept = audit.bounded(members)
    assert len(json.dumps(kept)) <= audit.PARAMETERS_BYTES
    assert kept["reason"] == "enough"
    assert kept["parameters"] == {"omitted": True, "originalSize": 20_008}
    assert len(kept["jobs"]) + kept["jobsOmitted"] == 1_000
    assert kept["jobs"]
    assert audit.bounded({"a": 1}) == {"a": 1}


def test_an_id_tells_its_time() -> None:
    event_id = audit.event_id_at(AT, 2**74 - 1)
    assert event_id.version == 7
    assert audit.time_of(event_id) == AT.replace(microsecond=123_000)
    assert audit.time_of(uuid.UUID(int=0)) is None
    assert audit.time_of(uuid.UUID("ffffffff-ffff-7fff-bfff-ffffffffffff")) is None


def test_what_no_column_takes_is_replaced() -> None:
    caller = dataclasses.replace(CALLER, user_agent="a\0\ud800" + "b" * 9_999)
    agent = json.loads(a_record(caller=caller).text)["userAgent"]
    assert agent.startswith("a\ufffd?b")
    assert len(agent) == 512


def test_what_was_changed_of_a_record_is_seen() -> None:
    record = a_record()
    assert audit.is_sound(record)
    for changed in (
        {"event_name": "DeleteJobQueue"},
        {"access_key_id": None},
        {"resources": ()},
        {"is_read": True},
        {"text": record.text.replace("SubmitJob", "CancelJob")},
        {"text": "[]"},
        {"text": "no json"},
        {"at": AT.replace(year=2025)},
    ):
        assert not audit.is_sound(dataclasses.replace(record, **changed))


def test_each_digest_follows_from_all_before() -> None:
    first = chain.first_digest(AT.date())
    assert first != chain.first_digest(AT.date().replace(day=1))
    one = chain.next_digest(first, 1, "a")
    assert len({one, chain.next_digest(first, 2, "a"), chain.next_digest(first, 1, "b")}) == 3
    assert chain.next_digest(one, 2, "b") != chain.next_digest(first, 2, "b")
