"""PutLogEvents: what callers write into streams of their own, as lines of the stored form."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from longshore.domain.errors import InvalidRequest
from longshore.logs.catalogue import Group
from longshore.logs.cloudwatch.naming import check_range, find_group, find_log, no_stream
from longshore.logs.scan import BROKEN, LINE_BREAK
from longshore.logs.store import LogStore
from longshore.v1 import cloudwatch_logs_service_pb2 as pb

EVENTS_MAX = 10_000
#: Bytes of all events, of which each takes those of its message and `EVENT_HEAD`.
BYTES_MAX = 1_048_576
EVENT_HEAD = 26
#: From the first to the last event.
SPAN = timedelta(hours=24)
#: What is older is not taken, or what is further ahead.
OLD = timedelta(days=14)
AHEAD = timedelta(hours=2)
#: The longest text in one line, in bytes.
TEXT_BYTES = 16 * 1024
#: The last time that a line can have.
_TIME_MOST = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp() * 1000)


async def put_log_events(
    store: LogStore, request: pb.PutLogEventsRequest, now: datetime
) -> pb.PutLogEventsResponse:
    """Appends events to a stream that CreateLogStream made; durably.

    Raises:
        InvalidRequest: a member is wrong.
        NotFound: there is no such group or stream.
    """
    group = find_group(store, request.log_group_name)
    log = await find_log(store, group, request.log_stream_name)
    stream = await store.catalogue.stream(group, log.name)
    if stream is None:
        raise no_stream()
    if not stream.is_put:
        raise InvalidRequest(
            "The stream is the log of an attempt, an agent or an engine, which it alone writes.",
            member="logStreamName",
        )
    events = request.log_events
    _check(events)
    answer, first, last = _rejected(events, group, now)
    if first < last:
        await store.append(log, None, b"".join(map(_lines, events[first:last])))
    answer.next_sequence_token = f"{log.stored:056d}"
    return answer


def _check(events: Sequence[pb.InputLogEvent]) -> None:
    if not 1 <= len(events) <= EVENTS_MAX:
        raise InvalidRequest(
            f"logEvents has {len(events)} entries; it must have 1 to {EVENTS_MAX}.",
            member="logEvents",
        )
    size = 0
    for index, event in enumerate(events):
        check_range(event.timestamp, 0, _TIME_MOST, f"logEvents.{index + 1}.member.timestamp")
        if not event.message:
            raise InvalidRequest(
                f"logEvents[{index}].message must have a character at least.",
                member=f"logEvents[{index}].message",
            )
        size += len(event.message.encode()) + EVENT_HEAD
    if size > BYTES_MAX:
        raise InvalidRequest(
            f"Upload too large: {size} bytes exceeds limit of {BYTES_MAX}", member="logEvents"
        )
    if any(later.timestamp < earlier.timestamp for earlier, later in pairwise(events)):
        raise InvalidRequest(
            "Log events in a single PutLogEvents request must be in chronological order.",
            member="logEvents",
        )
    if events[-1].timestamp - events[0].timestamp > SPAN // timedelta(milliseconds=1):
        raise InvalidRequest(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 "
            "hours.",
            member="logEvents",
        )


def _rejected(
    events: Sequence[pb.InputLogEvent], group: Group, now: datetime
) -> tuple[pb.PutLogEventsResponse, int, int]:
    """The answer so far, and which events are taken: from one, up to another."""

    def before(time: datetime) -> int:
        """How many events are older."""
        limit = int(time.timestamp() * 1000)
        return sum(event.timestamp < limit for event in events)

    answer = pb.PutLogEventsResponse()
    rejected = answer.rejected_log_events_info
    first, last = before(now - OLD), before(now + AHEAD)
    if first:
        rejected.too_old_log_event_end_index = first
    if group.retention_days is not None:
        expired = before(now - timedelta(days=group.retention_days))
        if expired:
            rejected.expired_log_event_end_index = expired
        first = max(first, expired)
    if last < len(events):
        rejected.too_new_log_event_start_index = last
    if not rejected.ListFields():
        answer.ClearField("rejected_log_events_info")
    return answer, first, last


def _lines(event: pb.InputLogEvent) -> bytes:
    """An event as lines that are read as one: parts as long as lines get."""
    seconds, milliseconds = divmod(event.timestamp, 1000)
    stamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    head = b"%s.%03d000000Z stdout " % (stamp.encode(), milliseconds)
    return b"".join(b"%s%s %s\n" % (head, tag, text) for tag, text in _parts(event.message))


def _parts(message: str) -> Iterator[tuple[bytes, bytes]]:
    text, ending = message.encode(), b""
    if b"\n" in text:
        text, ending = text.replace(b"\n", LINE_BREAK), BROKEN
    while len(text) > TEXT_BYTES:
        yield b"P" + ending, text[:TEXT_BYTES]
        text = text[TEXT_BYTES:]
    yield b"F" + ending, text
