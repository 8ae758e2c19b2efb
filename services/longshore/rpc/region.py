"""The region that a caller wants its ARNs in."""

from typing import Any

import grpc

from longshore.domain.arn import REGION, Arns
from longshore.domain.errors import InvalidRequest

#: Metadata: region for ARNs in answers.
REGION_KEY = "x-longshore-region"


def arns_for(context: grpc.aio.ServicerContext[Any, Any], own: Arns) -> Arns:
    """ARNs for the caller of a call.

    Raises:
        InvalidRequest: what it names is no region.
    """
    for key, region in context.invocation_metadata() or ():
        if key == REGION_KEY:
            if not isinstance(region, str) or REGION.fullmatch(region) is None:
                raise InvalidRequest(f"{REGION_KEY} is no region.", member=REGION_KEY)
            return Arns(own.account, region)
    return own
