"""What happened, in the order in which it was committed, and up to where it was matched."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from longshore.domain.events.occurrence import Happened, JobMoved, Kind, Position, Told
from longshore.domain.job.job import JobKey, JobStatus
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("outbox")
#: How much later than it was made a call may be put on record.
LATE = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Wanting:
    """A rule that waits for events, with its targets."""

    bus: str
    name: str
    pattern: str
    state: str
    targets: tuple[str, ...]


async def cursor(conn: Connection) -> tuple[Position, uuid.UUID]:
    """Up to where what happened was matched, and the namespace of the events' ids."""
    [row] = await conn.fetch(_SQL["cursor"])
    return Position(row["xid"], row["event_id"], row["part"]), row["namespace"]


async def lock_cursor(conn: Connection) -> tuple[Position, uuid.UUID] | None:
    """The same, for who matches until its transaction ends; None while another one does."""
    row = await conn.fetchrow(_SQL["lock_cursor"])
    if row is None:
        return None
    return Position(row["xid"], row["event_id"], row["part"]), row["namespace"]


async def move_cursor(conn: Connection, to: Position) -> None:
    """Notes up to where what happened was matched."""
    await conn.execute(_SQL["move_cursor"], to.xid, to.number, to.part)


async def begin_anew(conn: Connection) -> bool:
    """Begins with now where the cursor is another cluster's; whether it did."""
    return await conn.fetchval(_SQL["begin_anew"]) is not None


async def since(conn: Connection, at: datetime) -> Position:
    """A position behind which is all that happened after a time, and perhaps more."""
    row = await conn.fetchrow(_SQL["mark"], at)
    return Position(0, 0, 0) if row is None else Position(*row)


async def prune_marks(conn: Connection, before: datetime, limit: int) -> int:
    """Forgets where the cursor stood before a time; returns of how many times."""
    return len(await conn.fetch(_SQL["prune_marks"], before, limit))


async def read(
    conn: Connection, after: Position, limit: int, since: datetime | None = None
) -> list[Happened]:
    """What happened behind a position, of so many rows at most.

    Args:
        conn: a connection.
        after: the position.
        limit: of rows.
        since: when the last thing happened before the position, as far as is known: calls that are
            much older are not looked for.
    """
    day = date.min if since is None else since.astimezone(UTC).date() - LATE
    rows = await conn.fetch(_SQL["read"], after.xid, after.number, limit, day)
    return [one for row in rows if (one := _happened(row, after)) is not None]


async def end(conn: Connection) -> Position:
    """The position behind all that may be read now."""
    return Position.before(int(await conn.fetchval(_SQL["end"])))


async def latest(conn: Connection) -> Position:
    """The position behind all that was committed, also if it may not be read yet."""
    return Position.before(int(await conn.fetchval(_SQL["latest"])))


async def lag(conn: Connection, at: Position) -> tuple[float, bool]:
    """For how many seconds the first row behind a position has waited; whether there is one."""
    [row] = await conn.fetch(_SQL["lag"], at.xid, at.number)
    return row["seconds"], row["is_behind"]


async def put(conn: Connection, events: Sequence[dict[str, Any]]) -> list[int]:
    """Puts events in from outside; returns their numbers, in their order."""
    rows = await conn.fetch(_SQL["put"], [json.dumps(event) for event in events])
    return [row["event_id"] for row in rows]


async def forward(conn: Connection, delivery_id: int, event: dict[str, Any]) -> None:
    """Puts an event in that is delivered to a bus, unless that was done."""
    await conn.execute(_SQL["forward"], delivery_id, json.dumps(event))


async def prune(conn: Connection, before: datetime, limit: int) -> int:
    """Forgets what is older and was matched, so many rows at most; returns how many."""
    return len(await conn.fetch(_SQL["prune"], before, limit))


async def rules_version(conn: Connection) -> int:
    """Another number whenever rules or targets are others."""
    return int(await conn.fetchval(_SQL["rules_version"]))


async def wanting(conn: Connection) -> list[Wanting]:
    """Rules that wait for events."""
    rows = [dict(row) for row in await conn.fetch(_SQL["wanting"])]
    return [Wanting(**{**row, "targets": tuple(row["targets"])}) for row in rows]


def _happened(row: Any, after: Position) -> Happened | None:
    """A row, less the parts of it that come before a position."""
    first = after.part if (row["xid"], row["event_id"]) == (after.xid, after.number) else 0
    if row["kind"] is not None:
        if first:
            return None
        body = json.loads(row["body"])
        return Told(row["xid"], row["event_id"], row["at"], Kind(row["kind"]), body)
    index, end = row["array_index"], row["end_index"]
    if first >= (1 if end is None else end - index):
        return None
    return JobMoved(
        row["xid"],
        row["event_id"],
        row["at"],
        JobKey(row["job_id"], index),
        row["attempt"],
        JobStatus(row["status"]),
        row["status_reason"],
        first,
        index + 1 if end is None else end,
    )
