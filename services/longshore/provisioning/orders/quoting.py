"""Asks the provider now and then what its pools cost, and how deep they are."""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from longshore.domain.catalogue import Catalogue
from longshore.provisioning.provider import Provider
from longshore.state.leadership import Leadership
from longshore.state.pool import Pool, connection
from longshore.state.provisioning import instance, offer

log = structlog.get_logger()

#: How long a provider may take to quote all of its pools.
QUOTE_SECONDS = 60.0


class Quotes:
    """Keeps the offers of the types that compute environments name."""

    def __init__(
        self,
        pool: Pool,
        leadership: Leadership,
        provider: Provider,
        catalogue: Catalogue,
        interval: timedelta,
    ) -> None:
        """Makes a keeper that has asked for nothing yet.

        Args:
            pool: the database.
            leadership: the lease of provisioning.
            provider: whom to ask.
            catalogue: what names of instance types stand for.
            interval: how old what was said may become while nobody names other types.
        """
        self._pool = pool
        self._leadership = leadership
        self._provider = provider
        self._catalogue = catalogue
        self._interval = interval
        self._asked: frozenset[str] = frozenset()
        self._asked_at: datetime | None = None

    async def tick(self) -> None:
        """Asks if that was long ago, or if types are named that were not before.

        Raises:
            Unavailable: the provider does not answer.
            TimeoutError: the same.
        """
        if not await self._leadership.hold():
            return
        async with connection(self._pool) as conn:
            names = await offer.instance_types(conn)
        kinds = [kind for kind in self._catalogue.resolve(names) if not kind.is_slot]
        wanted = frozenset(kind.name for kind in kinds)
        now = datetime.now(UTC)
        is_fresh = self._asked_at is not None and now - self._asked_at < self._interval
        if not wanted or (is_fresh and wanted <= self._asked):
            return
        async with asyncio.timeout(QUOTE_SECONDS):
            quotes = await self._provider.quote(kinds)
        self._asked, self._asked_at = wanted, now
        offers = [
            offer.StoredOffer(
                instance_type=quote.instance_type,
                zone=quote.zone,
                purchase_option=quote.purchase_option,
                price_per_hour=quote.price_per_hour,
                depth=quote.depth,
            )
            for quote in quotes
        ]
        async with self._leadership.transaction() as conn:
            changed = await offer.store(conn, self._provider.name, sorted(wanted), offers)
            if changed:
                await instance.notify_capacity(conn)
        if changed:
            log.info("offers.changed", provider=self._provider.name, pools=changed)
