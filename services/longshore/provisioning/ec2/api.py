"""The AWS services that the provider calls, as its settings say."""

import contextlib
from collections.abc import AsyncIterator

from longshore.provisioning.ec2.config import Ec2Config
from longshore.runtime import aws
from longshore.runtime.aws import Api, RefusedByAws, chunks

__all__ = ["Api", "RefusedByAws", "chunks", "open_api"]


@contextlib.asynccontextmanager
async def open_api(
    service: str, config: Ec2Config, *, region: str | None = None
) -> AsyncIterator[Api]:
    """An AWS service.

    Args:
        service: its name, as in `ec2`.
        config: region, endpoint and patience.
        region: instead of the setting's.
    """
    async with aws.open_api(
        service,
        region=region or config.region,
        endpoint_url=config.endpoint_url,
        call_seconds=config.call_seconds,
    ) as api:
        yield api
