"""Assumes roles at AWS's Security Token Service, or at a store that speaks like it."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from longshore.agent.endpoint.role import CONCURRENT, Credentials, RoleRefused

#: How long credentials last. A role may allow more, but no role allows less than an hour.
DURATION_SECONDS = 3600
CALL_SECONDS = 10.0
TRIES = 4


class StsIssuer:
    """Calls AssumeRole with the agent's own credentials."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def issue(self, role: str, session: str) -> Credentials:
        """Assumes a role.

        Raises:
            RoleRefused: it cannot be; in AWS's words, where they are AWS's.
        """
        try:
            answer = await self._client.assume_role(
                RoleArn=role, RoleSessionName=session, DurationSeconds=DURATION_SECONDS
            )
        except ClientError as error:
            detail = error.response.get("Error", {})
            code, message = detail.get("Code") or "Unknown", detail.get("Message") or str(error)
            raise RoleRefused(_about(role, f"{code}: {message}")) from error
        except BotoCoreError as error:
            raise RoleRefused(_about(role, str(error))) from error
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
    settings = AioConfig(
        retries={"total_max_attempts": TRIES, "mode": "standard"},
        connect_timeout=CALL_SECONDS / 2,
        read_timeout=CALL_SECONDS,
        max_pool_connections=CONCURRENT,
        user_agent_extra="longshore",
    )
    async with get_session().create_client(
        "sts", region_name=region, endpoint_url=endpoint_url or None, config=settings
    ) as client:
        yield StsIssuer(client)
