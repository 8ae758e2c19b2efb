"""How many jobs of each shape are RUNNABLE, and why they wait."""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from longshore.domain.consumable import from_text
from longshore.domain.placing.shapes import Shape
from longshore.domain.placing.waiting import Why
from longshore.domain.resources import Resources
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("demand")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a shape waits: AWS's words if they have some, and ours."""

    blocked_reason: str | None
    explanation: str | None
    #: What it comes to; None: nothing was said yet.
    why: Why | None = None


@dataclass(frozen=True, slots=True)
class ShapeBacklog:
    """RUNNABLE jobs of a shape."""

    shape: Shape
    runnable: int
    reason: Reason


async def change(conn: Connection, differences: Mapping[int, int]) -> None:
    """Adds to the counts of shapes; one of which nothing waits any more has none."""
    changed = sorted((shape_id, diff) for shape_id, diff in differences.items() if diff)
    if risen := [shape_id for shape_id, diff in changed if diff > 0]:
        await conn.execute(_SQL["ensure"], risen)
    if changed:
        await conn.execute(_SQL["change"], [s for s, _ in changed], [d for _, d in changed])
    if fallen := [shape_id for shape_id, diff in differences.items() if diff <= 0]:
        await conn.execute(_SQL["drop"], fallen)


async def uncounted(conn: Connection) -> dict[int, int]:
    """By how much the counts of shapes differ from what is stored of them."""
    return {row["shape_id"]: row["difference"] for row in await conn.fetch(_SQL["uncounted"])}


async def replace_uncounted(conn: Connection, differences: Mapping[int, int]) -> None:
    """Stores by how much counts differ that cannot be stored."""
    await conn.execute(_SQL["forget_uncounted"])
    if differences:
        shapes = sorted(differences)
        await conn.execute(_SQL["put_uncounted"], shapes, [differences[s] for s in shapes])


async def say(conn: Connection, reasons: Mapping[int, Reason]) -> None:
    """Stores why shapes wait."""
    if reasons:
        shapes = sorted(reasons)
        await conn.execute(_SQL["ensure"], shapes)
        await conn.execute(
            _SQL["say"],
            shapes,
            [reasons[s].blocked_reason for s in shapes],
            [reasons[s].explanation for s in shapes],
            [reasons[s].why for s in shapes],
        )


async def load(conn: Connection) -> dict[int, ShapeBacklog]:
    """Every shape with RUNNABLE jobs."""
    return {
        row["shape_id"]: ShapeBacklog(_shape(row), row["runnable"], _reason(row))
        for row in await conn.fetch(_SQL["load"])
    }


async def shapes(conn: Connection, shape_ids: Iterable[int]) -> dict[int, Shape]:
    """Shapes by id."""
    rows = await conn.fetch(_SQL["shapes"], list(shape_ids))
    return {row["shape_id"]: _shape(row) for row in rows}


async def of_shape(conn: Connection, shape_id: int) -> Reason | None:
    """Why a shape waits, None if nothing of it does."""
    row = await conn.fetchrow(_SQL["of_shape"], shape_id)
    return None if row is None else _reason(row)


def _reason(row: Any) -> Reason:
    why = None if row["why"] is None else Why(row["why"])
    return Reason(row["blocked_reason"], row["explanation"], why)


@functools.lru_cache(maxsize=4096)
def _need(vcpu_milli: int, memory_mib: int, gpus: int) -> Resources:
    """Many shapes need the same, and are then compared at once."""
    return Resources(vcpu_milli, memory_mib, gpus)


_units = functools.lru_cache(maxsize=4096)(from_text)


def _shape(row: Any) -> Shape:
    return Shape(
        shape_id=row["shape_id"],
        job_queue=row["job_queue"],
        need=_need(row["vcpu_milli"], row["memory_mib"], row["gpus"]),
        nodes=row["nodes"],
        instance_type=row["instance_type"],
        share=row["share_identifier"],
        priority=row["priority"],
        max_running=row["max_running"],
        array_job=row["array_job"] if row["max_running"] else None,
        units=_units(row["consumables"]),
    )
