"""The dispatch queue: ranges of jobs that may be placed, in order."""

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from longshore.domain.job.job import JobKey
from longshore.domain.job.record import NewEntry
from longshore.domain.placing.shapes import QueueEntry
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("ready")
#: Least entries read of one shape.
SHARE_LEAST = 20


@dataclass(frozen=True, slots=True)
class Waiter:
    """An entry together with its queue."""

    job_queue: str
    entry: QueueEntry


async def heads(
    conn: Connection, shape_ids: Sequence[int], limit: int, besides: int = 0
) -> tuple[QueueEntry, ...]:
    """First entries of some shapes of one queue, together in dispatch order.

    About `limit` of them, and of each shape so many `besides`; no entry comes before one that is
    left out.
    """
    share = max(limit // len(shape_ids), SHARE_LEAST) + besides
    entries = [QueueEntry(**row) for row in await conn.fetch(_SQL["heads"], list(shape_ids), share)]
    counts = Counter(entry.shape_id for entry in entries)
    # A shape with as many as asked for may have more, from its last one on.
    lasts = {e.shape_id: _order(e) for e in entries if counts[e.shape_id] == share}
    bound = min(lasts.values(), default=None)
    return tuple(e for e in entries if bound is None or _order(e) <= bound)


async def first(
    conn: Connection, shape_ids: Sequence[int], limit: int, besides: int = 0
) -> tuple[tuple[QueueEntry, ...], frozenset[int]]:
    """First entries of each of some shapes, and the shapes of which there may be more.

    About `limit` of one shape, half as many of several, and of each so many `besides`.
    """
    share = max(limit // (2 * len(shape_ids) if len(shape_ids) > 1 else 1), 1) + besides
    entries = tuple(
        QueueEntry(**row) for row in await conn.fetch(_SQL["heads"], list(shape_ids), share)
    )
    counts = Counter(entry.shape_id for entry in entries)
    return entries, frozenset(shape_id for shape_id, count in counts.items() if count == share)


async def fronts(conn: Connection, queues: Sequence[str]) -> dict[str, QueueEntry]:
    """The first entry of each of some queues that has any."""
    rows = [dict(row) for row in await conn.fetch(_SQL["fronts"], queues)]
    return {row.pop("job_queue"): QueueEntry(**row) for row in rows}


def _order(entry: QueueEntry) -> tuple[int, int, int]:
    return (entry.rank, entry.seq, entry.next_index)


async def add(conn: Connection, entries: Sequence[NewEntry], now: datetime | None = None) -> None:
    """Makes jobs dispatchable. Entries that are there already stay as they are."""
    if entries:
        await conn.execute(
            _SQL["add"],
            [e.job_queue for e in entries],
            [e.rank for e in entries],
            [e.seq for e in entries],
            [e.next_index for e in entries],
            [e.end_index for e in entries],
            [e.job_id for e in entries],
            [e.shape_id for e in entries],
            [e.ready_at for e in entries],
            now,
        )


async def take(conn: Connection, taken: Sequence[tuple[str, QueueEntry, int]]) -> None:
    """Takes the beginnings of entries off: each up to an index, exclusive."""
    whole = [(queue, entry) for queue, entry, end in taken if end >= entry.end_index]
    part = [(queue, entry, end) for queue, entry, end in taken if end < entry.end_index]
    if whole:
        await conn.execute(
            _SQL["drop"],
            [queue for queue, _ in whole],
            [entry.rank for _, entry in whole],
            [entry.seq for _, entry in whole],
            [entry.next_index for _, entry in whole],
        )
    if part:
        await conn.execute(
            _SQL["take"],
            [queue for queue, _, _ in part],
            [entry.rank for _, entry, _ in part],
            [entry.seq for _, entry, _ in part],
            [entry.next_index for _, entry, _ in part],
            [end for _, _, end in part],
        )


async def cut(conn: Connection, queue: str, entry: QueueEntry) -> None:
    """Cuts an entry of several children in two, in its place."""
    middle = (entry.next_index + entry.end_index) // 2
    await take(conn, [(queue, entry, entry.end_index)])
    await add(
        conn,
        [
            NewEntry(
                queue,
                entry.job_id,
                entry.shape_id,
                entry.seq,
                first,
                end,
                entry.rank,
                entry.ready_at,
            )
            for first, end in ((entry.next_index, middle), (middle, entry.end_index))
        ],
    )


async def remove_jobs(conn: Connection, job_ids: Sequence[uuid.UUID]) -> dict[int, int]:
    """Deletes every entry of some jobs; returns how many jobs they stood for, by shape."""
    counts: dict[int, int] = {}
    for row in await conn.fetch(_SQL["remove_jobs"], list(job_ids)):
        counts[row["shape_id"]] = counts.get(row["shape_id"], 0) + row["count"]
    return counts


async def of_jobs(conn: Connection, job_ids: Sequence[uuid.UUID]) -> list[Waiter]:
    """Every entry of some jobs."""
    waiters = []
    for row in await conn.fetch(_SQL["of_jobs"], list(job_ids)):
        values = dict(row)
        waiters.append(Waiter(values.pop("job_queue"), QueueEntry(**values)))
    return waiters


async def remove_new(conn: Connection, job_id: uuid.UUID) -> dict[int, int]:
    """Deletes the entries of an array's children that were never placed.

    Returns how many children they stood for, by shape.
    """
    counts: dict[int, int] = {}
    for row in await conn.fetch(_SQL["remove_new"], job_id):
        counts[row["shape_id"]] = counts.get(row["shape_id"], 0) + row["count"]
    return counts


async def containing(conn: Connection, keys: Iterable[JobKey]) -> dict[JobKey, Waiter]:
    """The entries that jobs or children are in; those that are not dispatchable are absent."""
    pairs = [(key.job_id, key.array_index) for key in keys]
    if not pairs:
        return {}
    found = {}
    for row in await conn.fetch(_SQL["containing"], [j for j, _ in pairs], [i for _, i in pairs]):
        values = dict(row)
        key = JobKey(values["job_id"], values.pop("array_index"))
        found[key] = Waiter(values.pop("job_queue"), QueueEntry(**values))
    return found


async def ahead(conn: Connection, queue: str, rank: int, seq: int, index: int) -> int:
    """How many jobs and children are dispatched before a place in a queue."""
    count: int = await conn.fetchval(_SQL["ahead"], queue, rank, seq, index)
    return int(count)
