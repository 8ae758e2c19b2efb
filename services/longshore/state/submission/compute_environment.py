"""Compute environments as submission keeps them."""

from collections.abc import Sequence

import asyncpg

from longshore.domain.environment import ComputeEnvironment
from longshore.state.pool import Connection
from longshore.state.queries import load_queries
from longshore.state.submission.environment_scaling import delete_unused

_SQL = load_queries("compute_environment")


async def insert_environment(conn: Connection, environment: ComputeEnvironment) -> bool:
    """Stores a compute environment; False if its name is taken."""
    name = await conn.fetchval(
        _SQL["insert_environment"],
        environment.name,
        environment.uuid,
        environment.type,
        environment.state,
        environment.status_reason,
        environment.detail,
        environment.resource_type,
        environment.minv_cpus,
        environment.maxv_cpus,
        environment.desiredv_cpus,
        environment.unmanagedv_cpus,
        dict(environment.tags),
        environment.status,
    )
    if name is not None:
        await conn.execute(_SQL["notify_environments"])
    return name is not None


async def read_environments(conn: Connection, names: Sequence[str]) -> list[ComputeEnvironment]:
    """Compute environments by name, in order of their names; unknown ones are left out."""
    return [_environment(row) for row in await conn.fetch(_SQL["read_environments"], names)]


async def list_environments(
    conn: Connection, *, after: str, limit: int
) -> list[ComputeEnvironment]:
    """Compute environments after a name, in order of their names."""
    return [_environment(row) for row in await conn.fetch(_SQL["list_environments"], after, limit)]


async def lock_environments(
    conn: Connection, names: Sequence[str]
) -> dict[str, ComputeEnvironment]:
    """Compute environments by name, held still until the transaction ends."""
    rows = await conn.fetch(_SQL["lock_environments"], names)
    return {row["name"]: _environment(row) for row in rows}


async def update_environment(conn: Connection, environment: ComputeEnvironment) -> None:
    """Writes everything of a compute environment that may change."""
    await conn.execute(
        _SQL["update_environment"],
        environment.name,
        environment.state,
        environment.detail,
        environment.resource_type,
        environment.minv_cpus,
        environment.maxv_cpus,
        environment.desiredv_cpus,
        environment.unmanagedv_cpus,
        environment.status,
        environment.status_reason,
        environment.generation,
        environment.infrastructure_updated_at,
    )
    await conn.execute(_SQL["notify_environments"])


async def count_queues(conn: Connection, name: str) -> int:
    """How many queues name a compute environment."""
    count: int = await conn.fetchval(_SQL["count_queues"], name)
    return count


async def delete_environment(conn: Connection, name: str) -> None:
    """Removes a compute environment that is empty; marks one whose instances have to go first."""
    if not await delete_unused(conn, name):
        await conn.execute(_SQL["begin_deletion"], name)
        await conn.execute(_SQL["notify_environments"])


def _environment(row: asyncpg.Record) -> ComputeEnvironment:
    return ComputeEnvironment(
        name=row["name"],
        uuid=row["uuid"],
        type=row["type"],
        state=row["state"],
        status=row["status"],
        status_reason=row["status_reason"],
        detail=row["detail"],
        resource_type=row["resource_type"],
        minv_cpus=row["minv_cpus"],
        maxv_cpus=row["maxv_cpus"],
        desiredv_cpus=row["desiredv_cpus"],
        unmanagedv_cpus=row["unmanagedv_cpus"],
        tags=row["tags"],
        generation=row["generation"],
        infrastructure_updated_at=row["infrastructure_updated_at"],
    )
