"""Shapes that jobs get while they are tried again: like their own, with more memory."""

from collections.abc import Collection

from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("shape")

#: A shape, and the memory that one like it is to have, in MiB.
Larger = tuple[int, int]


async def larger(conn: Connection, wanted: Collection[Larger]) -> dict[Larger, int]:
    """Ids of shapes that are like others but for their memory, made where missing."""
    if not wanted:
        return {}
    ordered = sorted(wanted)
    columns = [shape_id for shape_id, _ in ordered], [memory for _, memory in ordered]
    rows = await conn.fetch(_SQL["larger"], *columns)
    return {(row["shape_id"], row["memory_mib"]): row["larger"] for row in rows}
