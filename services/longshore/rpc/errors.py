"""The one table between error classes and gRPC status codes.

A refused call carries a `google.rpc.Status` with an `ErrorInfo`: `reason` is the class's constant,
`domain` is `longshore`, `metadata` the error's fields. `to_status` and `from_rpc_error` are each
other's inverse.
"""

from typing import cast

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import StatusCode
from grpc.aio import AioRpcError
from grpc_status import rpc_status

from longshore.contract import ERROR_DOMAIN
from longshore.domain import errors

#: Longest message and longest field told, in bytes of UTF-8. A client refuses trailers beyond
#: 8 KiB, at first by chance: the message goes once percent-encoded (up to three times as long),
#: and once with the fields in base64.
MESSAGE_LIMIT = 1_000
FIELD_LIMIT = 250

_CODES: dict[type[errors.LongshoreError], StatusCode] = {
    errors.InvalidRequest: StatusCode.INVALID_ARGUMENT,
    errors.LimitExceeded: StatusCode.RESOURCE_EXHAUSTED,
    errors.NotFound: StatusCode.NOT_FOUND,
    errors.OutOfRange: StatusCode.OUT_OF_RANGE,
    errors.PermissionDenied: StatusCode.PERMISSION_DENIED,
    errors.PreconditionFailed: StatusCode.FAILED_PRECONDITION,
    errors.StaleLease: StatusCode.ABORTED,
    errors.Throttled: StatusCode.RESOURCE_EXHAUSTED,
    errors.Unauthenticated: StatusCode.UNAUTHENTICATED,
    errors.Unavailable: StatusCode.UNAVAILABLE,
    errors.Unimplemented: StatusCode.UNIMPLEMENTED,
}
_CLASSES: dict[str, type[errors.LongshoreError]] = {cls.reason: cls for cls in _CODES}


def code_of(error: errors.LongshoreError) -> StatusCode:
    """The gRPC code of an error; INTERNAL for a class without one."""
    for cls in type(error).__mro__:
        if cls in _CODES:
            return _CODES[cls]
    return StatusCode.INTERNAL


def to_status(error: errors.LongshoreError) -> status_pb2.Status:
    """The rich status of an error."""
    fields = {name: _clip(value, FIELD_LIMIT) for name, value in error.fields.items()}
    detail = any_pb2.Any()
    detail.Pack(
        error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=fields)
    )
    details = [detail]
    if isinstance(error, errors.Throttled):
        retry = any_pb2.Any()
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(float(error.fields.get("retry_after", "1")) * 1e9))
        retry.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        details.append(retry)
    code = code_pb2.Code.Value(code_of(error).name)
    return status_pb2.Status(
        code=code, message=_clip(error.message, MESSAGE_LIMIT), details=details
    )


def _clip(text: str, limit: int) -> str:
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    return encoded[: limit - len("…".encode())].decode(errors="ignore") + "…"


def from_rpc_error(error: AioRpcError) -> errors.LongshoreError:
    """The error that a peer was told of; Unavailable when the peer could not be reached in time."""
    message = error.details() or error.code().name
    # An AioRpcError has what from_call reads of a Call.
    status = rpc_status.from_call(cast("grpc.Call", error))
    if status is not None:
        info = error_details_pb2.ErrorInfo()
        for detail in status.details:
            if detail.Unpack(info) and info.domain == ERROR_DOMAIN and info.reason in _CLASSES:
                return _CLASSES[info.reason](message, **dict(info.metadata))
    if error.code() in (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED):
        return errors.Unavailable(message)
    for cls, code in _CODES.items():
        if code is error.code():
            return cls(message)
    return errors.LongshoreError(message)
