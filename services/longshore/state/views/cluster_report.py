"""What ECS would tell of compute environments, their instances and attempts."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from longshore.domain.cluster import ClusterRecord, ContainerInstanceRecord, TaskRecord
from longshore.domain.job.job import JobKey
from longshore.state.pool import Connection
from longshore.state.queries import load_history_queries, load_queries

_SQL = load_queries("cluster_report")
_ALL = load_history_queries("cluster_report")


async def clusters(
    conn: Connection, names: Sequence[str] | None, *, after: str = "", limit: int
) -> list[ClusterRecord]:
    """Compute environments by name: those named, or all after a name."""
    return [ClusterRecord(**row) for row in await conn.fetch(_SQL["clusters"], names, after, limit)]


async def identity(conn: Connection, name: str) -> uuid.UUID | None:
    """The id of a compute environment; None if there is none of the name."""
    found: uuid.UUID | None = await conn.fetchval(_SQL["identity"], name)
    return found


async def list_instances(
    conn: Connection, environment: str, status: str | None, *, after: str, limit: int
) -> list[str]:
    """Ids of instances whose agents are there, in their order."""
    rows = await conn.fetch(_SQL["list_instances"], environment, status, after, limit)
    return [row["instance_id"] for row in rows]


async def instances(
    conn: Connection, environment: str | None, ids: Sequence[str]
) -> list[ContainerInstanceRecord]:
    """Instances whose agents joined, the named ones of them; of an environment, or of any."""
    return [
        ContainerInstanceRecord(is_connected=row["status"] != "INACTIVE", **row)
        for row in await conn.fetch(_SQL["instances"], environment, ids)
    ]


async def list_tasks(
    conn: Connection,
    environment: str,
    *,
    instance: str | None,
    definition: str | None,
    fargate: bool | None,
    after: str,
    limit: int,
) -> list[str]:
    """Ids of live attempts, in their order."""
    rows = await conn.fetch(
        _SQL["list_tasks"], environment, instance, definition, fargate, after, limit
    )
    return [row["attempt_id"] for row in rows]


async def tasks(conn: Connection, environment: str | None, ids: Sequence[str]) -> list[TaskRecord]:
    """Attempts, live or history, the named ones of them; of an environment, or of any."""
    found: list[TaskRecord] = []
    for queries in (_SQL, _ALL):
        missing = sorted(set(ids) - {record.attempt_id for record in found})
        if missing:
            found += [task(row) for row in await conn.fetch(queries["tasks"], environment, missing)]
    return found


@dataclass(frozen=True, slots=True)
class Change:
    """An agent that joined, or an instance that ended, by the name that ECS has for it."""

    name: str
    event_id: uuid.UUID
    at: datetime
    instance: ContainerInstanceRecord


async def placed(
    conn: Connection,
    start: datetime,
    before: tuple[datetime, uuid.UUID],
    event_id: uuid.UUID | None,
    limit: int,
) -> list[TaskRecord]:
    """Attempts placed from a time on and before a position, the newest first."""
    at, before_id = before
    wanted = None if event_id is None else event_id.hex
    rows = await conn.fetch(_ALL["placed"], start, at, before_id.hex, wanted, limit)
    ids = [row["attempt_id"] for row in rows]
    found = {record.attempt_id: record for record in await tasks(conn, None, ids)}
    return [found[attempt_id] for attempt_id in ids if attempt_id in found]


async def changes(
    conn: Connection,
    names: Sequence[str],
    start: datetime,
    before: tuple[datetime, uuid.UUID],
    event_id: uuid.UUID | None,
    limit: int,
) -> list[Change]:
    """What became of instances from a time on and before a position, the newest first."""
    rows = await conn.fetch(_SQL["changes"], names, start, *before, event_id, limit)
    ids = sorted({row["instance_id"] for row in rows})
    found = {record.instance_id: record for record in await instances(conn, None, ids)}
    return [
        Change(row["name"], row["event_id"], row["at"], found[row["instance_id"]])
        for row in rows
        if row["instance_id"] in found
    ]


def task(row: asyncpg.Record) -> TaskRecord:
    """A row of an attempt with its job."""
    members = dict(row)
    key = JobKey(members.pop("job_id"), members.pop("array_index"))
    return TaskRecord(**members | {"key": key, "containers": members["containers"] or ()})
