"""Tags of resources, read and written under a lock on the resource."""

import uuid
from dataclasses import dataclass
from typing import Any

from longshore.state.pool import Connection
from longshore.state.queries import load_history_queries

#: A job may be history.
_SQL = load_history_queries("tag")


@dataclass(frozen=True, slots=True)
class Tagged:
    """A resource that has tags: its kind as the queries name it, and its key."""

    kind: str
    key: tuple[Any, ...]

    @classmethod
    def environment(cls, name: str) -> "Tagged":
        """A compute environment."""
        return cls("environment", (name,))

    @property
    def is_environment(self) -> bool:
        """Whether it is a compute environment."""
        return self.kind == "environment"

    @classmethod
    def queue(cls, name: str) -> "Tagged":
        """A job queue."""
        return cls("queue", (name,))

    @classmethod
    def policy(cls, name: str) -> "Tagged":
        """A scheduling policy."""
        return cls("policy", (name,))

    @classmethod
    def consumable(cls, name: str) -> "Tagged":
        """A consumable resource."""
        return cls("consumable", (name,))

    @classmethod
    def definition(cls, name: str, revision: int) -> "Tagged":
        """A revision of a job definition."""
        return cls("definition", (name, revision))

    @classmethod
    def job(cls, job_id: uuid.UUID) -> "Tagged":
        """A single job or an array parent."""
        return cls("job", (job_id,))


async def lock_tags(conn: Connection, resource: Tagged) -> dict[str, str] | None:
    """A resource's tags, held still until the transaction ends; None without the resource."""
    tags: dict[str, str] | None = await conn.fetchval(
        _SQL[f"lock_{resource.kind}_tags"], *resource.key
    )
    return tags


async def write_tags(conn: Connection, resource: Tagged, tags: dict[str, str]) -> None:
    """Replaces a resource's tags."""
    await conn.execute(_SQL[f"write_{resource.kind}_tags"], tags, *resource.key)
