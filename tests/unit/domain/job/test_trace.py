"""Traces of jobs: W3C's context read as it asks for, spans that anybody makes the same."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from longshore.domain.job.job import JobKey, JobStatus
from longshore.domain.job.trace import (
    TracedAttempt,
    TracedJob,
    TraceParent,
    is_sampled,
    of_attempt,
    parse_traceparent,
    span_id,
    spans,
    trace_id,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
JOB = JobKey(uuid.UUID("11111111-2222-3333-4444-555555555555"))
CHILD = JobKey(JOB.job_id, 7)
T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        # What a later version adds is passed over.
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
    ],
)
def test_a_context_is_read(text: str, sampled: bool) -> None:
    assert parse_traceparent(text, "a=1") == TraceParent(TRACE, SPAN, sampled, "a=1")


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "00", TRACE, f"00-{TRACE}-{SPAN}", f"00-{TRACE}-{SPAN}-01-more"),
        *(f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01"),
        *(f"00-{TRACE.upper()}-{SPAN}-01", f"00-{TRACE}-{SPAN}-0g", f"00-{TRACE}-{SPAN}-01\n"),
        *(f"00-{TRACE}-{SPAN}-01" + "x" * 10_000, f"\u0660\u0660-{TRACE}-{SPAN}-01"),
    ],
)
def test_what_is_no_context_is_as_if_nothing_came(text: str | None) -> None:
    assert parse_traceparent(text) is None


@pytest.mark.parametrize("state", ["x" * 513, "a=\0", "a=é", "a=1\n", "a=1,\tb=2"])
def test_a_state_that_cannot_be_kept_is_left_out(state: str) -> None:
    parent = parse_traceparent(f"00-{TRACE}-{SPAN}-01", state)
    assert parent is not None
    assert not parent.state


def test_ids_are_the_same_whoever_makes_them() -> None:
    parent = TraceParent(TRACE, SPAN, True, "a=1")
    assert trace_id(JOB, parent) == TRACE
    assert trace_id(JOB, None) == JOB.job_id.hex
    assert trace_id(CHILD, parent) not in (TRACE, trace_id(JobKey(JOB.job_id, 8), parent))
    told = of_attempt(JOB, 2, parent, 0.0)
    assert told == TraceParent(TRACE, span_id(JOB, 2, "attempt"), True, "a=1")
    assert of_attempt(CHILD, 1, parent, 1.0) == TraceParent(
        trace_id(CHILD, parent), span_id(CHILD, 1, "attempt"), True
    )
    node = JobKey.node(JOB.job_id, 1)
    assert of_attempt(node, 1, None, 1.0) == TraceParent(
        JOB.job_id.hex, span_id(node, 1, "attempt"), True
    )
    assert of_attempt(JOB, 1, None, None) is None
    assert of_attempt(JOB, 1, parent, None) is parent


def test_a_share_of_traces_is_kept() -> None:
    keys = [JobKey(uuid.UUID(int=n * 0x9E3779B97F4A7C15 % 2**128)) for n in range(1, 2_001)]
    kept = sum(is_sampled(key, None, 0.25) for key in keys)
    assert 400 < kept < 600
    assert all(is_sampled(key, None, 1.0) for key in keys)
    assert not any(is_sampled(key, None, 0.0) for key in keys)
    assert not is_sampled(JOB, TraceParent(TRACE, SPAN, False), 1.0), "as its submitter's"


def test_the_life_of_a_job_becomes_spans() -> None:
    attempts = [
        TracedAttempt(
            key=JOB,
            attempt=number,
            instance_id="i-1",
            image="busybox",
            placed_at=at(placed),
            started_at=at(placed + 1),
            stopped_at=at(placed + 5),
            exit_code=code,
            status_reason="said",
            pull_seconds=pulled,
        )
        for number, placed, code, pulled in ((1, 10, 1, None), (2, 20, 0, 0.75))
    ]
    moves = [
        *((0, JobStatus.PENDING), (4, JobStatus.RUNNABLE), (10, JobStatus.STARTING)),
        *((11, JobStatus.RUNNING), (15, JobStatus.RUNNABLE), (20, JobStatus.STARTING)),
        *((21, JobStatus.RUNNING), (25, JobStatus.SUCCEEDED)),
    ]
    job = TracedJob(
        key=JOB,
        name="j",
        job_queue="q",
        definition="d:1",
        status=JobStatus.SUCCEEDED,
        status_reason="done",
        created_at=at(-1),
        stopped_at=at(25),
        parent=None,
        events=[(at(seconds), status) for seconds, status in moves],
        attempts=attempts,
    )
    made = list(spans(job))
    times = [
        (s.name, (s.started_at - T0).total_seconds(), (s.ended_at - T0).total_seconds())
        for s in made
    ]
    assert times == [
        ("job j", -1, 25),
        ("waiting: DEPENDENCIES", 0, 4),
        ("waiting: CAPACITY", 4, 10),
        ("waiting: CAPACITY", 15, 20),
        ("attempt 1", 10, 15),
        ("create", 10, 11),
        ("run", 11, 15),
        ("attempt 2", 20, 25),
        ("pull", 20, 20.75),
        ("create", 20.75, 21),
        ("run", 21, 25),
    ]
    assert made == list(spans(job))
    assert len({span.context.span_id for span in made}) == len(made)
    errors = {span.name: span.error for span in made if span.error}
    assert errors == {"attempt 1": "said"}
