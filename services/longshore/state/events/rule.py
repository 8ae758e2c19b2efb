"""Rules as the event service keeps them."""

from collections.abc import Mapping
from datetime import datetime

from longshore.domain.events.rule import Rule
from longshore.state import listen
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("event_rule")


async def put_rule(conn: Connection, rule: Rule) -> bool:
    """Stores a rule or replaces it but for its tags; False without its bus."""
    name = await conn.fetchval(
        _SQL["put_rule"],
        *(rule.bus, rule.name, rule.pattern, rule.schedule, rule.state),
        *(rule.description, rule.role_arn, dict(rule.tags), rule.due_at),
    )
    await tell(conn)
    return name is not None


async def tell(conn: Connection) -> None:
    """Wakes who matches events when the transaction commits: rules or targets are others now."""
    await listen.notify(conn, listen.EVENT_RULES)


async def lock_rule(conn: Connection, bus: str, name: str) -> Rule | None:
    """A rule, held still until the transaction ends."""
    row = await conn.fetchrow(_SQL["lock_rule"], bus, name)
    return Rule(**row) if row is not None else None


async def read_rule(conn: Connection, bus: str, name: str) -> Rule | None:
    """A rule."""
    row = await conn.fetchrow(_SQL["read_rule"], bus, name)
    return Rule(**row) if row is not None else None


async def list_rules(
    conn: Connection, bus: str, prefix: str, *, after: str, limit: int
) -> list[Rule]:
    """Rules of a bus after a name, in order."""
    rows = await conn.fetch(_SQL["list_rules"], bus, prefix, after, limit)
    return [Rule(**row) for row in rows]


async def count_rules(conn: Connection, bus: str) -> int:
    """How many rules a bus has."""
    return int(await conn.fetchval(_SQL["count_rules"], bus))


async def delete_rule(conn: Connection, bus: str, name: str) -> None:
    """Deletes a rule that has no targets."""
    await conn.execute(_SQL["delete_rule"], bus, name)
    await tell(conn)


async def set_state(
    conn: Connection, bus: str, name: str, state: str, due_at: datetime | None
) -> None:
    """Puts a rule in force or out of it."""
    await conn.execute(_SQL["set_state"], bus, name, state, due_at)
    await tell(conn)


async def write_tags(conn: Connection, bus: str, name: str, tags: Mapping[str, str]) -> None:
    """Replaces a rule's tags."""
    await conn.execute(_SQL["write_rule_tags"], bus, name, dict(tags))


async def bus_exists(conn: Connection, bus: str) -> bool:
    """Whether there is a bus of that name."""
    return bool(await conn.fetchval(_SQL["bus_exists"], bus))


async def has_targets(conn: Connection, bus: str, rule: str) -> bool:
    """Whether a rule has targets."""
    return bool(await conn.fetchval(_SQL["has_targets"], bus, rule))
