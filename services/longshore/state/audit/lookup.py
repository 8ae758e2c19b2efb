"""Records and acts before a position, the newest first."""

import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

from longshore.domain.arn import Arns
from longshore.domain.audit import acts
from longshore.domain.audit.lookup import Lookup
from longshore.domain.audit.record import AuditRecord, time_of
from longshore.state.audit.audit_record import record
from longshore.state.pool import Connection, Pool, transaction
from longshore.state.queries import load_queries
from longshore.state.views import cluster_report

_SQL = load_queries("audit_record")
#: When and which: events before it are older.
Position = tuple[datetime, uuid.UUID]
#: After every event of its time.
LAST_ID = uuid.UUID(int=2**128 - 1)
#: Records that one query walks through.
WALK = 20_000
#: Times of records are told to the millisecond.
_TICK = timedelta(milliseconds=1)


@contextlib.asynccontextmanager
async def planned(pool: Pool) -> AsyncIterator[Connection]:
    """A connection whose queries are planned for what they ask for.

    A plan for whatever may be asked for would read whole tables to find one name.
    """
    async with transaction(pool) as conn:
        await conn.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        yield conn


async def records(
    conn: Connection, wanted: Lookup, before: Position, limit: int
) -> tuple[list[AuditRecord], Position | None]:
    """Recorded calls before a position, and where to go on if the walk ended before the search."""
    start, walk = wanted.start, WALK if _is_searched(wanted) else limit
    if wanted.event_id is not None:
        at = time_of(wanted.event_id)
        if at is None:
            return [], None
        start, before = max(start, at), min(before, (at + _TICK, LAST_ID))
    rows = await conn.fetch(
        _SQL["look_up"],
        start,
        *before,
        limit,
        walk,
        wanted.name,
        wanted.access_key_id,
        wanted.event_id,
        wanted.is_read,
        wanted.source,
        wanted.resource_type,
        wanted.resource,
        wanted.user_name,
    )
    found = [record(row) for row in rows if row["matches"]]
    if rows and rows[-1]["is_last"] and len(found) < limit:
        return found, (rows[-1]["at"], rows[-1]["event_id"])
    return found, None


def _is_searched(wanted: Lookup) -> bool:
    """Whether records are walked through to find some, for want of an index."""
    return any(
        condition is not None
        for condition in (
            wanted.event_id,
            wanted.is_read,
            wanted.source,
            wanted.resource_type,
            wanted.resource,
        )
    )


async def acts_before(
    conn: Connection, wanted: Lookup, before: Position, limit: int, arns: Arns
) -> list[AuditRecord]:
    """What longshore did by itself before a position."""
    names: Sequence[str] = sorted(wanted.acts)
    found: list[AuditRecord] = []
    if acts.RUN in names:
        placed = await cluster_report.placed(conn, wanted.start, before, wanted.event_id, limit)
        found += [acts.run_task(task, arns) for task in placed]
    if acts.JOIN in names or acts.LEAVE in names:
        for change in await cluster_report.changes(
            conn, names, wanted.start, before, wanted.event_id, limit
        ):
            compose = acts.register if change.name == acts.JOIN else acts.deregister
            found.append(compose(change.instance, change.event_id, change.at, arns))
    return found
