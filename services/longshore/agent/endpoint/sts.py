"""Assumes roles at AWS's Security Token Service, or at a store that speaks like it."""

import contextlib
from collections.abc import AsyncIterator

from longshore.agent.endpoint.role import Credentials, RoleRefused
from longshore.domain.errors import Unavailable
from longshore.runtime.aws import Api, RefusedByAws, open_api

#: How long credentials last. A role may allow more, but no role allows less than an hour.
DURATION_SECONDS = 3600
CALL_SECONDS = 10.0


class StsIssuer:
    """Calls AssumeRole with the agent's own credentials."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def issue(self, role: str, session: str) -> Credentials:
        """Assumes a role.

        Raises:
            RoleRefused: it cannot be; in AWS's words, where they are AWS's.
        """
        try:
            answer = await self._api.call(
                "assume_role",
                RoleArn=role,
                RoleSessionName=session,
                DurationSeconds=DURATION_SECONDS,
            )
        except (RefusedByAws, Unavailable) as error:
            raise RoleRefused(_about(role, error.message)) from error
        found = answer["Credentials"]
        return Credentials(
            access_key_id=found["AccessKeyId"],
            secret_access_key=found["SecretAccessKey"],
            token=found["SessionToken"],
            expiration=found["Expiration"],
        )


def _about(role: str, text: str) -> str:
    """AWS names the role in most of its messages; where it does not, it is put before."""
    return text if role in text else f"{role}: {text}"


@contextlib.asynccontextmanager
async def open_sts(region: str, endpoint_url: str) -> AsyncIterator[StsIssuer]:
    """An issuer; the agent's own credentials are found by AWS's chain.

    Args:
        region: whose service is asked.
        endpoint_url: where it is; empty: where AWS has it.
    """
    async with open_api(
        "sts", region=region, endpoint_url=endpoint_url or None, call_seconds=CALL_SECONDS
    ) as api:
        yield StsIssuer(api)
