"""Unfinished jobs by what they have in common, a bounded part at a time."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from longshore.domain.request.selection import Selection
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("job_selection")


@dataclass(frozen=True, slots=True)
class Part:
    """What was selected of some jobs of a queue."""

    job_ids: Sequence[uuid.UUID]
    #: Of the array jobs among them.
    children: int
    #: After which job the next part begins; None if there is none.
    after_seq: int | None


async def queue_names(conn: Connection) -> list[str]:
    """All queues."""
    return [row["name"] for row in await conn.fetch(_SQL["queue_names"])]


async def select(
    conn: Connection, queue: str, wanted: Selection, *, terminate: bool, after_seq: int, limit: int
) -> Part:
    """Those of the next so many unfinished jobs of a queue that are selected.

    What was asked for already is not: cancelled where it is to be cancelled, or terminated.
    """
    definition = wanted.definition
    [row] = await conn.fetch(
        _SQL["select_jobs"],
        queue,
        wanted.statuses,
        after_seq,
        limit,
        wanted.name_pattern,
        definition.name if definition else None,
        definition.revision if definition else None,
        wanted.submitted_after,
        wanted.submitted_before,
        dict(wanted.tags or {}),
        wanted.share,
        terminate,
    )
    more = row["looked_at"] == limit
    return Part(row["job_ids"], row["children"], row["last_seq"] if more else None)
