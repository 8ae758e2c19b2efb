"""What the provider said of its pools: prices and depths."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from longshore.state.pool import Connection
from longshore.state.queries import load_queries

_SQL = load_queries("offer")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOffer:
    """A pool of a provider. See `longshore.domain.scaling.capacity.Offer`."""

    instance_type: str
    zone: str
    purchase_option: str
    price_per_hour: float
    depth: float


async def instance_types(conn: Connection) -> list[str]:
    """The names in `instanceTypes` of all managed compute environments."""
    return [row["name"] for row in await conn.fetch(_SQL["instance_types"])]


async def store(
    conn: Connection,
    provider: str,
    kinds: Sequence[str],
    offers: Sequence[StoredOffer],
    now: datetime | None = None,
) -> int:
    """Keeps what a provider says of the pools of types, and forgets what it does not say any more.

    Args:
        conn: a connection in a transaction.
        provider: who said it.
        kinds: the types that it was asked for.
        offers: what it said.
        now: the time.

    Returns:
        How many pools are new, changed or gone.
    """
    types = [offer.instance_type for offer in offers]
    zones = [offer.zone for offer in offers]
    options = [offer.purchase_option for offer in offers]
    prices = [offer.price_per_hour for offer in offers]
    depths = [offer.depth for offer in offers]
    changed = await conn.fetch(_SQL["store"], provider, types, zones, options, prices, depths, now)
    gone = await conn.fetch(_SQL["remove_others"], provider, list(kinds), types, zones, options)
    return len(changed) + len(gone)
