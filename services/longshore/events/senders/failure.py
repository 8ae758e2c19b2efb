"""What a call of another service that did not go through means for a delivery."""

import grpc

from longshore.domain import errors
from longshore.domain.events.retrying import DeliveryFailed
from longshore.rpc.errors import from_rpc_error

#: What a service says of the call itself: the same call would be refused again.
_REFUSALS = (
    errors.InvalidRequest,
    errors.LimitExceeded,
    errors.NotFound,
    errors.OutOfRange,
    errors.PreconditionFailed,
    errors.Unimplemented,
)


def failure_of(error: grpc.aio.AioRpcError) -> DeliveryFailed:
    """What a failed call means: all but a refusal may pass, also a call that was broken off."""
    said = from_rpc_error(error)
    return DeliveryFailed(said.reason, said.message, again=not isinstance(said, _REFUSALS))
