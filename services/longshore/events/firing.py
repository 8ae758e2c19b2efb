"""Fires rules by the clock: each time once, whoever does, and a missed one once when it is back."""

import json
from datetime import UTC, datetime

import structlog

from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.domain.events.envelope import Writer, time_text
from longshore.domain.events.schedule import firing, parse_schedule
from longshore.state.events import delivery, outbox, schedule
from longshore.state.events.delivery import Lane, NewDelivery
from longshore.state.events.schedule import DueRule
from longshore.state.pool import Connection, Pool, transaction

log = structlog.get_logger()

#: Rules fired in one transaction.
RULES = 100
#: Longest until the next look: the clock may be set meanwhile.
LOOK_SECONDS = 30.0


class ScheduleFiring:
    """Makes the events of schedules."""

    def __init__(self, pool: Pool, arns: Arns) -> None:
        self._pool = pool
        self._arns = arns

    async def tick(self) -> float:
        """Fires what is due; in how many seconds to look again."""
        now = datetime.now(UTC)
        async with transaction(self._pool) as conn:
            due = await schedule.due(conn, now, RULES)
            if due:
                _, namespace = await outbox.cursor(conn)
                writer = Writer(self._arns, namespace)
                for rule in due:
                    await self._fire(conn, writer, rule, now)
            next_at = await schedule.next_due(conn)
        if next_at is None:
            return LOOK_SECONDS
        return min(max((next_at - datetime.now(UTC)).total_seconds(), 0), LOOK_SECONDS)

    async def _fire(self, conn: Connection, writer: Writer, rule: DueRule, now: datetime) -> None:
        try:
            found = firing(parse_schedule(rule.schedule), rule.due_at, now)
        except Exception:
            # It is set aside alone; the others fire.
            log.exception("schedule.unreadable", bus=rule.bus, rule=rule.name)
            await schedule.fired(conn, rule, None)
            return
        if found is None:
            return
        event_id = writer.event_id(f"{rule.bus}/{rule.name}/{found.at.isoformat()}")
        event: Json = {
            "version": "0",
            "id": str(event_id),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": self._arns.account,
            "time": time_text(found.at),
            "region": self._arns.region,
            "resources": [self._arns.event_rule(rule.bus, rule.name)],
            "detail": {},
        }
        text = json.dumps(event, separators=(",", ":"))
        lanes = [Lane(rule.bus, rule.name, target) for target in rule.targets]
        await delivery.add(conn, [NewDelivery(lane, event_id, text) for lane in lanes])
        await schedule.fired(conn, rule, found.next_at)
        log.info("schedule.fired", rule=rule.name, at=event["time"], targets=len(lanes))
