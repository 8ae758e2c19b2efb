"""A job's life as a trace: made of recorded times once it is over, the same whoever makes it.

A job belongs to the trace of whoever submitted it, as the W3C's `traceparent` says, or to one of
its own, derived from its id. A child of an array has a trace of its own, which links to its
array's: ten thousand children under one span can be looked at by nobody. Ids of spans are digests
of job, attempt and stage, so an attempt knows its span's id before it starts and hands it to what
it runs.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from longshore.domain.job.job import JobKey, JobStatus

#: W3C Trace Context: version, trace id, id of the parent's span, flags; what newer versions add.
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
#: Characters of a `tracestate` that is kept, as the W3C asks of whoever passes it on.
TRACESTATE_MAX = 512
#: Nor may it have what gRPC's metadata cannot: tabs are no loss.
_TRACESTATE = re.compile(r"[\x20-\x7e]*")
#: Trace ids are sampled by their last eight bytes.
_SAMPLED_OF = 2**64

AttributeValue = str | int


@dataclass(frozen=True, slots=True)
class TraceParent:
    """The span that a job was submitted from."""

    trace_id: str
    span_id: str
    is_sampled: bool
    #: What tracing systems keep beside it; empty for nothing.
    state: str = ""

    @property
    def text(self) -> str:
        """As `traceparent` has it."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"


@dataclass(frozen=True, slots=True)
class SpanContext:
    """Where a span is."""

    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedSpan:
    """A span of a job's life."""

    name: str
    context: SpanContext
    parent_id: str | None
    started_at: datetime
    ended_at: datetime
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    #: What happened in it: when, and as what.
    events: tuple[tuple[datetime, str], ...] = ()
    link: SpanContext | None = None
    #: Why it failed; None: it did not.
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedAttempt:
    """An attempt that ended, as it is on record."""

    key: JobKey
    attempt: int
    instance_id: str
    image: str | None
    placed_at: datetime
    started_at: datetime | None
    stopped_at: datetime
    exit_code: int | None
    status_reason: str | None
    #: For how long it waited for its images; None: they were there.
    pull_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedJob:
    """A job that is over, as it is on record."""

    key: JobKey
    name: str
    job_queue: str
    definition: str
    status: JobStatus
    status_reason: str | None
    created_at: datetime
    stopped_at: datetime
    #: Of the array, for a child.
    parent: TraceParent | None
    events: Sequence[tuple[datetime, JobStatus]]
    attempts: Sequence[TracedAttempt]


def parse_traceparent(text: str | None, state: str | None = None) -> TraceParent | None:
    """Reads `traceparent` and `tracestate`; what is none is as if nothing had been sent.

    That is W3C Trace Context's rule: a broken header never fails a call.
    """
    match = _TRACEPARENT.fullmatch(text or "")
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) * int(span_id, 16):
        return None
    kept = state or ""
    if len(kept) > TRACESTATE_MAX or _TRACESTATE.fullmatch(kept) is None:
        kept = ""
    return TraceParent(trace_id, span_id, bool(int(flags, 16) & 1), kept)


def span_id(key: JobKey, attempt: int = 0, stage: str = "job") -> str:
    """The id of a span: 16 hexadecimal digits."""
    return hashlib.sha256(f"{key}/{attempt}/{stage}".encode()).hexdigest()[:16]


def trace_id(key: JobKey, parent: TraceParent | None) -> str:
    """The id of the trace of a job, a node or a child: 32 hexadecimal digits."""
    if key.is_child:
        return hashlib.sha256(str(key).encode()).hexdigest()[:32]
    return key.job_id.hex if parent is None else parent.trace_id


def is_sampled(key: JobKey, parent: TraceParent | None, ratio: float) -> bool:
    """Whether a job's trace is kept: as its submitter's is, else by its trace id."""
    if parent is not None and not key.is_child:
        return parent.is_sampled
    return int(trace_id(key, parent)[16:], 16) < ratio * _SAMPLED_OF


def of_attempt(
    key: JobKey, attempt: int, parent: TraceParent | None, ratio: float | None
) -> TraceParent | None:
    """What an attempt hands to what it runs.

    Args:
        key: the job, child or node.
        attempt: its number.
        parent: the span that the job was submitted from.
        ratio: which share of traces is kept; None: no spans of jobs are made, and what the
            submitter gave goes on as it is.
    """
    if ratio is None:
        return parent
    return TraceParent(
        trace_id(key.job if key.is_node else key, parent),
        span_id(key, attempt, "attempt"),
        is_sampled(key.job, parent, ratio),
        "" if parent is None or key.is_child else parent.state,
    )


def spans(job: TracedJob) -> Iterator[TracedSpan]:
    """The spans of a job that is over: the job, what it waited for, and its attempts."""
    trace, parent = trace_id(job.key, job.parent), job.parent
    whole = SpanContext(trace, span_id(job.key))
    link = None
    if job.key.is_child:
        array = JobKey(job.key.job_id)
        link = SpanContext(trace_id(array, parent), span_id(array))
    yield TracedSpan(
        name=f"job {job.name}",
        context=whole,
        parent_id=None if parent is None or job.key.is_child else parent.span_id,
        started_at=job.created_at,
        ended_at=max(job.stopped_at, job.created_at),
        attributes={
            "longshore.job.id": str(job.key),
            "longshore.job.queue": job.job_queue,
            "longshore.job.definition": job.definition,
            "longshore.job.status": job.status.value,
            "cicd.pipeline.run.id": str(job.key),
        },
        events=tuple((at, status.value) for at, status in job.events),
        link=link,
        error=_error(job.status is JobStatus.FAILED, job.status_reason),
    )
    yield from _waits(job, whole)
    for one in job.attempts:
        yield from _attempt(one, whole)


def _waits(job: TracedJob, whole: SpanContext) -> Iterator[TracedSpan]:
    """What a job waited for until each of its attempts was placed, or until it failed."""
    events = sorted(job.events, key=lambda event: event[0])
    # A child has no events before its first attempt: it exists from when it may be placed on.
    if job.key.is_child and (not events or events[0][1] is not JobStatus.RUNNABLE):
        events.insert(0, (job.created_at, JobStatus.RUNNABLE))
    ends = [at for at, _ in events[1:]] + [job.stopped_at]
    for number, ((at, status), end) in enumerate(zip(events, ends, strict=True)):
        waits_for = _WAITS_FOR.get(status)
        if waits_for is not None and end > at:
            yield TracedSpan(
                name=f"waiting: {waits_for}",
                context=SpanContext(whole.trace_id, span_id(job.key, number, "waiting")),
                parent_id=whole.span_id,
                started_at=at,
                ended_at=end,
                attributes={"longshore.job.status": status.value},
            )


_WAITS_FOR = {JobStatus.PENDING: "DEPENDENCIES", JobStatus.RUNNABLE: "CAPACITY"}


def _attempt(one: TracedAttempt, whole: SpanContext) -> Iterator[TracedSpan]:
    trace = whole.trace_id
    own = SpanContext(trace, span_id(one.key, one.attempt, "attempt"))
    attributes: dict[str, AttributeValue] = {
        "longshore.job.id": str(one.key),
        "longshore.job.attempt": one.attempt,
        "host.id": one.instance_id,
    }
    if one.image is not None:
        attributes["container.image.name"] = one.image
    if one.exit_code is not None:
        attributes["process.exit.code"] = one.exit_code
    stopped_at = max(one.stopped_at, one.placed_at)
    node = f", node {one.key.node_index}" if one.key.is_node else ""
    yield TracedSpan(
        name=f"attempt {one.attempt}{node}",
        context=own,
        parent_id=whole.span_id,
        started_at=one.placed_at,
        ended_at=stopped_at,
        attributes=attributes,
        error=_error(one.exit_code != 0, one.status_reason),
    )
    stages = []
    created_at, started_at = one.placed_at, one.started_at
    if one.pull_seconds is not None:
        # Pulling is the first that an attempt does, and its agent hears of it at once.
        created_at = min(created_at + timedelta(seconds=one.pull_seconds), started_at or stopped_at)
        stages.append(("pull", one.placed_at, created_at))
    stages.append(("create", created_at, started_at or stopped_at))
    if started_at is not None:
        stages.append(("run", started_at, stopped_at))
    for stage, since, until in stages:
        yield TracedSpan(
            name=stage,
            context=SpanContext(trace, span_id(one.key, one.attempt, stage)),
            parent_id=own.span_id,
            started_at=since,
            ended_at=max(until, since),
        )


def _error(failed: bool, reason: str | None) -> str | None:
    return (reason or "FAILED") if failed else None
