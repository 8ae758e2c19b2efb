"""Records of the audit log: appended, read in their order, dropped by age."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import asyncpg

from longshore.domain.audit import AuditRecord, first_digest, next_digest
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("audit_record")
_COLUMNS = (
    "number",
    "day",
    "at",
    "event_id",
    "event_source",
    "event_name",
    "is_read",
    "access_key_id",
    "resource_types",
    "resource_names",
    "record",
    "digest",
)


@dataclass(frozen=True, slots=True)
class Day:
    """What is known of a day's records: how many there are, and the digest of the last."""

    day: date
    records: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class ChainedRecord:
    """A record in its day's chain."""

    number: int
    record: AuditRecord
    digest: bytes


async def append(conn: Connection, records: Sequence[AuditRecord]) -> None:
    """Appends records, in their order; within a transaction."""
    last: int = await conn.fetchval(_SQL["lock_head"])
    days = await _open(conn, {record.day for record in records})
    rows = []
    for number, record in enumerate(records, last + 1):
        day = days[record.day]
        digest = next_digest(day.digest, number, record.text)
        days[record.day] = Day(day.day, day.records + 1, digest)
        rows.append(
            (
                number,
                record.day,
                record.at,
                record.event_id,
                record.event_source,
                record.event_name,
                record.is_read,
                record.access_key_id,
                [kind for kind, _ in record.resources],
                [name for _, name in record.resources],
                record.text,
                digest,
            )
        )
    await conn.copy_records_to_table("audit_records", records=rows, columns=_COLUMNS)
    await conn.execute(_SQL["advance_head"], last + len(records))
    changed = list(days.values())
    await conn.execute(
        _SQL["advance_days"],
        [day.day for day in changed],
        [day.records for day in changed],
        [day.digest for day in changed],
    )


async def _open(conn: Connection, wanted: set[date]) -> dict[date, Day]:
    """Days of records, those that are not there yet made."""
    days = {row["day"]: Day(**row) for row in await conn.fetch(_SQL["days"], list(wanted))}
    for day in sorted(wanted - days.keys()):
        await conn.execute(_SQL["open_day"], day)
        days[day] = Day(day, 0, first_digest(day))
    return days


async def drop_before(conn: Connection, first_kept: date) -> list[date]:
    """Drops the records of days before one; returns those days.

    Raises:
        Unavailable: readers held one of them; it is tried again.
    """
    # Of two that wait for each other this one gives way.
    await conn.execute("SET LOCAL lock_timeout = '500ms'")
    days: list[date] = [row["day"] for row in await conn.fetch(_SQL["old_days"], first_kept)]
    for day in days:
        await conn.execute(_SQL["drop_day"], day)
    return days


async def days(conn: Connection) -> list[Day]:
    """All days on record, oldest first."""
    return [Day(**row) for row in await conn.fetch(_SQL["chain_days"])]


async def chain(conn: Connection, day: date, after: int, limit: int) -> list[ChainedRecord]:
    """Records of a day after one, in the order of their chain."""
    return [
        ChainedRecord(row["number"], _record(row), row["digest"])
        for row in await conn.fetch(_SQL["chain"], day, after, limit)
    ]


async def head(conn: Connection) -> int:
    """The number of the last record; 0 if there never was one."""
    number: int = await conn.fetchval(_SQL["head"])
    return number


async def committed(
    conn: Connection, after: int, limit: int, *, with_reads: bool
) -> list[tuple[int, str]]:
    """Numbers and texts of records after a number, in the order in which they were committed.

    No record with a lower number than one that was read comes later: who remembers the last number
    misses none. Those who read must do so before the records are dropped by age.
    """
    rows = await conn.fetch(_SQL["committed"], after, limit, with_reads)
    return [(row["number"], row["record"]) for row in rows]


def _record(row: asyncpg.Record) -> AuditRecord:
    return AuditRecord(
        event_id=row["event_id"],
        at=row["at"],
        event_source=row["event_source"],
        event_name=row["event_name"],
        is_read=row["is_read"],
        access_key_id=row["access_key_id"],
        resources=tuple(zip(row["resource_types"], row["resource_names"], strict=True)),
        text=row["record"],
    )
