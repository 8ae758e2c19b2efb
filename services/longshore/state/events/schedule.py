"""Rules that make events by the clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("event_schedule")


@dataclass(frozen=True, slots=True)
class DueRule:
    """A rule whose schedule is due."""

    bus: str
    name: str
    schedule: str
    due_at: datetime
    targets: Sequence[str]


async def due(conn: Connection, now: datetime, limit: int) -> list[DueRule]:
    """Rules that are due, held until the transaction ends."""
    return [DueRule(**row) for row in await conn.fetch(_SQL["due"], now, limit)]


async def fired(conn: Connection, rule: DueRule, next_at: datetime | None) -> None:
    """Notes when a rule is due next."""
    await conn.execute(_SQL["fired"], rule.bus, rule.name, next_at)


async def next_due(conn: Connection) -> datetime | None:
    """When the first rule is due; None if none ever is."""
    at: datetime | None = await conn.fetchval(_SQL["next_due"])
    return at
