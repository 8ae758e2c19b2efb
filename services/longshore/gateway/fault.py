"""Errors in AWS's form: a code in a header and in the body, and a message."""

from dataclasses import dataclass, field
from typing import Any, Self

from longshore.domain import errors

#: Seconds after which a caller may try again what failed for a while only.
RETRY_SECONDS = 1
_RETRY = {"Retry-After": str(RETRY_SECONDS)}


@dataclass(frozen=True, slots=True)
class Names:
    """How the errors of one of AWS's services are called, where an error names no other."""

    invalid_request: str
    not_found: str
    limit_exceeded: str
    precondition_failed: str
    unavailable: str
    internal: str

    def of(self, error: errors.LongshoreError) -> str | None:
        """The name of an error that is the caller's fault; None for one that is not."""
        match error:
            case errors.NotFound():
                name = self.not_found
            case errors.LimitExceeded():
                name = self.limit_exceeded
            case errors.PreconditionFailed():
                name = self.precondition_failed
            case errors.InvalidRequest() | errors.Unimplemented():
                name = self.invalid_request
            case _:
                return None
        return error.fields.get("code", name)


#: AWS Batch has one name for all that is the caller's fault.
BATCH = Names(
    invalid_request="ClientException",
    not_found="ClientException",
    limit_exceeded="ClientException",
    precondition_failed="ClientException",
    unavailable="ServerException",
    internal="ServerException",
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One answer that is not success."""

    status: int
    code: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, error: errors.LongshoreError, names: Names = BATCH) -> Self:
        """The answer for an error of ours.

        What goes wrong behind the gateway is not the caller's to read: for those the message is
        constant and the log has the rest.
        """
        if isinstance(error, errors.Throttled):
            return cls(429, "TooManyRequestsException", error.message, _RETRY)
        if isinstance(error, errors.Unauthenticated | errors.PermissionDenied):
            is_known = isinstance(error, errors.PermissionDenied)
            name = "AccessDeniedException" if is_known else "UnrecognizedClientException"
            status = 403 if names is BATCH else 400
            return cls(status, error.fields.get("code", name), error.message)
        code = names.of(error)
        if code is not None:
            return cls(400, code, error.message)
        if isinstance(error, errors.Unavailable):
            return cls(
                503,
                names.unavailable,
                "The service is not available at the moment; try again.",
                {"Retry-After": str(RETRY_SECONDS)},
            )
        return cls(500, names.internal, "Internal error; the service's log has the details.")

    def body(self) -> dict[str, Any]:
        """The JSON object that is answered."""
        return {"__type": self.code, "message": self.message}


def unknown_operation(path: str) -> Fault:
    """For a path that is no operation's."""
    return Fault(404, "UnknownOperationException", f"No operation at {path[:200]}.")


def unknown_target(name: str) -> Fault:
    """For a header `X-Amz-Target` that is no operation's."""
    return Fault(400, "UnknownOperationException", f"No operation is called {name[:200]}.")


def wrong_method(method: str, allowed: list[str]) -> Fault:
    """For a path that takes other HTTP methods."""
    allow = ", ".join(sorted(allowed))
    return Fault(
        405,
        "UnknownOperationException",
        f"This operation takes {allow}, not {method[:20]}.",
        {"Allow": allow},
    )


def not_json(names: Names) -> Fault:
    """For a body that is no JSON."""
    code = names.invalid_request if names is BATCH else "SerializationException"
    return Fault(400, code, "The request body is not valid JSON.")


def oversize(limit: int, names: Names) -> Fault:
    """For a body over the gateway's limit; operations have lower limits of their own."""
    return Fault(400, names.invalid_request, f"Request size exceeds {limit} bytes.")


def malformed(line_limit: int | None = None) -> Fault:
    """For what is no HTTP; with a limit, for a first line or header beyond it."""
    if line_limit is None:
        return Fault(400, BATCH.invalid_request, "The request is not valid HTTP/1.1.")
    return Fault(
        400,
        BATCH.invalid_request,
        f"The request's first line has more than {line_limit} bytes, or a header does.",
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
