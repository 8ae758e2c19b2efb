"""Replays: what happened is told once more, to the rules that a replay names.

An archive keeps nothing of its own: it says which of the events that are on record it means. One
replay goes on at a time, in parts, and never adds to more deliveries than a little while takes.
"""

from datetime import UTC, datetime, timedelta

import structlog

from longshore.domain.arn import Arns
from longshore.domain.events.archive import CANCELLING
from longshore.domain.events.envelope import Sketch
from longshore.domain.events.matching import MatchedRule, Matcher, steps
from longshore.events.composing import compose, text_of
from longshore.events.matching import DELIVERIES, ROWS, STEPS, read_rules
from longshore.state.events import delivery, outbox, replaying
from longshore.state.events.delivery import Lane, NewDelivery
from longshore.state.events.replaying import Replaying
from longshore.state.pool import Connection, Pool, transaction

log = structlog.get_logger()

#: Deliveries that may wait for a replay to add some, and seconds until the next look if more do.
WAITING = 10_000
FULL_SECONDS = 1.0
#: By how much what commits later may have happened earlier.
SLACK = timedelta(minutes=5)
COMPLETED, CANCELLED, FAILED = "COMPLETED", "CANCELLED", "FAILED"
#: A pattern that every event has.
_ALL = '{"version": ["0"]}'


class ReplayRuns:
    """Goes through what happened for replays."""

    def __init__(self, pool: Pool, arns: Arns) -> None:
        self._pool = pool
        self._arns = arns

    async def tick(self) -> float | None:
        """One part of one replay; in how many seconds the next is due, None without any."""
        async with transaction(self._pool) as conn:
            replay = await replaying.next_one(conn)
            if replay is None:
                return None
            if replay.state == CANCELLING:
                await replaying.ended(conn, replay.name, CANCELLED)
            elif replay.archive is None:
                await replaying.ended(conn, replay.name, FAILED, "The archive was deleted.")
            elif await replaying.is_full(conn, WAITING):
                return FULL_SECONDS
            else:
                await self._go_on(conn, replay)
        return 0.0

    async def _go_on(self, conn: Connection, replay: Replaying) -> None:
        at = replay.position or await outbox.since(conn, replay.begin_at)
        happened = await outbox.read(conn, at, ROWS, replay.begin_at)
        if not happened or happened[0].at > replay.end_at + SLACK:
            await replaying.ended(conn, replay.name, COMPLETED)
            log.info("replay.completed", replay=replay.name)
            return
        archive = MatchedRule(replay.bus, replay.name, Matcher.of(replay.pattern or _ALL))
        first_at = _first_at(replay)

        def candidates(sketch: Sketch) -> tuple[MatchedRule, ...]:
            is_meant = (
                sketch.bus == replay.bus
                and first_at <= sketch.happened.at < replay.end_at
                and archive.matcher.may_match(sketch)
            )
            return (archive,) if is_meant else ()

        taken = list(steps(happened, candidates, STEPS))
        _, namespace = await outbox.cursor(conn)
        composed = await compose(conn, self._arns, namespace, taken)
        rules = [
            rule
            for rule in await read_rules(conn)
            if rule.bus == replay.bus
            and (
                not replay.filter_arns
                or self._arns.event_rule(rule.bus, rule.name) in replay.filter_arns
            )
        ]
        made: list[NewDelivery] = []
        end, last_at = taken[-1].after, None
        for place, one in enumerate(composed):
            event = {**one.event, "replay-name": replay.name}
            last_at = datetime.fromisoformat(one.event["time"])
            made += [
                NewDelivery(Lane(rule.bus, rule.name, target), one.event_id, text_of(event))
                for rule in rules
                if rule.matcher.pattern.matches(event)
                for target in rule.targets
            ]
            is_last = place + 1 == len(composed) or composed[place + 1].after != one.after
            if len(made) >= DELIVERIES and is_last and place + 1 < len(composed):
                end = one.after
                break
        await delivery.add(conn, made)
        await replaying.went_on(conn, replay.name, end, last_at)


def _first_at(replay: Replaying) -> datetime:
    """From when on events are in the archive and asked for."""
    first_at = max(replay.begin_at, replay.created_at or replay.begin_at)
    days = min(replay.retention_days or 0, 36_500)
    return max(first_at, datetime.now(UTC) - timedelta(days=days)) if days else first_at
