"""Events as a stream, and what could not be delivered."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from longshore.backoff import Backoff
from longshore.v1 import event_service_pb2
from longshore_client import build
from longshore_client.call import BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS
from longshore_client.connection import Connection
from longshore_client.errors import Unavailable

#: Tries to go on with a stream that broke, as long as nothing comes in between.
TRIES = 8
#: Dead letters sent anew with one call.
RESENT = 1_000


@dataclass(frozen=True, slots=True)
class Event:
    """An event, and the position behind it."""

    #: Where another stream goes on after this event.
    position: str
    #: JSON in EventBridge's shape.
    text: str


class EventCalls(Connection):
    """The calls about events."""

    async def watch_events(
        self,
        pattern: str | None = None,
        *,
        after: str | None = None,
        since: datetime | None = None,
        follow: bool = True,
        bus: str | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Events in the order in which they were committed; a broken stream goes on where it broke.

        Args:
            pattern: in EventBridge's language; None for all events of the bus.
            after: the position behind which to begin.
            since: begin with events of this time and about a minute before; None: with now.
            follow: go on with what is still to happen.
            bus: its name; None for the default one.

        Raises:
            Unavailable: the event service is away; while following, only after several tries.
        """
        with build.well_formed():
            request = event_service_pb2.WatchEventsRequest(
                event_pattern=pattern,
                after_position=after,
                event_bus_name=bus,
                until_now=not follow,
            )
            if since is not None:
                request.since_time.FromDatetime(since)
        backoff = Backoff(BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS)
        while True:
            try:
                async for answer in self._caller.stream(self._watch.WatchEvents, request):
                    backoff.reset()
                    request.after_position = answer.position
                    if answer.event:
                        yield Event(answer.position, answer.event)
            except Unavailable:
                if backoff.failures >= (TRIES if follow else 0):
                    raise
            else:
                if not follow:
                    return
            await asyncio.sleep(backoff.delay())

    async def list_dead_letters(
        self, *, bus: str | None = None, rule: str | None = None, page_size: int | None = None
    ) -> AsyncIterator[event_service_pb2.DeadLetter]:
        """What could not be delivered, newest first, page after page.

        Args:
            bus: of rules of this bus alone.
            rule: of this rule alone.
            page_size: letters of a page.
        """
        with build.well_formed():
            request = event_service_pb2.ListDeadLettersRequest(
                event_bus_name=bus, rule=rule, page_size=page_size
            )
        while True:
            response = await self._caller.unary(self._watch.ListDeadLetters, request)
            for letter in response.letters:
                yield letter
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def resend_dead_letters(self, letter_ids: Sequence[int]) -> list[int]:
        """Sends dead letters anew; returns those that were there."""
        sent: list[int] = []
        for start in range(0, len(letter_ids), RESENT):
            with build.well_formed():
                request = event_service_pb2.ResendDeadLettersRequest(
                    letter_ids=letter_ids[start : start + RESENT]
                )
            # Who sends one twice sends what is there once.
            response = await self._caller.unary(self._watch.ResendDeadLetters, request)
            sent += response.letter_ids
        return sent
