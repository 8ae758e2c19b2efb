"""Queues and compute environments as the scheduler sees them."""

from dataclasses import dataclass

from longshore.domain.waiting import EnvironmentFacts
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


@dataclass(frozen=True, slots=True)
class Topology:
    """All queues and compute environments by name."""

    queues: dict[str, QueueRow]
    environments: dict[str, EnvironmentFacts]


async def load(conn: Connection) -> Topology:
    """Reads all queues and compute environments: they are few."""
    environments = {
        row["name"]: EnvironmentFacts(
            name=row["name"],
            managed=row["type"] == "MANAGED",
            enabled=row["state"] == "ENABLED",
            valid=row["status"] in ("VALID", "UPDATING"),
            maxv_cpus=row["maxv_cpus"],
            instance_types=tuple(row["instance_types"]),
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
        )
        for row in await conn.fetch(_SQL["queues"])
    }
    return Topology(queues, environments)


async def delete_queue(conn: Connection, queue: str) -> bool:
    """Removes a queue that is being deleted, once no job of it is unfinished."""
    return await conn.fetchval(_SQL["delete_queue"], queue) is not None
