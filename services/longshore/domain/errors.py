"""Every error that a caller may be told of.

    LongshoreError
    ├── InvalidRequest          a member of the request is wrong; nothing was changed
    ├── NotFound                what the request names does not exist
    ├── PreconditionFailed      right in itself, but not in the present state of things
    ├── LimitExceeded           larger or more than is allowed
    ├── Throttled               more calls than one caller may make in this time
    ├── Unauthenticated         nobody knows who calls: no key, or a wrong one
    ├── PermissionDenied        it is known who calls, and he may not do this
    ├── OutOfRange              a position lies past the end of what there is
    ├── Unimplemented           known to AWS Batch, not supported here
    ├── Unavailable             try again: a part is away or stopping
    └── StaleLease              the holder lost its lease; its change was not applied

One table in `longshore.rpc.errors` turns these classes into gRPC codes and back.
"""


class LongshoreError(Exception):
    """Base of all errors; `reason` is constant for programs, the message is for people."""

    reason = "INTERNAL"

    def __init__(self, message: str, **fields: str) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields


class InvalidRequest(LongshoreError):
    """A member of the request is wrong.

    `member` is its path, as in `containerOverrides.command`.
    """

    reason = "INVALID_REQUEST"

    def __init__(self, message: str, *, member: str = "", **fields: str) -> None:
        if member:
            fields["member"] = member
        super().__init__(message, **fields)
        self.member = member


class NotFound(LongshoreError):
    """What the request names does not exist."""

    reason = "NOT_FOUND"


class PreconditionFailed(LongshoreError):
    """The request is right in itself, but not in the present state of things."""

    reason = "PRECONDITION_FAILED"


class LimitExceeded(LongshoreError):
    """Larger or more than is allowed."""

    reason = "LIMIT_EXCEEDED"


class Throttled(LongshoreError):
    """More calls than one caller may make in this time; the same call succeeds later."""

    reason = "THROTTLED"


class Unauthenticated(LongshoreError):
    """Nobody knows who calls: no key, or one that is wrong, unknown, expired or disabled."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(LongshoreError):
    """It is known who calls, and no policy lets him do this, or one forbids it."""

    reason = "PERMISSION_DENIED"


class OutOfRange(LongshoreError):
    """A position lies past the end of what there is."""

    reason = "OUT_OF_RANGE"


class Unimplemented(LongshoreError):
    """Known to AWS Batch, not supported here: refused rather than ignored."""

    reason = "UNIMPLEMENTED"


class Unavailable(LongshoreError):
    """A part that is needed is away or stopping; the same call may succeed later."""

    reason = "UNAVAILABLE"


class StaleLease(LongshoreError):
    """The lease went to another holder; the change was not applied."""

    reason = "STALE_LEASE"
