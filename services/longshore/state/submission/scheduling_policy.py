"""Scheduling policies as submission keeps them."""

from collections.abc import Sequence

from longshore.domain.checks import Json
from longshore.domain.environment import SchedulingPolicy
from longshore.state import listen
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("scheduling_policy")


async def insert_policy(conn: Connection, policy: SchedulingPolicy) -> bool:
    """Stores a policy; False if its name is taken."""
    name = await conn.fetchval(
        _SQL["insert_policy"], policy.name, policy.fairshare, dict(policy.tags)
    )
    return name is not None


async def update_policy(conn: Connection, name: str, fairshare: Json | None) -> bool:
    """Replaces what is given, and wakes who goes by it; False if there is no such policy."""
    if await conn.fetchval(_SQL["update_policy"], name, fairshare) is None:
        return False
    await listen.notify(conn, listen.ENVIRONMENTS)
    return True


async def lock_policy(conn: Connection, name: str) -> bool:
    """Holds a policy still until the transaction ends; False if there is none."""
    return await conn.fetchval(_SQL["lock_policy"], name) is not None


async def keep_policy(conn: Connection, name: str) -> bool:
    """Keeps a policy from being deleted until the transaction ends; False if there is none."""
    return await conn.fetchval(_SQL["keep_policy"], name) is not None


async def queue_of(conn: Connection, name: str) -> str | None:
    """A queue that uses a policy, None if none does."""
    queue: str | None = await conn.fetchval(_SQL["queue_of_policy"], name)
    return queue


async def delete_policy(conn: Connection, name: str) -> None:
    """Deletes a policy that no queue uses."""
    await conn.execute(_SQL["delete_policy"], name)


async def read_policies(conn: Connection, names: Sequence[str]) -> list[SchedulingPolicy]:
    """Policies by name, in order of their names; unknown ones are left out."""
    return [
        SchedulingPolicy(row["name"], row["fairshare"], row["tags"])
        for row in await conn.fetch(_SQL["read_policies"], names)
    ]


async def list_policies(conn: Connection, *, after: str, limit: int) -> list[str]:
    """Names of policies after a name, in order."""
    return [row["name"] for row in await conn.fetch(_SQL["list_policies"], after, limit)]
