"""What the metadata of a call says of its caller."""

from typing import Any

import grpc

from longshore.domain.arn import REGION, Arns
from longshore.domain.errors import InvalidRequest

#: The region that the caller wants in ARNs, from its signature.
REGION_KEY = "x-longshore-region"


def arns_for(arns: Arns, context: grpc.aio.ServicerContext[Any, Any]) -> Arns:
    """The installation's ARNs with the region that the caller wants in them.

    Raises:
        InvalidRequest: that is no region.
    """
    region = metadata(context, REGION_KEY)
    if region is None:
        return arns
    if REGION.fullmatch(region) is None:
        raise InvalidRequest(f"{REGION_KEY} is no region.", member=REGION_KEY)
    return Arns(arns.account, region)


def metadata(context: grpc.aio.ServicerContext[Any, Any], wanted: str) -> str | None:
    """A text of the metadata; None if it is not there."""
    for key, value in context.invocation_metadata() or ():
        if key == wanted and isinstance(value, str):
            return value
    return None
