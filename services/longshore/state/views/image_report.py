"""What images cost those who start jobs with them."""

from dataclasses import dataclass

from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("image_report")


@dataclass(frozen=True, slots=True)
class ImageStarts:
    """Attempts that ran an image on a type of instance; see its namesake on the wire."""

    image: str
    instance_type: str
    starts: int
    pulls: int
    pull_seconds: float
    slowest_seconds: float
    pulled_bytes: int


async def list_starts(conn: Connection, image: str | None, limit: int) -> list[ImageStarts]:
    """By image and instance type, those with most starts first; no image: of every one."""
    return [ImageStarts(**row) for row in await conn.fetch(_SQL["list_starts"], image, limit)]
