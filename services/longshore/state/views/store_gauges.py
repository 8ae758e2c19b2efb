"""What the store holds now, in numbers by queue and environment: for whoever measures."""

from dataclasses import dataclass
from datetime import datetime

from longshore.state.pool import Connection
from longshore.state.queries import load_queries
from longshore.state.views import capacity_report
from longshore.state.views.capacity_report import EnvironmentCapacity

_SQL = load_queries("store_gauges")
#: Entries of each shape that are looked at for the one that has waited longest.
_FIRST = 20


@dataclass(frozen=True, slots=True)
class QueueNow:
    """What stands first in a queue."""

    name: str
    #: Of the job that has been RUNNABLE for longest; None: none is.
    runnable_since: datetime | None
    #: AWS's code of what blocks the job that is next.
    blocked_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstancesNow:
    """Instances that are alike."""

    compute_environment: str
    instance_type: str
    zone: str
    purchase_option: str
    status: str
    number: int
    cost_per_hour: float
    idle_per_hour: float


@dataclass(frozen=True, slots=True)
class StoreNow:
    """All of it, of one moment or nearly so."""

    queues: tuple[QueueNow, ...]
    #: Unfinished jobs and children by queue and status; what there is none of is absent.
    jobs: dict[tuple[str, str], int]
    capacity: tuple[EnvironmentCapacity, ...]
    instances: tuple[InstancesNow, ...]


async def read(conn: Connection) -> StoreNow:
    """Reads it: by what is unfinished, never by what ever was."""
    queues = await conn.fetch(_SQL["queues"], _FIRST)
    jobs = await conn.fetch(_SQL["jobs"])
    instances = await conn.fetch(_SQL["instances"])
    return StoreNow(
        tuple(QueueNow(row["name"], row["runnable_since"], row["code"]) for row in queues),
        {(row["job_queue"], row["status"]): row["number"] for row in jobs},
        tuple(await capacity_report.capacity(conn, [])),
        tuple(InstancesNow(**row) for row in instances),
    )
