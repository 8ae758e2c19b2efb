"""Agents that registered: one per instance, kept by the scheduler."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from longshore.domain.resources import Resources
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("agent")


@dataclass(frozen=True, slots=True)
class Registration:
    """What an agent says of itself. `runtime` is docker, process or simulated."""

    instance_id: str
    compute_environment: str
    instance_type: str
    architecture: str
    runtime: str
    unmanaged: bool
    resources: Resources
    address: str
    agent_version: str


@dataclass(frozen=True, slots=True)
class PresentAgent:
    """An agent that is not lost."""

    instance_id: str
    compute_environment: str
    runtime: str
    resources: Resources
    draining: bool
    last_seen_at: datetime


async def register(conn: Connection, registration: Registration, *, draining: bool) -> None:
    """Records an agent as READY or DRAINING, also one that was lost before."""
    await conn.execute(
        _SQL["register"],
        registration.instance_id,
        registration.compute_environment,
        registration.instance_type,
        registration.architecture,
        registration.runtime,
        registration.unmanaged,
        registration.resources.vcpu_milli,
        registration.resources.memory_mib,
        registration.resources.gpus,
        registration.address,
        registration.agent_version,
        "DRAINING" if draining else "READY",
    )


async def set_status(conn: Connection, instance_ids: Sequence[str], status: str) -> None:
    """Moves agents to DRAINING or LOST; lost ones stay lost until they register again."""
    if instance_ids:
        await conn.execute(_SQL["set_status"], list(instance_ids), status)


async def seen(conn: Connection, instance_ids: Sequence[str]) -> None:
    """Notes that agents are alive."""
    if instance_ids:
        await conn.execute(_SQL["seen"], list(instance_ids))


async def set_load(conn: Connection, live: Mapping[str, int], now: datetime | None = None) -> None:
    """Stores how many attempts are live on instances; those with none are idle from now."""
    if live:
        await conn.execute(_SQL["set_load"], list(live), list(live.values()), now)


async def present(conn: Connection) -> list[PresentAgent]:
    """Every agent that is not lost."""
    return [
        PresentAgent(
            instance_id=row["instance_id"],
            compute_environment=row["compute_environment"],
            runtime=row["runtime"],
            resources=Resources(row["vcpu_milli"], row["memory_mib"], row["gpus"]),
            draining=row["status"] == "DRAINING",
            last_seen_at=row["last_seen_at"],
        )
        for row in await conn.fetch(_SQL["present"])
    ]


async def leaving(conn: Connection, instance_ids: Sequence[str]) -> dict[str, str]:
    """Which instances are on their way out or over, with their status."""
    rows = await conn.fetch(_SQL["leaving"], list(instance_ids))
    return {row["instance_id"]: row["status"] for row in rows}


async def instance(conn: Connection, instance_id: str) -> tuple[str, str] | None:
    """Compute environment and status of an instance on record; None if it was never ordered."""
    row = await conn.fetchrow(_SQL["instance"], instance_id)
    return None if row is None else (row["compute_environment"], row["status"])
