"""Agents that registered: one per instance, kept by the scheduler."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from longshore.domain.instance import NOTICE_MARGIN, InstanceCondition
from longshore.domain.job.job import JobKey
from longshore.domain.resources import Resources
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("agent")


@dataclass(frozen=True, slots=True)
class Health:
    """How an instance fares, as its agent says; see its namesake on the wire."""

    condition: InstanceCondition = InstanceCondition.HEALTHY
    detail: str = ""
    network: str = ""
    network_detail: str = ""

    @property
    def fit(self) -> bool:
        """Whether attempts may be placed there."""
        return self.condition is InstanceCondition.HEALTHY


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
    #: Attempts that the agent knows: what runs, and what has ended and is not acknowledged.
    attempts: tuple[tuple[JobKey, int], ...] = ()
    health: Health = field(default_factory=Health)
    #: Of the agent, new with each of its starts; empty if it does not say.
    process_id: str = ""
    #: The machine's GPUs, in words.
    gpu_devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PresentAgent:
    """An agent that is not lost."""

    instance_id: str
    compute_environment: str
    runtime: str
    resources: Resources
    instance_type: str
    draining: bool
    last_seen_at: datetime
    health: Health


@dataclass(frozen=True, slots=True)
class Leaving:
    """An instance on its way out, or over.

    From `drain_until` on, the attempts on it are stopped; None: they run to their end.
    """

    status: str
    drain_until: datetime | None


@dataclass(frozen=True, slots=True)
class Notice:
    """An instance will be taken away: why, and when, if that is known."""

    instance_id: str
    reason: str
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class OnRecord:
    """What is known of an instance; each is None if there is no record of it."""

    compute_environment: str | None
    status: str | None
    agent_status: str | None
    #: Its agent was told that it will be taken away.
    is_noticed: bool
    instance_type: str | None
    #: Since its launch, if its agent was never there before.
    boot_seconds: float | None
    #: It may be of an order of its environment's that is being answered: such come on record then.
    is_awaited: bool


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
        registration.health.condition,
        registration.health.detail,
        registration.health.network,
        registration.health.network_detail,
        list(registration.gpu_devices),
    )


async def set_health(conn: Connection, healths: Mapping[str, Health]) -> None:
    """Stores how instances fare."""
    if healths:
        said = healths.values()
        await conn.execute(
            _SQL["set_health"],
            list(healths),
            [health.condition for health in said],
            [health.detail for health in said],
            [health.network for health in said],
            [health.network_detail for health in said],
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
            instance_type=row["instance_type"],
            draining=row["status"] == "DRAINING",
            last_seen_at=row["last_seen_at"],
            health=Health(
                InstanceCondition(row["health"]),
                row["health_detail"],
                row["network"],
                row["network_detail"],
            ),
        )
        for row in await conn.fetch(_SQL["present"])
    ]


async def leaving(conn: Connection, instance_ids: Sequence[str]) -> dict[str, Leaving]:
    """Which instances are on their way out or over."""
    margin = NOTICE_MARGIN.total_seconds()
    rows = await conn.fetch(_SQL["leaving"], list(instance_ids), margin)
    return {row["instance_id"]: Leaving(row["status"], row["drain_until"]) for row in rows}


async def notice(conn: Connection, notices: Sequence[Notice]) -> list[str]:
    """Marks agents DRAINING whose instances will be taken away; returns those where it is news."""
    if not notices:
        return []
    rows = await conn.fetch(
        _SQL["notice"],
        [n.instance_id for n in notices],
        [n.reason for n in notices],
        [n.ends_at for n in notices],
    )
    return [row["instance_id"] for row in rows]


async def on_record(conn: Connection, instance_id: str, compute_environment: str) -> OnRecord:
    """What is known of an instance and its agent, which says that it is of an environment."""
    [row] = await conn.fetch(_SQL["on_record"], instance_id, compute_environment)
    return OnRecord(**row)


async def prune(conn: Connection, before: datetime, limit: int) -> int:
    """Forgets lost agents of instances that are over, so many at most; returns how many.

    Machines that joined by themselves have no other record: those are kept that were seen since.
    """
    return len(await conn.fetch(_SQL["prune"], before, limit))
