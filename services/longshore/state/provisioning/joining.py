"""Tokens by which machines join, and who has joined: provisioning's records."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("joining")


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token without its secret."""

    token_id: str
    compute_environment: str
    uses_left: int
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Spent:
    """What a token lets somebody be."""

    compute_environment: str
    #: The instance that it was made for.
    instance_id: str | None
    #: Made by a provider for what it ordered.
    is_provided: bool


async def create(
    conn: Connection,
    token_id: str,
    secret_digest: bytes,
    spent: Spent,
    *,
    uses: int,
    life: timedelta,
) -> TokenRecord:
    """Records a token."""
    [row] = await conn.fetch(
        _SQL["create"],
        token_id,
        secret_digest,
        spent.compute_environment,
        spent.instance_id,
        spent.is_provided,
        uses,
        life,
    )
    return TokenRecord(**row)


async def environment_type(conn: Connection, name: str) -> str | None:
    """MANAGED or UNMANAGED; None if there is no such environment."""
    found: str | None = await conn.fetchval(_SQL["environment_type"], name)
    return found


async def tokens(conn: Connection, environment: str, limit: int) -> Sequence[TokenRecord]:
    """Tokens of users that may be used still, the newest first."""
    return [TokenRecord(**row) for row in await conn.fetch(_SQL["tokens"], environment, limit)]


async def delete(conn: Connection, token_id: str) -> bool:
    """Deletes a token; False if there was none."""
    return bool(await conn.fetch(_SQL["delete"], token_id))


async def spend(conn: Connection, token_id: str, secret_digest: bytes) -> Spent | None:
    """Uses a token up, once; None if that cannot be."""
    rows = await conn.fetch(_SQL["spend"], token_id, secret_digest)
    return Spent(**rows[0]) if rows else None


async def joined(
    conn: Connection, token_id: str, secret_digest: bytes, key_digest: bytes
) -> tuple[str, str] | None:
    """Instance and environment of who has joined with a token and a key."""
    rows = await conn.fetch(_SQL["joined"], token_id, secret_digest, key_digest)
    return (rows[0]["instance_id"], rows[0]["compute_environment"]) if rows else None


async def record(
    conn: Connection, instance_id: str, spent: Spent, token_id: str, key_digest: bytes
) -> bool:
    """Records that an instance has joined; False if another has, as that one."""
    return bool(
        await conn.fetch(
            _SQL["record"],
            instance_id,
            spent.compute_environment,
            token_id,
            key_digest,
            spent.is_provided,
            spent.instance_id is not None,
        )
    )


async def holds(conn: Connection, instance_id: str, environment: str, key_digest: bytes) -> bool:
    """Whether a machine of an environment has joined by itself with a key."""
    return bool(await conn.fetchval(_SQL["holds"], instance_id, environment, key_digest))


async def status(conn: Connection, instance_id: str, environment: str) -> str | None:
    """That of an instance on record."""
    found: str | None = await conn.fetchval(_SQL["status"], instance_id, environment)
    return found


async def renew(conn: Connection, instance_id: str, key_digest: bytes) -> str | None:
    """Notes a renewal; the environment, or None if the instance is over or is somebody else."""
    found: str | None = await conn.fetchval(_SQL["renew"], instance_id, key_digest)
    return found


async def prune_tokens(conn: Connection, before: datetime, limit: int) -> int:
    """Forgets tokens that were over before a time, so many at most; returns how many."""
    return len(await conn.fetch(_SQL["prune_tokens"], before, limit))


async def prune_identities(conn: Connection, before: datetime, limit: int) -> int:
    """Forgets who has not renewed since a time, so many at most; returns how many."""
    return len(await conn.fetch(_SQL["prune_identities"], before, limit))
