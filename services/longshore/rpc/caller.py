"""What the metadata of a call says of its caller."""

import functools
from typing import Any

import grpc

from longshore.domain.arn import REGION, Arns
from longshore.domain.errors import InvalidRequest

#: Metadata: region for ARNs in answers.
REGION_KEY = "x-longshore-region"


def arns_for(context: grpc.aio.ServicerContext[Any, Any], own: Arns) -> Arns:
    """ARNs for the caller of a call: the installation's, with the region that the caller wants.

    Raises:
        InvalidRequest: that is no region.
    """
    region = metadata(context, REGION_KEY)
    return own if region is None else _arns(own.account, region)


@functools.lru_cache(maxsize=256)
def _arns(account: str, region: str) -> Arns:
    if REGION.fullmatch(region) is None:
        raise InvalidRequest(f"{REGION_KEY} is no region.", member=REGION_KEY)
    return Arns(account, region)


def metadata(context: grpc.aio.ServicerContext[Any, Any], wanted: str) -> str | None:
    """A text of the metadata; None if it is not there."""
    for key, value in context.invocation_metadata() or ():
        if key == wanted and isinstance(value, str):
            return value
    return None
