"""Queues and compute environments as the scheduler sees them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from longshore.domain.catalogue import FARGATE_FAMILY, RESERVE_MIB
from longshore.domain.environment_tags import lost_after
from longshore.domain.fair_share import SharePolicy
from longshore.domain.order import ON_DEMAND, SPOT
from longshore.domain.placing.time_limit import TimeLimit, time_limits_of
from longshore.domain.placing.waiting import CapacityShortage, EnvironmentFacts, Launched, Supply
from longshore.domain.request.policy import share_policy
from longshore.domain.resources import Resources
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("topology")


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue with its compute environments in order."""

    name: str
    priority: int
    deleting: bool
    compute_environments: tuple[str, ...]
    #: How its shares take turns, if it has any.
    policy: SharePolicy | None = None
    #: For how long jobs may block it.
    time_limits: tuple[TimeLimit, ...] = ()
    #: How many of its jobs run at one time; 0 for any number.
    max_running: int = 0


@dataclass(frozen=True, slots=True)
class Topology:
    """All queues and compute environments by name."""

    queues: dict[str, QueueRow]
    environments: dict[str, EnvironmentFacts]
    #: Instances from before the last infrastructure update of their environment: they take nothing
    #: more, also before the scaler has given them back.
    outdated: frozenset[str] = frozenset()


async def load(conn: Connection) -> Topology:
    """Reads all queues and compute environments: they are few."""
    environments = {
        row["name"]: EnvironmentFacts(
            name=row["name"],
            managed=row["type"] == "MANAGED",
            enabled=row["state"] == "ENABLED",
            valid=row["status"] in ("VALID", "UPDATING"),
            maxv_cpus=row["maxv_cpus"],
            unmanagedv_cpus=row["unmanagedv_cpus"],
            instance_types=tuple(row["instance_types"]),
            creating=row["status"] == "CREATING",
            fargate=row["resource_type"] in ("FARGATE", "FARGATE_SPOT"),
            lost_after_seconds=lost_after(row["tags"]),
            environment_id=row["uuid"],
            purchase_option=SPOT if row["resource_type"] in ("SPOT", "FARGATE_SPOT") else ON_DEMAND,
        )
        for row in await conn.fetch(_SQL["environments"])
    }
    queues = {
        row["name"]: QueueRow(
            name=row["name"],
            priority=row["priority"],
            deleting=row["status"] == "DELETING",
            # One that was made between the two queries is notified of, and read then.
            compute_environments=tuple(n for n in row["environments"] if n in environments),
            policy=None if row["fairshare"] is None else share_policy(row["fairshare"]),
            time_limits=time_limits_of(row["time_limits"]),
            max_running=row["max_running"],
        )
        for row in await conn.fetch(_SQL["queues"])
    }
    outdated = frozenset(row["instance_id"] for row in await conn.fetch(_SQL["outdated"]))
    return Topology(queues, environments, outdated)


async def supply(conn: Connection, now: datetime, cool_down: timedelta) -> Supply:
    """What became of the orders of the last while: as long as a shortage is remembered."""
    since = now - cool_down
    shortages = tuple(
        CapacityShortage(**row, until=row["at"] + cool_down)
        for row in await conn.fetch(_SQL["shortages"], since)
    )
    if not shortages:
        return Supply()
    vcpus = {row["compute_environment"]: row["vcpus"] for row in await conn.fetch(_SQL["vcpus"])}
    return Supply(shortages, await launched(conn, since), vcpus)


async def launched(
    conn: Connection, since: datetime | None, queue: str | None = None
) -> tuple[Launched, ...]:
    """Instances that are booting, and those ordered since then; of one queue's environments."""
    return tuple(
        Launched(
            compute_environment=row["compute_environment"],
            instance_type=row["instance_type"],
            offer=Resources(
                round(row["vcpus"] * 1000),
                # As InstanceType.offer has it: all of a slot is for its job.
                row["memory_mib"]
                - (0 if row["instance_type"].startswith(f"{FARGATE_FAMILY}.") else RESERVE_MIB),
                row["gpus"],
            ),
            booting=row["booting"],
            count=row["count"],
            first_at=row["first_at"],
            last_at=row["last_at"],
        )
        for row in await conn.fetch(_SQL["launched"], since, queue)
    )
