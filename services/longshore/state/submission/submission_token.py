"""Tokens of submissions: which job each has made."""

import uuid
from collections.abc import Mapping, Sequence

from longshore.domain.request.submission import Token, UsedToken
from longshore.state.pool import Connection, savepoint
from longshore.state.queries import load_queries

_SQL = load_queries("submission_token")
#: How long another transaction may take that takes the same token: storing jobs takes a part of it.
WAIT_SECONDS = 2.0


async def find(
    conn: Connection, tokens: Sequence[str], kept_seconds: float
) -> dict[str, UsedToken]:
    """What tokens were used for lately; unused ones are left out."""
    rows = await conn.fetch(_SQL["find_tokens"], tokens, kept_seconds)
    return {row["token"]: UsedToken(row["request"], row["job_id"]) for row in rows}


async def claim(
    conn: Connection, wanted: Mapping[Token, uuid.UUID], kept_seconds: float
) -> dict[str, UsedToken]:
    """Takes tokens for jobs about to be stored.

    Returns:
        What those were used for that another transaction has taken meanwhile.

    Raises:
        Unavailable: another transaction that takes one of them goes on for long; none is taken.
    """
    async with savepoint(conn):
        await conn.execute(_SQL["wait_shortly"], f"{int(WAIT_SECONDS * 1000)}ms")
        return await _claim(conn, wanted, kept_seconds)


async def _claim(
    conn: Connection, wanted: Mapping[Token, uuid.UUID], kept_seconds: float
) -> dict[str, UsedToken]:
    ordered = sorted(wanted, key=lambda token: token.text)
    rows = await conn.fetch(
        _SQL["claim_tokens"],
        [token.text for token in ordered],
        [token.request for token in ordered],
        [wanted[token] for token in ordered],
        kept_seconds,
    )
    taken = {row["token"] for row in rows}
    others = [token.text for token in ordered if token.text not in taken]
    return await find(conn, others, kept_seconds) if others else {}


async def prune(conn: Connection, kept_seconds: float, most: int) -> int:
    """Forgets tokens that are over; returns how many."""
    return int(await conn.fetchval(_SQL["prune_tokens"], kept_seconds, most))
