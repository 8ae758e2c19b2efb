"""Happenings whose consequences are for a later tick. Written by the scheduler alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from longshore.domain.job.happening import Ended, Following, Spawned, Waits
from longshore.domain.job.job import JobKey
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("happening")


@dataclass(frozen=True, slots=True)
class Kept:
    """A happening as it is kept."""

    happening_id: int
    happening: Following


async def kept(conn: Connection, limit: int) -> list[Kept]:
    """The oldest happenings, in order."""
    return [
        Kept(row["happening_id"], _happening(row)) for row in await conn.fetch(_SQL["kept"], limit)
    ]


async def done(conn: Connection, happening_ids: Sequence[int]) -> None:
    """Deletes happenings that were followed."""
    await conn.execute(_SQL["done"], list(happening_ids))


async def keep(conn: Connection, happenings: Sequence[Following]) -> None:
    """Keeps happenings for a later tick."""
    if happenings:
        await conn.execute(_SQL["keep"], *zip(*map(_columns, happenings), strict=True))


async def unkept(conn: Connection) -> list[Following]:
    """Happenings that could not be kept as others are."""
    return [_happening(row) for row in await conn.fetch(_SQL["unkept"])]


async def replace_unkept(conn: Connection, happenings: Sequence[Following]) -> None:
    """Stores which happenings cannot be kept as others are."""
    await conn.execute(_SQL["forget_unkept"])
    if happenings:
        await conn.execute(_SQL["put_unkept"], *zip(*map(_columns, happenings), strict=True))


def _columns(happening: Following) -> tuple[object, ...]:
    if isinstance(happening, Ended):
        key = happening.key
        return ("ENDED", key.job_id, key.array_index, happening.succeeded, happening.after)
    if isinstance(happening, Waits):
        return ("WAITS", happening.key.job_id, happening.key.array_index, None, None)
    return ("SPAWNED", happening.job_id, happening.first, None, None)


def _happening(row: Any) -> Following:
    if row["kind"] == "ENDED":
        key = JobKey(row["job_id"], row["array_index"])
        return Ended(key, row["succeeded"], row["after"])
    if row["kind"] == "WAITS":
        return Waits(JobKey(row["job_id"], row["array_index"]))
    return Spawned(row["job_id"], row["array_index"])
