"""Deliveries, each a row until it is answered or given up, and dead letters."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from longshore.domain.checks import Json
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("event_delivery")
#: After every dead letter.
_BEYOND = 2**63 - 1


class Lane(NamedTuple):
    """A target of a rule: what is for one never waits for what is for another."""

    bus: str
    rule: str
    target: str


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """An event for a target."""

    lane: Lane
    event_id: uuid.UUID
    event: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is to be delivered now."""

    delivery_id: int
    event_id: uuid.UUID
    #: JSON, before the target's transformation.
    event: str
    created_at: datetime
    tries: int
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Again:
    """What is tried again."""

    delivery_id: int
    seconds: float
    tries: int
    error: str


@dataclass(frozen=True, slots=True)
class GivenUp:
    """What is not tried any more."""

    delivery_id: int
    condition: str
    error_code: str
    error: str
    tries: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What was given up."""

    letter_id: int
    bus: str
    rule: str
    target: str
    event_id: uuid.UUID
    event: str
    condition: str
    error_code: str
    error: str
    tries: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An API destination with its connection."""

    name: str
    url: str
    http_method: str
    rate_limit: int
    is_active: bool
    authorization_type: str
    parameters: Json
    #: Encrypted.
    secret: bytes


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """A target as it is now."""

    kind: str
    arn: str
    #: AWS-shaped, as it was given.
    target: Json
    #: Of an API destination that is there.
    endpoint: Endpoint | None
    #: The queue of the bus for what cannot be delivered.
    dead_letter_arn: str | None


async def add(conn: Connection, deliveries: Sequence[NewDelivery]) -> None:
    """Notes what is to be delivered."""
    if deliveries:
        await conn.execute(
            _SQL["add"],
            [d.lane.bus for d in deliveries],
            [d.lane.rule for d in deliveries],
            [d.lane.target for d in deliveries],
            [d.event_id for d in deliveries],
            [d.event for d in deliveries],
        )


async def lanes(conn: Connection, limit: int) -> dict[Lane, float]:
    """Targets with something to deliver, and in how many seconds the first of it is due."""
    rows = await conn.fetch(_SQL["lanes"], limit)
    return {Lane(row["bus"], row["rule"], row["target"]): row["seconds"] for row in rows}


async def take(conn: Connection, lane: Lane, limit: int, seconds: float) -> list[Delivery]:
    """Takes what is due for a target, for so many seconds; in the order in which it happened."""
    return [Delivery(**row) for row in await conn.fetch(_SQL["take"], *lane, limit, seconds)]


async def take_old(
    conn: Connection, lane: Lane, age: float, limit: int, seconds: float
) -> list[Delivery]:
    """Takes what is due for a target and older than so many seconds."""
    rows = await conn.fetch(_SQL["take_old"], *lane, limit, seconds, age)
    return [Delivery(**row) for row in rows]


async def settle(
    conn: Connection, done: Sequence[int], again: Sequence[Again], given_up: Sequence[GivenUp]
) -> None:
    """Notes what became of deliveries that were taken."""
    if done:
        await conn.execute(_SQL["done"], done)
    if again:
        await conn.execute(
            _SQL["again"],
            [one.delivery_id for one in again],
            [one.seconds for one in again],
            [one.tries for one in again],
            [one.error for one in again],
        )
    if given_up:
        await conn.execute(
            _SQL["give_up"],
            [one.delivery_id for one in given_up],
            [one.condition for one in given_up],
            [one.error_code for one in given_up],
            [one.error for one in given_up],
            [one.tries for one in given_up],
        )


async def letters(
    conn: Connection, bus: str | None, rule: str | None, *, before: int | None, limit: int
) -> list[DeadLetter]:
    """Dead letters, newest first."""
    start = _BEYOND if before is None else before
    rows = await conn.fetch(_SQL["letters"], bus, rule, start, limit)
    return [DeadLetter(**row) for row in rows]


async def resend(conn: Connection, letter_ids: Sequence[int]) -> list[int]:
    """Makes deliveries of dead letters again, as far as they and their targets are there."""
    return [row["letter_id"] for row in await conn.fetch(_SQL["resend"], list(letter_ids))]


async def prune_letters(conn: Connection, before: datetime, limit: int) -> int:
    """Forgets dead letters that are older, so many at most; returns how many."""
    return len(await conn.fetch(_SQL["prune_letters"], before, limit))


async def target(conn: Connection, lane: Lane) -> TargetRecord | None:
    """A target as it is now; None if it is no longer there."""
    row = await conn.fetchrow(_SQL["target"], *lane)
    return None if row is None else _target(row)


async def deactivate(conn: Connection, destination: str) -> None:
    """Takes an API destination out of use whose endpoint says that it is gone for good."""
    await conn.execute(_SQL["deactivate"], destination)


def _target(row: Any) -> TargetRecord:
    endpoint = None
    if row["endpoint"] is not None:
        endpoint = Endpoint(
            name=row["destination"],
            url=row["endpoint"],
            http_method=row["http_method"],
            rate_limit=row["rate_limit"],
            is_active=row["state"] == "ACTIVE",
            authorization_type=row["authorization_type"],
            parameters=row["parameters"],
            secret=row["secret"],
        )
    return TargetRecord(row["kind"], row["arn"], row["target"], endpoint, row["dead_letter_arn"])
