"""Job definitions: revisions are added and made INACTIVE, and never change otherwise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from longshore.domain.checks import Json
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("job_definition")


@dataclass(frozen=True, slots=True)
class DefinitionRecord:
    """One revision with its present status and tags."""

    name: str
    revision: int
    status: str
    type: str
    detail: Json
    tags: Mapping[str, str]


async def insert_revision(
    conn: Connection, name: str, kind: str, detail: Json, tags: Mapping[str, str]
) -> int:
    """Stores the next revision of a name and returns its number."""
    await conn.execute(_SQL["lock_family"], name)
    revision: int = await conn.fetchval(_SQL["insert_revision"], name, kind, detail, dict(tags))
    return revision


async def deregister(conn: Connection, name: str, revision: int | None) -> bool:
    """Makes a revision INACTIVE, without a number the newest ACTIVE one; False if there is none."""
    return await conn.fetchval(_SQL["deregister"], name, revision) is not None


async def read_revisions(
    conn: Connection, references: Sequence[tuple[str, int]]
) -> list[DefinitionRecord]:
    """Revisions by name and number; number 0 means all of the name."""
    rows = await conn.fetch(
        _SQL["read_revisions"],
        [name for name, _ in references],
        [revision for _, revision in references],
    )
    return [_definition(row) for row in rows]


async def list_revisions(
    conn: Connection, *, name: str | None, status: str | None, after: tuple[str, int], limit: int
) -> list[DefinitionRecord]:
    """Revisions in order of name, the newest of each first.

    Args:
        conn: the connection.
        name: only this family.
        status: only ACTIVE or INACTIVE ones.
        after: name and revision of the last one seen.
        limit: how many at most.
    """
    rows = await conn.fetch(_SQL["list_revisions"], name, status, *after, limit)
    return [_definition(row) for row in rows]


def _definition(row: asyncpg.Record) -> DefinitionRecord:
    return DefinitionRecord(
        row["name"], row["revision"], row["status"], row["type"], row["detail"], row["tags"]
    )
