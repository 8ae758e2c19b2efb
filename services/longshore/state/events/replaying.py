"""Replays on their way through what happened."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from longshore.domain.events.occurrence import Position
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("event_replaying")


@dataclass(frozen=True, slots=True)
class Replaying:
    """A replay that goes on."""

    name: str
    bus: str
    filter_arns: Sequence[str]
    begin_at: datetime
    end_at: datetime
    state: str
    #: Up to where it has come; None before its first pass.
    position: Position | None
    #: None if its archive is gone.
    archive: str | None
    pattern: str | None
    created_at: datetime | None
    retention_days: int | None


async def next_one(conn: Connection) -> Replaying | None:
    """The replay whose turn it is, held until the transaction ends."""
    row = await conn.fetchrow(_SQL["next"])
    if row is None:
        return None
    values = dict(row)
    xid, number, part = (values.pop(name) for name in ("xid", "event_id", "part"))
    position = None if xid is None else Position(xid, number, part)
    return Replaying(**values, position=position)


async def went_on(conn: Connection, name: str, to: Position, last_at: datetime | None) -> None:
    """Notes up to where a replay has come."""
    await conn.execute(_SQL["went_on"], name, *to, last_at)


async def ended(conn: Connection, name: str, state: str, reason: str | None = None) -> None:
    """Ends a replay."""
    await conn.execute(_SQL["ended"], name, state, reason)


async def is_full(conn: Connection, most: int) -> bool:
    """Whether so many deliveries wait."""
    return bool(await conn.fetchval(_SQL["is_full"], most))


async def prune(conn: Connection, before: datetime, limit: int) -> int:
    """Forgets replays that ended before, so many at most; returns how many."""
    return len(await conn.fetch(_SQL["prune"], before, limit))
