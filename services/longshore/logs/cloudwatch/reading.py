"""GetLogEvents: pages of one stream."""

import re

from longshore.domain.errors import InvalidRequest
from longshore.logs.cloudwatch.naming import check_range, find_group, find_log, limit_of
from longshore.logs.paging import PAGE_EVENTS, EventPage, page_backward, page_forward
from longshore.logs.store import LogStore
from longshore.v1 import cloudwatch_logs_service_pb2 as pb

#: A direction, and the position of the first line that was not handed out.
_TOKEN = re.compile(r"([fb])/([0-9]{56})/s", re.ASCII)
TIME_MOST = 2**63 - 1


async def get_log_events(
    store: LogStore, request: pb.GetLogEventsRequest
) -> pb.GetLogEventsResponse:
    """A page of a stream, forwards or backwards.

    Raises:
        InvalidRequest: a member is wrong.
        NotFound: there is no such group or stream.
    """
    group = find_group(store, request.log_group_name, request.log_group_identifier)
    since, until = _time(request, "start_time", "startTime"), _time(request, "end_time", "endTime")
    limit = limit_of(request.limit if request.HasField("limit") else None, PAGE_EVENTS)
    forward, position = _position(request)
    log = await find_log(store, group, request.log_stream_name)
    log.readers += 1
    try:
        # A token says which way to go, whatever else is said.
        if forward:
            page = await store.on_thread(page_forward, log.view, position or 0, limit, since, until)
        else:
            page = await store.on_thread(page_backward, log.view, position, limit, since, until)
        return await store.on_thread(_answer, page)
    finally:
        log.readers -= 1


def _time(request: pb.GetLogEventsRequest, field: str, member: str) -> int | None:
    if not request.HasField(field):  # type: ignore[arg-type] # one of the two names given above
        return None
    value: int = getattr(request, field)
    check_range(value, 0, TIME_MOST, member)
    return value


def _position(request: pb.GetLogEventsRequest) -> tuple[bool, int | None]:
    """Whether to go forwards, and from where; None: from the end that this begins at."""
    if not request.HasField("next_token"):
        return request.start_from_head, None
    match = _TOKEN.fullmatch(request.next_token)
    position = int(match[2]) if match else TIME_MOST
    if match is None or position >= TIME_MOST:
        raise InvalidRequest("The specified nextToken is invalid.", member="nextToken")
    return match[1] == "f", position


def _answer(page: EventPage) -> pb.GetLogEventsResponse:
    event = pb.OutputLogEvent
    return pb.GetLogEventsResponse(
        events=[
            event(
                timestamp=timestamp,
                message=text.decode(errors="replace"),
                ingestion_time=stored_at,
            )
            for (_, _, timestamp, text), stored_at in page.events
        ],
        next_forward_token=f"f/{page.forward:056d}/s",
        next_backward_token=f"b/{page.backward:056d}/s",
    )
