"""Archives and replays as the event service keeps them."""

from collections.abc import Sequence
from datetime import datetime

from longshore.domain.events.archive import Archive, Replay
from longshore.state.events.rule import tell
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("event_archive")


async def insert_archive(
    conn: Connection,
    name: str,
    bus: str,
    description: str | None,
    pattern: str | None,
    retention_days: int,
) -> Archive | None:
    """Stores an archive; None if its name is taken."""
    row = await conn.fetchrow(
        _SQL["insert_archive"], name, bus, description, pattern, retention_days
    )
    await tell(conn)
    return Archive(**row) if row is not None else None


async def lock_archive(conn: Connection, name: str) -> Archive | None:
    """An archive, held still until the transaction ends."""
    row = await conn.fetchrow(_SQL["lock_archive"], name)
    return Archive(**row) if row is not None else None


async def read_archive(conn: Connection, name: str) -> Archive | None:
    """An archive."""
    row = await conn.fetchrow(_SQL["read_archive"], name)
    return Archive(**row) if row is not None else None


async def update_archive(conn: Connection, archive: Archive) -> None:
    """Replaces what can be changed of an archive."""
    await conn.execute(
        _SQL["update_archive"],
        *(archive.name, archive.description, archive.pattern, archive.retention_days),
    )
    await tell(conn)


async def delete_archive(conn: Connection, name: str) -> bool:
    """Deletes an archive; False if there is none."""
    deleted = await conn.fetchval(_SQL["delete_archive"], name) is not None
    await tell(conn)
    return deleted


async def list_archives(
    conn: Connection, prefix: str, bus: str | None, *, after: str, limit: int
) -> list[Archive]:
    """Archives after a name, in order."""
    rows = await conn.fetch(_SQL["list_archives"], prefix, bus, after, limit)
    return [Archive(**row) for row in rows]


async def count_archives(conn: Connection) -> int:
    """How many archives there are."""
    return int(await conn.fetchval(_SQL["count_archives"]))


async def insert_replay(
    conn: Connection,
    name: str,
    archive: Archive,
    description: str | None,
    filter_arns: Sequence[str],
    begin_at: datetime,
    end_at: datetime,
) -> Replay | None:
    """Stores a replay that begins; None if its name is taken."""
    row = await conn.fetchrow(
        _SQL["insert_replay"],
        *(name, archive.name, archive.bus, description, list(filter_arns), begin_at, end_at),
    )
    await tell(conn)
    return Replay(**row) if row is not None else None


async def read_replay(conn: Connection, name: str) -> Replay | None:
    """A replay."""
    row = await conn.fetchrow(_SQL["read_replay"], name)
    return Replay(**row) if row is not None else None


async def cancel_replay(conn: Connection, name: str) -> bool:
    """Asks for the end of a replay; False if it does not go on."""
    cancelled = await conn.fetchval(_SQL["cancel_replay"], name) is not None
    await tell(conn)
    return cancelled


async def list_replays(
    conn: Connection, prefix: str, state: str | None, archive: str | None, *, after: str, limit: int
) -> list[Replay]:
    """Replays after a name, in order."""
    rows = await conn.fetch(_SQL["list_replays"], prefix, state, archive, after, limit)
    return [Replay(**row) for row in rows]


async def count_live_replays(conn: Connection) -> int:
    """How many replays go on."""
    return int(await conn.fetchval(_SQL["count_live_replays"]))
