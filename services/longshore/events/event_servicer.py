"""EventService on the wire: check, call, convert."""

from collections.abc import AsyncIterator
from datetime import UTC

from longshore.domain.checks import check_count
from longshore.domain.events.members import text
from longshore.domain.events.occurrence import Position
from longshore.domain.events.reference import bus_name
from longshore.domain.page import NUMBER_64, decode_token, encode_token, page_size
from longshore.events.watching import Watching
from longshore.state.events import delivery
from longshore.state.pool import Pool, connection, transaction
from longshore.v1 import event_service_pb2 as pb
from longshore.v1 import event_service_pb2_grpc

PATTERN_CHARACTERS = 4_096
PAGE_MAXIMUM = 100
RESEND_MAXIMUM = 1_000


class EventServicer(event_service_pb2_grpc.EventServiceServicer):
    """What longshore has beyond EventBridge."""

    def __init__(self, pool: Pool, watching: Watching) -> None:
        self._pool = pool
        self._watching = watching

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, context: object
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        """Streams events."""
        pattern = request.event_pattern if request.HasField("event_pattern") else None
        text(pattern, "event_pattern", PATTERN_CHARACTERS)
        after = None
        if request.HasField("after_position"):
            after = Position.parse(request.after_position, "after_position")
        since = None
        if request.HasField("since_time"):
            since = request.since_time.ToDatetime(UTC)
        bus = bus_name(
            request.event_bus_name if request.HasField("event_bus_name") else None,
            "event_bus_name",
        )
        events = self._watching.watch(
            bus, pattern, after=after, since=since, until_now=request.until_now
        )
        async for position, event in events:
            yield pb.WatchEventsResponse(position=str(position), event=event)

    async def ListDeadLetters(
        self, request: pb.ListDeadLettersRequest, context: object
    ) -> pb.ListDeadLettersResponse:
        """Answers a page of what could not be delivered."""
        size = page_size(request.page_size if request.HasField("page_size") else None, PAGE_MAXIMUM)
        before = None
        if request.page_token:
            before = int(decode_token(request.page_token, "letters", [NUMBER_64])[0])
        async with connection(self._pool) as conn:
            found = await delivery.letters(
                conn,
                request.event_bus_name if request.HasField("event_bus_name") else None,
                request.rule if request.HasField("rule") else None,
                before=before,
                limit=size + 1,
            )
        more = encode_token("letters", [found[size - 1].letter_id]) if len(found) > size else ""
        response = pb.ListDeadLettersResponse(next_page_token=more)
        for letter in found[:size]:
            response.letters.append(_letter(letter))
        return response

    async def ResendDeadLetters(
        self, request: pb.ResendDeadLettersRequest, context: object
    ) -> pb.ResendDeadLettersResponse:
        """Sends dead letters anew."""
        check_count(request.letter_ids, RESEND_MAXIMUM, "letter_ids")
        async with transaction(self._pool) as conn:
            sent = await delivery.resend(conn, request.letter_ids)
        return pb.ResendDeadLettersResponse(letter_ids=sent)


def _letter(letter: delivery.DeadLetter) -> pb.DeadLetter:
    shown = pb.DeadLetter(
        letter_id=letter.letter_id,
        event_bus_name=letter.bus,
        rule=letter.rule,
        target_id=letter.target,
        event=letter.event,
        condition=letter.condition,
        error_code=letter.error_code,
        error_message=letter.error,
        tries=letter.tries,
    )
    shown.give_up_time.FromDatetime(letter.at)
    return shown
