"""Matches what happened with rules: one delivery for each event and target.

Whoever locks the cursor does, for one transaction: it reads what happened behind it, in the order
of commits, adds the deliveries and moves the cursor. Nothing is lost or repeated by who dies in the
middle, and another process goes on at once.
"""

from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Counter, Gauge

from longshore.domain.arn import Arns
from longshore.domain.errors import InvalidRequest
from longshore.domain.events.matching import Candidates, MatchedRule, Matcher, steps
from longshore.domain.events.rule import ENABLED_WITH_READS
from longshore.events.composing import compose
from longshore.state.events import delivery, outbox, replaying
from longshore.state.events.delivery import Lane, NewDelivery
from longshore.state.pool import Connection, Pool, transaction

log = structlog.get_logger()

#: Rows read in one pass, and of these, one of which may be many, the things that somebody may get
#: events of.
ROWS = 500
STEPS = 500
#: Rows that tell whether anything happened: the first may be the one at the cursor.
ROWS_TO_TELL = 2
#: Deliveries made in one transaction, more only of one event.
DELIVERIES = 5_000
#: When to look again for what an older transaction still holds up.
HELD_UP_SECONDS = 0.02

LAG = Gauge(
    "longshore_outbox_lag_seconds",
    "For how long the oldest thing that happened waits to be matched with rules.",
)
MATCHED = Counter("longshore_events_matched_total", "Deliveries made of events by rules.")


class Matching:
    """Goes from what happened to deliveries."""

    def __init__(self, pool: Pool, arns: Arns) -> None:
        self._pool = pool
        self._arns = arns
        self._version = 0
        #: When the last thing happened that was matched here.
        self._last_at: datetime | None = None
        self._rules = Candidates(())

    @property
    def is_wanted(self) -> bool:
        """Whether any rule waits for events, as far as is known: else there is no haste."""
        return bool(self._rules)

    async def tick(self) -> float | None:
        """One pass; in how many seconds the next one is due, None: when something happens."""
        async with transaction(self._pool) as conn:
            locked = await outbox.lock_cursor(conn)
            if locked is None:
                LAG.set(0)
                return None
            at, namespace = locked
            if not self._rules:
                await self._refresh(conn)
            end = await outbox.end(conn)
            is_wanted = self.is_wanted
            limit = ROWS if is_wanted else ROWS_TO_TELL
            happened = await outbox.read(conn, at, limit, self._last_at)
            if not happened:
                if await outbox.begin_anew(conn):
                    log.error("events.begun_anew", why="the database is in another cluster now")
                    return 0.0
                seconds, is_behind = await outbox.lag(conn, at)
                LAG.set(seconds)
                return HELD_UP_SECONDS if is_behind else None
            LAG.set(max((datetime.now(UTC) - happened[0].at).total_seconds(), 0))
            # After what happened: what is told to succeed that changes rules holds for what
            # happens after it.
            await self._refresh(conn)
            if not is_wanted and self._rules:
                return 0.0
            if not self._rules:
                # Nobody waits for any of it. A rule that was not there just now is for what happens
                # behind the end, which was looked for before.
                await outbox.move_cursor(conn, max(at, end))
                LAG.set(0)
                self._last_at = happened[0].at
                return None
            taken = list(steps(happened, self._rules.of, STEPS))
            composed = await compose(conn, self._arns, namespace, taken)
            made: list[NewDelivery] = []
            end = taken[-1].after
            for place, one in enumerate(composed):
                made += [
                    NewDelivery(Lane(rule.bus, rule.name, target), one.event_id, one.text)
                    for rule in one.rules
                    for target in rule.targets
                ]
                is_last = place + 1 == len(composed) or composed[place + 1].after != one.after
                if len(made) >= DELIVERIES and is_last and place + 1 < len(composed):
                    end = one.after
                    break
            await delivery.add(conn, made)
            await outbox.move_cursor(conn, end)
        self._last_at = happened[-1].at
        MATCHED.inc(len(made))
        # There may be more, or some that an older transaction held up.
        return 0.0

    async def _refresh(self, conn: Connection) -> None:
        """Reads rules again if they are others."""
        version = await outbox.rules_version(conn)
        if version == self._version:
            return
        self._rules, self._version = Candidates(await read_rules(conn)), version


async def read_rules(conn: Connection) -> list[MatchedRule]:
    """The rules that wait for events, ready to be matched."""
    rules = []
    for wanting in await outbox.wanting(conn):
        try:
            matcher = Matcher.of(wanting.pattern)
        except InvalidRequest:
            log.exception("rule.unreadable", bus=wanting.bus, rule=wanting.name)
            continue
        with_reads = wanting.state == ENABLED_WITH_READS
        rules.append(
            MatchedRule(wanting.bus, wanting.name, matcher, wanting.targets, with_reads=with_reads)
        )
    return rules


#: For how long what was put in or happened to instances is kept, for archives and for who resumes;
#: and replays that have ended.
KEPT = timedelta(days=90)
LETTERS_KEPT = timedelta(days=30)
#: Rows forgotten in one transaction.
PRUNED = 5_000


async def prune(pool: Pool) -> None:
    """Forgets what is old, in bounded parts."""
    now = datetime.now(UTC)
    for forget, kept in (
        (outbox.prune, KEPT),
        (outbox.prune_marks, KEPT),
        (delivery.prune_letters, LETTERS_KEPT),
        (replaying.prune, KEPT),
    ):
        count = PRUNED
        while count == PRUNED:
            async with transaction(pool) as conn:
                count = await forget(conn, now - kept, PRUNED)
