"""Takes machines in: tokens, and certificates for those that have one."""

import asyncio
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from longshore.domain.errors import (
    InvalidRequest,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    Unauthenticated,
    Unavailable,
)
from longshore.domain.instance import is_instance_id
from longshore.identity.authority import Authority
from longshore.identity.name import AgentName
from longshore.identity.request import key_digest, requested_key
from longshore.identity.token import JoinToken
from longshore.state.pool import Connection, Pool, connection, transaction
from longshore.state.provisioning import joining as records
from longshore.state.provisioning.joining import Spent, TokenRecord

log = structlog.get_logger()

USES_MAX = 1_000
LIFE = timedelta(hours=1)
LIFE_LEAST = timedelta(minutes=1)
LIFE_MOST = timedelta(days=30)
#: How long an instance that was just ordered has to join.
PROVIDED_LIFE = timedelta(minutes=15)
#: The same for machines, which boot and install an agent first.
ORDERED_LIFE = timedelta(hours=1)
TOKENS_MAX = 1_000
_OVER = ("TERMINATED", "FAILED")


@dataclass(frozen=True, slots=True)
class Joined:
    """What a machine is told that was taken in."""

    instance_id: str
    compute_environment: str
    certificates: bytes
    trusted: bytes


class Joining:
    """Tokens and certificates of agents."""

    def __init__(self, pool: Pool, tls_directory: Path) -> None:
        self._pool = pool
        self._directory = tls_directory

    async def create(self, environment: str, uses: int, life: timedelta) -> tuple[str, TokenRecord]:
        """Makes a token for machines that join an environment by themselves.

        Raises:
            InvalidRequest: a number is out of range.
            NotFound: there is no such environment.
            PreconditionFailed: its instances are ordered.
        """
        if not 1 <= uses <= USES_MAX:
            raise InvalidRequest(f"uses is {uses}; it must be 1 to {USES_MAX}.", member="uses")
        if not LIFE_LEAST <= life <= LIFE_MOST:
            raise InvalidRequest("ttl must be from a minute to 30 days.", member="ttl")
        async with connection(self._pool) as conn:
            kind = await records.environment_type(conn, environment)
        if kind is None:
            raise NotFound(f"Compute environment {environment} does not exist; create it first.")
        if kind == "MANAGED":
            raise PreconditionFailed(
                f"Compute environment {environment} is MANAGED: its instances are ordered, and "
                "given tokens of their own. Machines join UNMANAGED ones."
            )
        return await self._create(Spent(environment, None, is_provided=False), uses, life)

    async def provide(self, environment: str, instance_id: str | None, uses: int = 1) -> str:
        """A token for instances that a provider launches; of one alone if it is named."""
        spent = Spent(environment, instance_id, is_provided=True)
        token, _ = await self._create(spent, uses, PROVIDED_LIFE)
        return token

    async def provide_for(self, order_id: uuid.UUID, environment: str, uses: int) -> str:
        """The token of an order: for as many of its instances, and the same when asked again."""
        authority = await asyncio.to_thread(Authority, self._directory)
        secret = authority.derived(f"order {order_id}")
        token = JoinToken(order_id.hex[:16], secret, authority.fingerprint)
        spent = Spent(environment, None, is_provided=True)
        async with connection(self._pool) as conn:
            await records.create(
                conn, token.token_id, token.digest, spent, uses=uses, life=ORDERED_LIFE
            )
        return token.text

    async def _create(self, spent: Spent, uses: int, life: timedelta) -> tuple[str, TokenRecord]:
        authority = await asyncio.to_thread(Authority, self._directory)
        token = JoinToken.new(authority.fingerprint)
        async with connection(self._pool) as conn:
            made = await records.create(
                conn, token.token_id, token.digest, spent, uses=uses, life=life
            )
        return token.text, made

    async def tokens(self, environment: str) -> Sequence[TokenRecord]:
        """Tokens of users that may be used still."""
        async with connection(self._pool) as conn:
            return await records.tokens(conn, environment, TOKENS_MAX)

    async def delete(self, token_id: str) -> None:
        """Makes a token good for nothing more.

        Raises:
            NotFound: there is none.
        """
        async with connection(self._pool) as conn:
            if not await records.delete(conn, token_id):
                raise NotFound(f"No join token {token_id[:64]} is known.")

    async def join(self, text: str, request: bytes, wanted: str) -> Joined:
        """Takes a machine in.

        Args:
            text: its token.
            request: to be signed.
            wanted: the instance that it says to be.

        Raises:
            InvalidRequest: the request cannot be read.
            Unauthenticated: the token is good for nothing.
            PermissionDenied: it is not for that instance, or another machine has joined as it.
            Unavailable: the instance is not on record yet.
        """
        key = requested_key(request)
        digest = key_digest(key)
        token = JoinToken.read(text)
        if token is None:
            raise Unauthenticated("This is no join token.")
        async with transaction(self._pool) as conn:
            known = await records.joined(conn, token.token_id, token.digest, digest)
            if known is not None:
                instance_id, environment = known
            else:
                spent = await records.spend(conn, token.token_id, token.digest)
                if spent is None:
                    raise Unauthenticated("The join token is not known, used up, or over.")
                environment = spent.compute_environment
                instance_id = await _instance_of(conn, spent, wanted, digest)
                if not await records.record(conn, instance_id, spent, token.token_id, digest):
                    raise PermissionDenied(f"Another machine has joined as {instance_id}.")
        log.info("instance.joined", instance_id=instance_id, token_id=token.token_id)
        authority = await asyncio.to_thread(Authority, self._directory)
        name = AgentName(authority.stack, environment, instance_id)
        return Joined(
            instance_id, environment, authority.issue_agent(key, name), authority.trusted_pem()
        )

    async def renew(self, instance_id: str, request: bytes) -> tuple[bytes, bytes]:
        """A new certificate of an instance, and those that are trusted.

        Raises:
            InvalidRequest: the request cannot be read.
            PermissionDenied: the instance is over, or joined with another key.
        """
        key = requested_key(request)
        async with connection(self._pool) as conn:
            environment = await records.renew(conn, instance_id, key_digest(key))
        if environment is None:
            raise PermissionDenied(
                f"Instance {instance_id[:64]} is over, or has not joined with this key; join anew, "
                "with a new token."
            )
        authority = await asyncio.to_thread(Authority, self._directory)
        name = AgentName(authority.stack, environment, instance_id)
        return authority.issue_agent(key, name), authority.trusted_pem()


async def _instance_of(conn: Connection, spent: Spent, wanted: str, key_digest: bytes) -> str:
    """Which instance it is that a token lets somebody be."""
    if not spent.is_provided:
        # One that has joined before stays who it was, as it shows by its key.
        environment = spent.compute_environment
        is_back = await records.holds(conn, wanted, environment, key_digest)
        return wanted if is_back else f"i-{secrets.token_hex(9)[:17]}"
    if spent.instance_id is not None:
        return spent.instance_id
    if not is_instance_id(wanted):
        raise InvalidRequest("instanceId is no instance's id.", member="instanceId")
    status = await records.status(conn, wanted, spent.compute_environment)
    if status is None:
        raise Unavailable(f"Instance {wanted} is not on record yet; try again.")
    if status in _OVER:
        raise PermissionDenied(f"Instance {wanted} is over.")
    return wanted
