"""The client: one object for everything."""

from longshore_client.audit import AuditCalls
from longshore_client.capacity import CapacityCalls
from longshore_client.jobs import JobCalls
from longshore_client.logs import LogCalls
from longshore_client.resources import ResourceCalls


class Client(LogCalls, JobCalls, ResourceCalls, CapacityCalls, AuditCalls):
    """Speaks to longshore's services; an async context manager.

    See `Connection` for its settings, `JobCalls`, `LogCalls`, `ResourceCalls`, `CapacityCalls` and
    `AuditCalls` for what it does.
    """
