"""Happenings whose consequences are for a later tick. Written by the scheduler alone."""

from collections.abc import Sequence

from longshore.domain.job.job import JobKey
from longshore.domain.job.life import Ended, Happening, Spawned
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("happening")


async def take(conn: Connection, limit: int) -> list[Happening]:
    """Takes out the oldest happenings, in order."""
    rows = await conn.fetch(_SQL["take"], limit)
    return [
        Ended(JobKey(row["job_id"], row["array_index"]), row["succeeded"], row["after"])
        if row["kind"] == "ENDED"
        else Spawned(row["job_id"], row["array_index"])
        for row in sorted(rows, key=lambda row: row["happening_id"])
    ]


async def keep(conn: Connection, happenings: Sequence[Happening]) -> None:
    """Keeps happenings for a later tick."""
    if happenings:
        await conn.execute(_SQL["keep"], *zip(*map(_columns, happenings), strict=True))


def _columns(happening: Happening) -> tuple[object, ...]:
    if isinstance(happening, Ended):
        key = happening.key
        return ("ENDED", key.job_id, key.array_index, happening.succeeded, happening.after)
    return ("SPAWNED", happening.job_id, happening.first, None, None)
