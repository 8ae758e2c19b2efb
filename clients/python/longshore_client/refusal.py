"""Errors of refused calls.

A refused call carries a `google.rpc.ErrorInfo` whose reason names the class; where a proxy or an
older service sends none, the gRPC status code does.
"""

from google.rpc import error_details_pb2
from grpc import StatusCode
from grpc.aio import AioRpcError
from grpc_status import rpc_status

from longshore.contract import ERROR_DOMAIN
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

_REASONED: tuple[type[LongshoreError], ...] = (
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    LimitExceeded,
    Throttled,
    Unauthenticated,
    PermissionDenied,
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
    StatusCode.UNAUTHENTICATED: Unauthenticated,
    StatusCode.PERMISSION_DENIED: PermissionDenied,
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
        if detail.Unpack(info) and info.domain == ERROR_DOMAIN:
            return info
    return None


def from_rpc_error(error: AioRpcError) -> LongshoreError:
    """The typed error of a failed call."""
    message = error.details() or error.code().name
    info = error_info(error)
    if info is not None and info.reason in _BY_REASON:
        return _BY_REASON[info.reason](message, **dict(info.metadata))
    return _BY_CODE.get(error.code(), InternalError)(message)
