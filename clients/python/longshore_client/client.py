"""The client: one object for everything."""

from longshore_client.access import AccessCalls
from longshore_client.audit import AuditCalls
from longshore_client.capacity import CapacityCalls
from longshore_client.events import EventCalls
from longshore_client.jobs import JobCalls
from longshore_client.logs import LogCalls
from longshore_client.resources import ResourceCalls
from longshore_client.rules import RuleCalls


class Client(
    LogCalls,
    JobCalls,
    ResourceCalls,
    CapacityCalls,
    EventCalls,
    RuleCalls,
    AuditCalls,
    AccessCalls,
):
    """Speaks to longshore's services; an async context manager.

    See `Connection` for its settings, `JobCalls`, `LogCalls`, `ResourceCalls`, `CapacityCalls`,
    `EventCalls`, `RuleCalls`, `AuditCalls` and `AccessCalls` for what it does.
    """
