"""Leases of scheduling domains: who may decide, proven by a token in each transaction."""

from longshore.domain.errors import StaleLease
from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("lease")

#: Domains of those who lead one at a time whatever there is to schedule.
SCALER = "scaler"
PROVISIONING = "provisioning"
#: How long a silent holder keeps one of these, in seconds.
SERVICE_SECONDS = 30.0


async def acquire(conn: Connection, domain: str, holder: str, seconds: float) -> int | None:
    """Takes the domain and returns the new token; None while another holder has it."""
    token: int | None = await conn.fetchval(_SQL["acquire"], domain, holder, seconds)
    return token


async def renew(conn: Connection, domain: str, token: int, seconds: float) -> None:
    """Prolongs the lease from now.

    Raises:
        StaleLease: another holder took the domain.
    """
    if await conn.fetchval(_SQL["renew"], domain, token, seconds) is None:
        raise StaleLease(f"The lease of domain {domain!r} went to another holder.")


async def release(conn: Connection, domain: str, token: int) -> None:
    """Gives the domain back at once."""
    await conn.execute(_SQL["release"], domain, token)


async def check(conn: Connection, domain: str, token: int) -> None:
    """Makes sure, until the transaction ends, that the domain is still held.

    Raises:
        StaleLease: it lapsed or went to another holder.
    """
    if await conn.fetchval(_SQL["check"], domain, token) is None:
        raise StaleLease(f"The lease of domain {domain!r} is no longer held.")
