"""Errors in AWS's form: a code in a header and in the body, and a message."""

from dataclasses import dataclass, field
from typing import Any, Self

from longshore.domain import errors

CLIENT = "ClientException"
SERVER = "ServerException"
#: Seconds after which a caller may try again what failed for a while only.
RETRY_SECONDS = 1

_CALLERS_FAULT = (
    errors.InvalidRequest,
    errors.LimitExceeded,
    errors.NotFound,
    errors.PreconditionFailed,
    errors.Unimplemented,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One answer that is not success."""

    status: int
    code: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, error: errors.LongshoreError) -> Self:
        """The answer for an error of ours.

        What goes wrong behind the gateway is not the caller's to read: for those the message is
        constant and the log has the rest.
        """
        if isinstance(error, _CALLERS_FAULT):
            return cls(400, CLIENT, error.message)
        if isinstance(error, errors.Unavailable):
            return cls(
                503,
                SERVER,
                "The service is not available at the moment; try again.",
                {"Retry-After": str(RETRY_SECONDS)},
            )
        return cls(500, SERVER, "Internal error; the service's log has the details.")

    def body(self) -> dict[str, Any]:
        """The JSON object that is answered."""
        return {"__type": self.code, "message": self.message}


def unknown_operation(path: str) -> Fault:
    """For a path that is no operation's."""
    return Fault(404, "UnknownOperationException", f"No operation at {path[:200]}.")


def wrong_method(method: str, allowed: list[str]) -> Fault:
    """For a path that takes other HTTP methods."""
    allow = ", ".join(sorted(allowed))
    return Fault(
        405,
        "UnknownOperationException",
        f"This operation takes {allow}, not {method[:20]}.",
        {"Allow": allow},
    )


def oversize(limit: int) -> Fault:
    """For a body over the gateway's limit; operations have lower limits of their own."""
    return Fault(400, CLIENT, f"Request size exceeds {limit} bytes.")


def malformed(line_limit: int | None = None) -> Fault:
    """For what is no HTTP; with a limit, for a first line or header beyond it."""
    if line_limit is None:
        return Fault(400, CLIENT, "The request is not valid HTTP/1.1.")
    return Fault(
        400, CLIENT, f"The request's first line has more than {line_limit} bytes, or a header does."
    )


def too_many_requests() -> Fault:
    """For a request beyond those taken at once; AWS's clients wait and repeat it."""
    return Fault(
        429,
        "TooManyRequestsException",
        "Too Many Requests",
        {"Retry-After": str(RETRY_SECONDS)},
    )


def too_slow(seconds: float) -> Fault:
    """For a request whose body did not arrive in time."""
    return Fault(408, "RequestTimeoutException", f"The request did not arrive in {seconds:g} s.")


def misdirected() -> Fault:
    """For a request to a name that is not the gateway's."""
    return Fault(
        421,
        "MisdirectedRequestException",
        "The gateway does not answer to the name in the Host header. Use 127.0.0.1 or localhost, "
        "or list the name in LONGSHORE_GATEWAY_HOSTS where the gateway is started.",
    )


def foreign_origin() -> Fault:
    """For a request that another site's page made a browser send."""
    return Fault(403, "AccessDeniedException", "Requests from other sites' pages are refused.")
