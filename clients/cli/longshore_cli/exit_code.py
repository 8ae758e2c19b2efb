"""Exit codes of the command, and the one place where errors become them."""

import re

from longshore_client import (
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

OK = 0
NEGATIVE = 1
USAGE = 2
UNREACHABLE = 3
NOT_FOUND = 4
TOO_LATE = 5
DENIED = 6
INTERRUPTED = 130

_BY_CLASS: dict[type[LongshoreError], int] = {
    InvalidRequest: USAGE,
    LimitExceeded: USAGE,
    PreconditionFailed: USAGE,
    Unimplemented: USAGE,
    Throttled: USAGE,
    Unauthenticated: DENIED,
    PermissionDenied: DENIED,
    Unavailable: UNREACHABLE,
    NotFound: NOT_FOUND,
    Timeout: TOO_LATE,
}


def of(error: LongshoreError) -> int:
    """The exit code of an error."""
    return _BY_CLASS.get(type(error), NEGATIVE)


def sentence(error: LongshoreError, server: str) -> str:
    """What a person is told of an error: what is wrong and, where it is not plain, what to do."""
    unreached = re.search("connect|resolv", error.message)
    if isinstance(error, Unavailable) and not error.fields and unreached:
        return (
            f"No longshore answers at {server}; start one with `longshore up`, "
            "or name another with --server HOST:PORT."
        )
    if isinstance(error, Unauthenticated):
        return (
            f"{error.message.strip()} Set LONGSHORE_ACCESS_KEY_ID and LONGSHORE_SECRET_ACCESS_KEY; "
            "who owns the stack needs neither, and makes keys with `longshore key create USER`."
        )
    return error.message.strip() or "The service refused without saying why."
