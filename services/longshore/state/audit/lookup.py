"""Records and acts before a position, the newest first."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from longshore.domain.arn import Arns
from longshore.domain.audit import acts
from longshore.domain.audit.lookup import Lookup
from longshore.domain.audit.record import AuditRecord
from longshore.state.audit.audit_record import record
from longshore.state.pool import Connection
from longshore.state.queries import load_queries
from longshore.state.views import cluster_report

_SQL = load_queries("audit_record")
#: When and which: events before it are older.
Position = tuple[datetime, uuid.UUID]
#: After every event of its time.
LAST_ID = uuid.UUID(int=2**128 - 1)
#: Records that one query walks through.
WALK = 20_000


async def records(
    conn: Connection, wanted: Lookup, before: Position, limit: int
) -> tuple[list[AuditRecord], Position | None]:
    """Recorded calls before a position, and where to go on if the walk ended before the search."""
    rows = await conn.fetch(
        _SQL["look_up"],
        wanted.start,
        *before,
        limit,
        WALK,
        wanted.name,
        wanted.access_key_id,
        wanted.event_id,
        wanted.is_read,
        wanted.source,
        wanted.resource_type,
        wanted.resource,
    )
    found = [record(row) for row in rows if row["matches"]]
    if rows and rows[-1]["is_last"] and len(found) < limit:
        return found, (rows[-1]["at"], rows[-1]["event_id"])
    return found, None


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
