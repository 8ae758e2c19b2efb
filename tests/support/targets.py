"""Rules and targets as the event service keeps them, put in without its API."""

import base64
import json
import uuid
from collections.abc import Callable
from typing import Any

from longshore.domain.checks import Json
from longshore.state.events.delivery import Lane
from longshore.state.pool import Pool, transaction

#: Signs what webhooks get.
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


async def rule(
    pool: Pool, pattern: Json, name: str = "r", *, bus: str = "default", targets: int = 1
) -> None:
    """A rule with some targets."""
    async with transaction(pool) as conn:
        await conn.execute(
            "INSERT INTO event_rules (bus, name, pattern, state) VALUES ($1, $2, $3, 'ENABLED')",
            bus,
            name,
            json.dumps(pattern),
        )
        await conn.executemany(
            "INSERT INTO event_targets (bus, rule, target_id, kind, arn, target) "
            "VALUES ($1, $2, $3, 'sqs', 'arn', '{}')",
            [(bus, name, str(number)) for number in range(targets)],
        )


async def destination(
    pool: Pool,
    url: str,
    name: str = "d",
    *,
    key: str = SECRET,
    rate: int = 1_000,
    authorization: tuple[str, Json, Json] | None = None,
    seal: Callable[[Json], bytes] = lambda secret: json.dumps(secret).encode(),
    **given: Any,
) -> Lane:
    """A rule whose target is an API destination.

    Its connection has an API key, or the given type, parameters, and secrets by their paths.
    """
    ident = uuid.uuid4()
    kind, parameters, secrets = authorization or (
        "API_KEY",
        {"ApiKeyAuthParameters": {"ApiKeyName": "x-key"}},
        {"ApiKeyAuthParameters/ApiKeyValue": key},
    )
    arn = f"arn:aws:events:us-east-1:123456789012:api-destination/{name}/{ident}"
    async with transaction(pool) as conn:
        await conn.execute(
            "INSERT INTO event_connections (name, connection_id, authorization_type, parameters, "
            "secret) VALUES ($1, $2, $3, $4, $5)",
            name,
            uuid.uuid4(),
            kind,
            parameters,
            seal(secrets),
        )
        await conn.execute(
            "INSERT INTO event_api_destinations (name, destination_id, connection, endpoint, "
            "http_method, rate_limit) VALUES ($1, $2, $1, $3, 'POST', $4)",
            name,
            ident,
            url,
            rate,
        )
    return await targeted(pool, "api-destination", arn, name, **given)


async def targeted(pool: Pool, kind: str, arn: str, rule: str = "r", **given: Any) -> Lane:
    """A rule with one target."""
    async with transaction(pool) as conn:
        await conn.execute(
            "INSERT INTO event_rules (bus, name, pattern, state) "
            "VALUES ('default', $1, '{\"source\":[\"s\"]}', 'ENABLED')",
            rule,
        )
        await conn.execute(
            "INSERT INTO event_targets (bus, rule, target_id, kind, arn, target) "
            "VALUES ('default', $1, 't', $2, $3, $4)",
            rule,
            kind,
            arn,
            {"Id": "t", "Arn": arn, **given},
        )
    return Lane("default", rule, "t")
