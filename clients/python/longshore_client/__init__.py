"""longshore's client: everything the services offer, as typed coroutines.

    async with Client() as client:
        job_id = await client.submit_job("hello", queue="default", definition="hello")
        (job,) = await client.wait([job_id], timeout=60)
        async for line in client.job_logs(job_id):
            print(line.text)

Messages are those of `longshore.v1`, so every member of AWS Batch's API is at hand; helpers take
plain values for what is used most. Every call has a deadline; calls that a service could not take
are tried again with growing, jittered delays until then. Errors are the classes of
`longshore_client.errors`.

`Client` and `LogLine` are loaded when they are first used, and gRPC with them.
"""

import importlib
from typing import TYPE_CHECKING, Any

from longshore_client.address import Addresses
from longshore_client.credentials import AccessKey
from longshore_client.errors import (
    InternalError,
    InvalidRequest,
    LimitExceeded,
    LongshoreError,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    Throttled,
    Timeout,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)

if TYPE_CHECKING:
    from longshore_client.client import Client
    from longshore_client.logs import LogLine

__all__ = [
    "AccessKey",
    "Addresses",
    "Client",
    "InternalError",
    "InvalidRequest",
    "LimitExceeded",
    "LogLine",
    "LongshoreError",
    "NotFound",
    "PermissionDenied",
    "PreconditionFailed",
    "Throttled",
    "Timeout",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
]

_LATER = {"Client": "longshore_client.client", "LogLine": "longshore_client.logs"}


def __getattr__(name: str) -> Any:
    """Loads what is not loaded yet."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LATER[name]), name)
    return value
