"""Records of the audit log: appended, read in their order, dropped by age."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import asyncpg

from longshore.domain.audit.chain import ChainedRecord, first_digest, next_digest
from longshore.domain.audit.record import AuditRecord
from longshore.state.pool import Connection, Pool, transaction
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
    "user_name",
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
    #: None where there are records and no entry of the day.
    digest: bytes | None


async def write(pool: Pool, records: Sequence[AuditRecord], *, is_repeated: bool) -> None:
    """Appends records, in their order; all or none.

    Args:
        pool: connections to PostgreSQL.
        records: what to append.
        is_repeated: some may be there already, and are passed over then.
    """
    async with transaction(pool) as conn:
        await append(conn, records, is_repeated=is_repeated)


async def append(
    conn: Connection, records: Sequence[AuditRecord], *, is_repeated: bool = False
) -> None:
    """As `write`, within a transaction."""
    last: int = await conn.fetchval(_SQL["lock_head"])
    if is_repeated:
        records = await _unknown(conn, records)
    days = await _open(conn, {record.day for record in records})
    rows = []
    for number, record in enumerate(records, last + 1):
        count, digest = days[record.day]
        digest = next_digest(digest, number, record.text)
        days[record.day] = count + 1, digest
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
                record.user_name,
                [kind for kind, _ in record.resources],
                [name for _, name in record.resources],
                record.text,
                digest,
            )
        )
    await conn.copy_records_to_table("audit_records", records=rows, columns=_COLUMNS)
    await conn.execute(_SQL["advance_head"], last + len(records))
    await conn.execute(
        _SQL["advance_days"],
        list(days),
        [count for count, _ in days.values()],
        [digest for _, digest in days.values()],
    )


async def _unknown(conn: Connection, records: Sequence[AuditRecord]) -> list[AuditRecord]:
    """The records that are not there yet."""
    times, ids = [record.at for record in records], [record.event_id for record in records]
    known = {row["event_id"] for row in await conn.fetch(_SQL["known"], times, ids)}
    return [record for record in records if record.event_id not in known]


async def forget(pool: Pool, first_kept: date) -> list[date]:
    """As `drop_before`, in a transaction of its own."""
    async with transaction(pool) as conn:
        return await drop_before(conn, first_kept)


async def _open(conn: Connection, wanted: set[date]) -> dict[date, tuple[int, bytes]]:
    """Of days how many records they have and the digest of the last; made if they are missing."""
    rows = await conn.fetch(_SQL["days"], list(wanted))
    days = {row["day"]: (row["records"], row["digest"]) for row in rows}
    for day in sorted(wanted - days.keys()):
        await conn.execute(_SQL["open_day"], day)
        days[day] = (0, first_digest(day))
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
        ChainedRecord(row["number"], record(row), row["digest"])
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


def record(row: asyncpg.Record) -> AuditRecord:
    """A row of the log."""
    return AuditRecord(
        event_id=row["event_id"],
        at=row["at"],
        event_source=row["event_source"],
        event_name=row["event_name"],
        is_read=row["is_read"],
        access_key_id=row["access_key_id"],
        user_name=row["user_name"],
        resources=tuple(zip(row["resource_types"], row["resource_names"], strict=True)),
        text=row["record"],
    )
