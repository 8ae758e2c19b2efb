"""What users change of jobs that wait, as submission recorded it: applied, or turned down."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from longshore.domain.job.altering import Alteration
from longshore.domain.job.happening import Altered
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("job_update")


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """A change that is not decided."""

    update_id: int
    job_id: uuid.UUID
    #: None: the same.
    job_queue: str | None
    #: Whether the queue or share changes.
    moves: bool


async def undecided(conn: Connection, limit: int) -> list[JobUpdate]:
    """The oldest changes that are not decided."""
    return [
        JobUpdate(
            row["update_id"],
            row["job_id"],
            row["job_queue"],
            row["job_queue"] is not None or row["share_identifier"] is not None,
        )
        for row in await conn.fetch(_SQL["undecided"], limit)
    ]


async def shapes(
    conn: Connection, updates: Iterable[JobUpdate]
) -> dict[int, dict[int, tuple[int, str]]]:
    """By change, the shape and its queue in place of each that the job and its children have."""
    by_job = {update.job_id: update.update_id for update in updates}
    rows = await conn.fetch(_SQL["shapes_of"], list(by_job))
    columns = [by_job[row["job_id"]] for row in rows], [row["shape_id"] for row in rows]
    found: dict[int, dict[int, tuple[int, str]]] = defaultdict(dict)
    for row in await conn.fetch(_SQL["new_shapes"], *columns):
        found[row["update_id"]][row["shape_id"]] = row["new_shape_id"], row["job_queue"]
    return found


async def apply(conn: Connection, altered: Sequence[Altered]) -> None:
    """Changes jobs and their children that wait, and what was submitted of them."""
    for one in altered:
        before, after = list(one.shapes), [shape_id for shape_id, _ in one.shapes.values()]
        await conn.execute(_SQL["apply_to_jobs"], one.update_id, before, after)
    if altered:
        await conn.execute(_SQL["apply_to_specs"], [one.update_id for one in altered])


async def decide(conn: Connection, outcomes: Mapping[int, Alteration]) -> None:
    """Notes what became of changes, for those who asked."""
    if outcomes:
        values = [outcome.value for outcome in outcomes.values()]
        await conn.execute(_SQL["decide"], list(outcomes), values)
