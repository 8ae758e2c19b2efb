"""Which groups and streams there are, in an SQLite file beside the logs.

Groups are few and all in memory. Of each stream it has when it was created, when its first and last
events were, when something was stored last, and its bytes. A stream is on record before anything is
stored of it; what is stored is noted in memory, and written now and then and before each look.

Everything but groups, tags and retention is told by the logs themselves: after an end that was not
in order, and without this file, they are looked through again (`LogStore.take_stock`).
"""

import asyncio
import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

import structlog

from longshore.domain.errors import Unavailable
from longshore.domain.log_group import AGENTS, JOBS

log = structlog.get_logger()

P = ParamSpec("P")
R = TypeVar("R")

#: What has no time yet.
NEVER = -1
#: Streams that are sorted rather than looked for in the order of their creation.
FEW = 5_000
_BEYOND = "\U0010ffff"
_TABLES = """
CREATE TABLE IF NOT EXISTS about (what TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log_group (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    retention_days INTEGER,
    tags TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS log_stream (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id INTEGER NOT NULL REFERENCES log_group,
    name TEXT NOT NULL,
    is_put INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    first_event INTEGER NOT NULL DEFAULT -1,
    last_event INTEGER NOT NULL DEFAULT -1,
    stored_at INTEGER NOT NULL DEFAULT -1,
    bytes INTEGER NOT NULL DEFAULT 0,
    complete INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS log_writer (
    group_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    PRIMARY KEY (group_id, name)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS log_stream_by_name ON log_stream (group_id, name);
CREATE INDEX IF NOT EXISTS log_stream_by_id ON log_stream (group_id, id);
CREATE INDEX IF NOT EXISTS log_stream_by_last_event ON log_stream (group_id, last_event, name);
"""
_STREAM = "id, name, is_put, created_at, first_event, last_event, stored_at, bytes, complete"


@dataclass(frozen=True, slots=True)
class Group:
    """A group of streams."""

    id: int
    name: str
    #: In epoch milliseconds, as all times here.
    created_at: int
    retention_days: int | None
    tags: Mapping[str, str]


class Stream(NamedTuple):
    """What is on record of a stream."""

    id: int
    name: str
    #: Whether callers write it, rather than agents.
    is_put: bool
    created_at: int
    #: NEVER if it has none; so are the next two.
    first_event: int
    last_event: int
    stored_at: int
    bytes: int
    complete: bool


@dataclass(slots=True)
class _Noted:
    """What is not written yet of a stream."""

    first_event: int = NEVER
    last_event: int = NEVER
    stored_at: int = NEVER
    bytes: int = 0
    complete: bool = False


class LogCatalogue:
    """Groups and streams. Everything that is awaited looks at the file, on a thread."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it; one that cannot be read is set aside."""
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._noted: dict[tuple[int, str], _Noted] = {}
        try:
            self._database = _opened(path)
        except sqlite3.OperationalError:
            raise  # a full disk, or the like: the file is as it was
        except sqlite3.DatabaseError as error:
            log.warning("catalogue.unreadable", error=str(error), path=str(path))
            path.replace(path.with_suffix(".broken"))
            self._database = _opened(path)
        # Of its own, so that nobody who looks holds up those who write.
        self._reader = sqlite3.connect(path, timeout=10, check_same_thread=False)
        #: Whether the last end was in order, so that what is on record is what there is.
        self.is_whole = self._about("whole") == "yes"
        with self._database:
            for name in (JOBS, AGENTS):
                self._create_group(name, {})
        self._groups = {group.name: group for group in self._read_groups()}

    async def begin(self) -> None:
        """Notes that what is on record may not be everything until the end."""
        await self._run(self._set_about, "whole", "no")

    async def close(self) -> None:
        """Writes what was noted and lets the file go, in order."""
        await self.flush()
        await self._run(self._set_about, "whole", "yes" if self.is_whole else "no")
        self._reader.close()
        self._database.close()

    # Groups

    @property
    def groups(self) -> Mapping[str, Group]:
        """All groups, by name."""
        return self._groups

    async def create_group(self, name: str, tags: Mapping[str, str]) -> bool:
        """Creates a group; returns whether there was none."""
        if name in self._groups:
            return False
        is_new = await self._run(self._create_group, name, tags)
        group = await self._run(self._read_group, name)
        if group is not None:
            self._groups[name] = group
        return is_new

    async def delete_group(self, group: Group) -> None:
        """Forgets a group without streams; those that are always there stay."""
        is_free = group.name not in (JOBS, AGENTS)
        if is_free and await self._run(self._delete_group, group):
            self._groups.pop(group.name, None)

    async def change_group(
        self, group: Group, *, retention_days: int | None, tags: Mapping[str, str]
    ) -> None:
        """Sets what can be set of a group."""
        changed = replace(group, retention_days=retention_days, tags=dict(tags))
        await self._run(self._change_group, changed)
        self._groups[group.name] = changed

    # Streams

    async def add(
        self, group: Group, stream: str, *, is_put: bool, writer: str | None = None
    ) -> bool:
        """Puts a stream on record, and the instance that writes it; returns whether it is new."""
        return await self._run(self._add, group.id, stream, is_put, writer)

    async def writer(self, group: Group, stream: str) -> str | None:
        """The instance that writes a stream: None if none is on record; empty: callers do."""
        return await self._look(self._writer, group.id, stream)

    def note(
        self,
        group: Group,
        stream: str,
        events: tuple[int, int] | None,
        size: int,
        *,
        complete: bool = False,
        stored_at: int | None = None,
    ) -> None:
        """Notes what is stored of a stream: times of its first and last event, if any; bytes.

        It was stored now, if nothing else is said.
        """
        noted = self._noted.setdefault((group.id, stream), _Noted())
        if events is not None:
            noted.first_event, noted.last_event = events
        noted.stored_at = _now() if stored_at is None else stored_at
        noted.bytes = size
        noted.complete |= complete

    async def flush(self) -> None:
        """Writes what was noted."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            await self._run(self._write, noted)
        except (Unavailable, sqlite3.Error):
            for at, missed in noted.items():
                self._noted.setdefault(at, missed)
            raise

    async def incomplete(self) -> list[tuple[str, str]]:
        """Group and name of all streams that may go on."""
        return await self._look(self._read_incomplete)

    async def stream(self, group: Group, name: str) -> Stream | None:
        """A stream; None if there is none."""
        found = await self._select("name = ?", (group.id, name), "id", 1)
        return found[0] if found else None

    async def by_name(
        self, group: Group, prefix: str, after: str | None, limit: int, *, descending: bool
    ) -> list[Stream]:
        """A page of the streams of a group whose names begin so, in order of names."""
        where = "name >= ? AND name < ?"
        values: tuple[str, ...] = prefix, prefix + _BEYOND
        if after is not None:
            where, values = f"{where} AND name {'<' if descending else '>'} ?", (*values, after)
        order = "name DESC" if descending else "name"
        return await self._select(where, (group.id, *values), order, limit)

    async def by_last_event(
        self, group: Group, after: tuple[int, str] | None, limit: int, *, descending: bool
    ) -> list[Stream]:
        """A page of the streams of a group, in order of their last events and then their names."""
        where, values = "true", after or ()
        if after is not None:
            where = f"(last_event, name) {'<' if descending else '>'} (?, ?)"
        order = "last_event DESC, name DESC" if descending else "last_event, name"
        index = "log_stream_by_last_event"
        return await self._select(where, (group.id, *values), order, limit, index)

    async def between(
        self,
        group: Group,
        *,
        prefix: str,
        since: int,
        until: int,
        after: int,
        last: int,
        newest_first: bool,
        limit: int,
    ) -> list[Stream]:
        """Streams with events in a time, in order of their creation.

        Args:
            group: their group.
            prefix: how their names begin.
            since: they have events of this time or later.
            until: they have events of this time or earlier.
            after: they come after the one with this id in the order.
            last: they come before the one with this id in the order, or are it.
            newest_first: whether the order is reversed.
            limit: most streams.
        """
        low, high = (last, after - 1) if newest_first else (after + 1, last)
        named: tuple[str, Sequence[int | str]] = (
            "name >= ? AND name < ?",
            (prefix, prefix + _BEYOND),
        )
        recent: tuple[str, Sequence[int | str]] = "last_event >= ?", (since,)
        if bool(prefix) and await self._look(self._are_few, group.id, "log_stream_by_name", named):
            index = "log_stream_by_name"
        elif await self._look(self._are_few, group.id, "log_stream_by_last_event", recent):
            index = "log_stream_by_last_event"
        else:
            index = "log_stream_by_id"
        where = "id BETWEEN ? AND ? AND first_event BETWEEN 0 AND ?"
        return await self._select(
            f"{where} AND {named[0]} AND {recent[0]}",
            (group.id, low, high, until, *named[1], *recent[1]),
            "id DESC" if newest_first else "id",
            limit,
            index,
        )

    async def named(self, group: Group, names: Sequence[str]) -> list[Stream]:
        """The streams of these names that there are."""
        places = ",".join("?" * len(names))
        return await self._select(f"name IN ({places})", (group.id, *names), "id", len(names))

    async def remove(self, group: Group, names: Iterable[str]) -> None:
        """Forgets streams."""
        gone = list(names)
        for name in gone:
            self._noted.pop((group.id, name), None)
        await self._run(self._remove, group.id, gone)

    async def sizes(self, groups: Iterable[Group]) -> dict[int, int]:
        """Bytes of the streams of groups, by the groups' ids."""
        with contextlib.suppress(Unavailable):
            await self.flush()
        return await self._look(self._sizes, [group.id for group in groups])

    # On a thread

    async def _run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        def locked() -> R:
            try:
                with self._lock, self._database:
                    return call(*args, **kwargs)
            except sqlite3.OperationalError as error:
                raise Unavailable(f"The catalogue of logs cannot be written: {error}.") from error

        return await asyncio.to_thread(locked)

    async def _look(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        def locked() -> R:
            with self._reading:
                return call(*args, **kwargs)

        return await asyncio.to_thread(locked)

    async def _select(
        self,
        where: str,
        values: Sequence[int | str],
        order: str,
        limit: int,
        index: str = "log_stream_by_name",
    ) -> list[Stream]:
        with contextlib.suppress(Unavailable):  # what is on record is still right as far as it goes
            await self.flush()
        return await self._look(self._read_streams, where, values, order, limit, index)

    def _are_few(self, group_id: int, index: str, part: tuple[str, Sequence[int | str]]) -> bool:
        """Whether so few streams of a group are in a part of an index that they can be sorted."""
        where, values = part
        query = (
            f"SELECT count(*) FROM (SELECT 1 FROM log_stream INDEXED BY {index} "  # noqa: S608 - of constants of this file alone
            f"WHERE group_id = ? AND {where} LIMIT ?)"
        )
        row = self._reader.execute(query, (group_id, *values, FEW)).fetchone()
        return int(row[0]) < FEW

    def _read_streams(
        self, where: str, values: Sequence[int | str], order: str, limit: int, index: str
    ) -> list[Stream]:
        query = (
            f"SELECT {_STREAM} FROM log_stream INDEXED BY {index} "  # noqa: S608 - as above
            f"WHERE group_id = ? AND {where} ORDER BY {order} LIMIT ?"
        )
        rows = self._reader.execute(query, (*values, limit))
        return [Stream._make((*row[:2], bool(row[2]), *row[3:8], bool(row[8]))) for row in rows]

    def _read_incomplete(self) -> list[tuple[str, str]]:
        query = (
            "SELECT log_group.name, log_stream.name FROM log_stream "
            "JOIN log_group ON log_group.id = group_id WHERE NOT complete ORDER BY log_stream.id"
        )
        return [(group, name) for group, name in self._reader.execute(query)]

    def _read_group(self, name: str) -> Group | None:
        return next((group for group in self._read_groups() if group.name == name), None)

    def _read_groups(self) -> list[Group]:
        rows = self._database.execute(
            "SELECT id, name, created_at, retention_days, tags FROM log_group"
        )
        return [Group(a, b, c, d, json.loads(tags)) for a, b, c, d, tags in rows]

    def _create_group(self, name: str, tags: Mapping[str, str]) -> bool:
        cursor = self._database.execute(
            "INSERT INTO log_group (name, created_at, tags) VALUES (?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (name, _now(), json.dumps(dict(tags))),
        )
        return cursor.rowcount > 0

    def _delete_group(self, group: Group) -> bool:
        # An agent may have begun a stream meanwhile: then the group goes on with it.
        cursor = self._database.execute(
            "DELETE FROM log_group WHERE id = ?1 "
            "AND NOT EXISTS (SELECT 1 FROM log_stream WHERE group_id = ?1)",
            (group.id,),
        )
        return cursor.rowcount > 0

    def _change_group(self, group: Group) -> None:
        self._database.execute(
            "UPDATE log_group SET retention_days = ?, tags = ? WHERE id = ?",
            (group.retention_days, json.dumps(group.tags), group.id),
        )

    def _writer(self, group_id: int, stream: str) -> str | None:
        row = self._reader.execute(
            "SELECT coalesce(w.instance_id, CASE WHEN s.is_put THEN '' END) FROM log_stream s "
            "LEFT JOIN log_writer w USING (group_id, name) WHERE s.group_id = ? AND s.name = ?",
            (group_id, stream),
        ).fetchone()
        return None if row is None else row[0]

    def _add(self, group_id: int, stream: str, is_put: bool, writer: str | None) -> bool:
        if writer is not None:
            self._database.execute(
                "INSERT INTO log_writer VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (group_id, stream, writer),
            )
        cursor = self._database.execute(
            "INSERT INTO log_stream (group_id, name, is_put, created_at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (group_id, stream, is_put, _now()),
        )
        return cursor.rowcount > 0

    def _write(self, noted: Mapping[tuple[int, str], _Noted]) -> None:
        self._database.executemany(
            "UPDATE log_stream SET "
            "first_event = ?, last_event = ?, stored_at = ?, bytes = ?, complete = complete OR ? "
            "WHERE group_id = ? AND name = ?",
            [
                (n.first_event, n.last_event, n.stored_at, n.bytes, n.complete, *at)
                for at, n in noted.items()
            ],
        )

    def _remove(self, group_id: int, names: Sequence[str]) -> None:
        self._database.executemany(
            "DELETE FROM log_stream WHERE group_id = ? AND name = ?",
            [(group_id, name) for name in names],
        )
        self._database.executemany(
            "DELETE FROM log_writer WHERE group_id = ? AND name = ?",
            [(group_id, name) for name in names],
        )

    def _sizes(self, ids: Sequence[int]) -> dict[int, int]:
        query = "SELECT coalesce(sum(bytes), 0) FROM log_stream WHERE group_id = ?"
        return {each: self._reader.execute(query, (each,)).fetchone()[0] for each in ids}

    def _about(self, what: str) -> str | None:
        row = self._database.execute("SELECT value FROM about WHERE what = ?", (what,)).fetchone()
        return None if row is None else str(row[0])

    def _set_about(self, what: str, value: str) -> None:
        self._database.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (what, value))


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=10, check_same_thread=False)
    with contextlib.ExitStack() as stack:
        stack.callback(database.close)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_TABLES)
        stack.pop_all()
    return database


def _now() -> int:
    return time.time_ns() // 1_000_000
