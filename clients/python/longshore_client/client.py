"""The client: one object for everything."""

from longshore_client.jobs import JobCalls
from longshore_client.logs import LogCalls
from longshore_client.resources import ResourceCalls


class Client(LogCalls, JobCalls, ResourceCalls):
    """Speaks to longshore's services; an async context manager.

    See `Connection` for its settings, `JobCalls`, `LogCalls` and `ResourceCalls` for what it does.
    """
