"""How attempts came by their images, added up by image, instance type and day."""

from collections.abc import Sequence
from datetime import date, datetime

from longshore.domain.job.record import ImageStart
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("image_start")


async def add(conn: Connection, starts: Sequence[tuple[str, ImageStart]], now: datetime) -> None:
    """Counts attempts that began to run on instances."""
    if starts:
        await conn.execute(
            _SQL["add"],
            [instance_id for instance_id, _ in starts],
            [start.image for _, start in starts],
            [start.pull_seconds for _, start in starts],
            [start.pulled_bytes for _, start in starts],
            now,
        )


async def prune(conn: Connection, before: date) -> None:
    """Forgets days."""
    await conn.execute(_SQL["prune"], before)
