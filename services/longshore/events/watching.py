"""Events as a stream: whoever follows reads what happened from a position of its own.

Nothing is kept for a follower but its place: the stream is made from the same tables as
deliveries, and one that broke goes on behind the last event that it got.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime

from longshore.domain.arn import Arns
from longshore.domain.errors import LimitExceeded, NotFound, OutOfRange
from longshore.domain.events.matching import Candidates, MatchedRule, Matcher, steps
from longshore.domain.events.occurrence import Position
from longshore.events.composing import compose
from longshore.state.events import outbox
from longshore.state.events import rule as table
from longshore.state.pool import Pool, connection

#: Rows read at one time for a stream, and of these the events that are made.
ROWS = 200
STEPS = 200
#: Streams of one process.
STREAMS = 64
#: When to look again whether told or not, and while an older transaction holds something up.
LOOK_SECONDS = 1.0
HELD_UP_SECONDS = 0.02
#: A pattern that every event has.
_ALL = '{"version": ["0"]}'


class Watching:
    """Streams events."""

    def __init__(self, pool: Pool, arns: Arns) -> None:
        self._pool = pool
        self._arns = arns
        self._followers: set[asyncio.Event] = set()

    def wake(self) -> None:
        """Something happened."""
        for follower in self._followers:
            follower.set()

    async def watch(
        self,
        bus: str,
        pattern: str | None,
        *,
        after: Position | None,
        since: datetime | None,
        until_now: bool,
    ) -> AsyncIterator[tuple[Position, str]]:
        """Events with the positions behind them; first a position alone, with an empty text.

        Raises:
            InvalidRequest: the pattern is none.
            NotFound: there is no such bus.
            OutOfRange: nothing has the position yet.
            LimitExceeded: too many streams are open.
        """
        rule = MatchedRule(bus, "", Matcher.of(pattern or _ALL))
        if len(self._followers) >= STREAMS:
            raise LimitExceeded(f"{STREAMS} streams of events are open here; close one.")
        told = asyncio.Event()
        self._followers.add(told)
        try:
            async with connection(self._pool) as conn:
                if not await table.bus_exists(conn, bus):
                    raise NotFound(f"Event bus {bus} does not exist.")
                now, latest = await outbox.end(conn), await outbox.latest(conn)
                if since is not None and after is None:
                    after = await outbox.since(conn, since)
            if after is not None and after > now:
                raise OutOfRange(
                    "after_position is of a later event than there is, perhaps of another "
                    "installation; give none to begin now."
                )
            at = now if after is None else after
            yield at, ""
            async for one in self._follow(rule, at, latest if until_now else None, told):
                yield one
        finally:
            self._followers.discard(told)

    async def _follow(
        self, rule: MatchedRule, at: Position, end: Position | None, told: asyncio.Event
    ) -> AsyncIterator[tuple[Position, str]]:
        candidates = Candidates((rule,))
        async with connection(self._pool) as conn:
            _, namespace = await outbox.cursor(conn)
        while end is None or at < end:
            told.clear()
            async with connection(self._pool) as conn:
                happened = await outbox.read(conn, at, ROWS)
                taken = list(steps(happened, candidates.of, STEPS))
                composed = await compose(conn, self._arns, namespace, taken)
                is_behind = not taken and (await outbox.lag(conn, at))[1]
            for place, one in enumerate(composed):
                # Of several events of one thing only the last is behind it.
                is_last = place + 1 == len(composed) or composed[place + 1].after != one.after
                if is_last:
                    at = one.after
                yield at, one.text
            if taken:
                at = taken[-1].after
                continue
            if end is not None and not is_behind:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HELD_UP_SECONDS if is_behind else LOOK_SECONDS):
                    await told.wait()
