"""Every error that a call may raise.

    LongshoreError
    ├── InvalidRequest          a member of the request is wrong; nothing was changed
    ├── NotFound                what the request names does not exist
    ├── PreconditionFailed      right in itself, but not in the present state of things
    ├── LimitExceeded           larger or more than is allowed
    ├── Unimplemented           known to AWS Batch, not supported by this service
    ├── Unavailable             the service is away or stopping, and stayed so until the deadline
    ├── Timeout                 the service did not answer, or the jobs did not end, in time
    └── InternalError           the service failed; its log has the details

A refused call carries a `google.rpc.ErrorInfo` whose reason names the class; where a proxy or an
older service sends none, the gRPC status code does.
"""

from google.rpc import error_details_pb2
from grpc import StatusCode
from grpc.aio import AioRpcError
from grpc_status import rpc_status

DOMAIN = "longshore"


class LongshoreError(Exception):
    """Base of all errors: `message` is for people, `fields` are what the service told besides."""

    reason = "UNKNOWN"

    def __init__(self, message: str, **fields: str) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields


class InvalidRequest(LongshoreError):
    """A member of the request is wrong; `member` is its path if the service told it."""

    reason = "INVALID_REQUEST"

    @property
    def member(self) -> str:
        """Path of the member at fault, as in `containerOverrides.command`; empty if not told."""
        return self.fields.get("member", "")


class NotFound(LongshoreError):
    """What the request names does not exist."""

    reason = "NOT_FOUND"


class PreconditionFailed(LongshoreError):
    """The request is right in itself, but not in the present state of things."""

    reason = "PRECONDITION_FAILED"


class LimitExceeded(LongshoreError):
    """Larger or more than is allowed."""

    reason = "LIMIT_EXCEEDED"


class Unimplemented(LongshoreError):
    """Known to AWS Batch, not supported by this service."""

    reason = "UNIMPLEMENTED"


class Unavailable(LongshoreError):
    """The service is away or stopping; the same call may succeed later."""

    reason = "UNAVAILABLE"


class Timeout(LongshoreError):
    """No answer, or not the awaited state, within the given time."""

    reason = "TIMEOUT"


class InternalError(LongshoreError):
    """The service failed; its log has the details."""

    reason = "INTERNAL"


_REASONED: tuple[type[LongshoreError], ...] = (
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    LimitExceeded,
    Unimplemented,
    Unavailable,
    InternalError,
)
#: Reasons of the services' parts among themselves are told as what they mean for a caller.
_BY_REASON = {cls.reason: cls for cls in _REASONED} | {
    "STALE_LEASE": Unavailable,
    "OUT_OF_RANGE": InvalidRequest,
}

_BY_CODE: dict[StatusCode, type[LongshoreError]] = {
    StatusCode.INVALID_ARGUMENT: InvalidRequest,
    StatusCode.OUT_OF_RANGE: InvalidRequest,
    StatusCode.NOT_FOUND: NotFound,
    StatusCode.ALREADY_EXISTS: PreconditionFailed,
    StatusCode.FAILED_PRECONDITION: PreconditionFailed,
    StatusCode.RESOURCE_EXHAUSTED: LimitExceeded,
    StatusCode.UNIMPLEMENTED: Unimplemented,
    StatusCode.UNAVAILABLE: Unavailable,
    StatusCode.ABORTED: Unavailable,
    StatusCode.DEADLINE_EXCEEDED: Timeout,
}


def error_info(error: AioRpcError) -> error_details_pb2.ErrorInfo | None:
    """The service's own word on why it refused; None when the refusal is not the service's."""
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type] # has what is asked of it
    except ValueError:  # a proxy's details that contradict the status
        return None
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status is not None else ():
        if detail.Unpack(info) and info.domain == DOMAIN:
            return info
    return None


def from_rpc_error(error: AioRpcError) -> LongshoreError:
    """The typed error of a failed call."""
    message = error.details() or error.code().name
    info = error_info(error)
    if info is not None and info.reason in _BY_REASON:
        return _BY_REASON[info.reason](message, **dict(info.metadata))
    return _BY_CODE.get(error.code(), InternalError)(message)
