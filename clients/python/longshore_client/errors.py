"""Every error that a call may raise.

    LongshoreError
    ├── InvalidRequest          a member of the request is wrong; nothing was changed
    ├── NotFound                what the request names does not exist
    ├── PreconditionFailed      right in itself, but not in the present state of things
    ├── LimitExceeded           larger or more than is allowed
    ├── Throttled               more calls than one key may make in this time
    ├── Unauthenticated         no access key, or a wrong one
    ├── PermissionDenied        no policy allows it, or one forbids it
    ├── Unimplemented           known to AWS Batch, not supported by this service
    ├── Unavailable             the service is away or stopping, and stayed so until the deadline
    ├── Timeout                 the service did not answer, or the jobs did not end, in time
    └── InternalError           the service failed; its log has the details

Nothing is imported here: a program that only names the errors does not load gRPC for it.
"""


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


class Throttled(LongshoreError):
    """More calls than one key may make in this time; the same call succeeds later."""

    reason = "THROTTLED"


class Unauthenticated(LongshoreError):
    """There is no access key, or one that is unknown, wrong, disabled or over."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(LongshoreError):
    """It is known who calls, and no policy allows this, or one forbids it."""

    reason = "PERMISSION_DENIED"


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
