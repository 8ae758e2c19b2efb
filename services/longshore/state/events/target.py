"""Targets of rules as the event service keeps them."""

from collections.abc import Sequence

from longshore.domain.events.target import Target
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("event_target")


async def put_targets(conn: Connection, bus: str, rule: str, targets: Sequence[Target]) -> None:
    """Adds targets to a rule, or replaces those of the same ids."""
    await conn.executemany(
        _SQL["put_target"],
        [(bus, rule, one.target_id, one.kind, one.arn, one.given) for one in targets],
    )


async def target_ids(conn: Connection, bus: str, rule: str) -> set[str]:
    """The ids of a rule's targets."""
    return {row["target_id"] for row in await conn.fetch(_SQL["target_ids"], bus, rule)}


async def remove_targets(conn: Connection, bus: str, rule: str, ids: Sequence[str]) -> set[str]:
    """Removes targets of a rule; returns the ids of those that were there."""
    rows = await conn.fetch(_SQL["remove_targets"], bus, rule, ids)
    return {row["target_id"] for row in rows}


async def list_targets(
    conn: Connection, bus: str, rule: str, *, after: str, limit: int
) -> list[Target]:
    """Targets of a rule after an id, in order."""
    rows = await conn.fetch(_SQL["list_targets"], bus, rule, after, limit)
    return [Target(row["target_id"], row["kind"], row["arn"], row["target"]) for row in rows]


async def rules_of_target(
    conn: Connection, bus: str, arn: str, *, after: str, limit: int
) -> list[str]:
    """Names of the rules of a bus that have a target, after a name, in order."""
    rows = await conn.fetch(_SQL["rules_of_target"], bus, arn, after, limit)
    return [row["rule"] for row in rows]
