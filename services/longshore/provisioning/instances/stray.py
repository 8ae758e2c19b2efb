"""What the provider has and nobody asks for, and what instances left behind."""

import asyncio
from collections.abc import Collection
from datetime import datetime, timedelta

import structlog

from longshore.provisioning.instances.giving import CLEANERS, TERMINATE_SECONDS
from longshore.provisioning.instances.watch import ReconcilePass
from longshore.provisioning.provider import Provider

log = structlog.get_logger()

#: How long after a try to clean up the next one comes, for what could not be cleaned up.
CLEAN_AGAIN = timedelta(seconds=60)


class Strays:
    """Ends instances that are over on record, or were never on record, and cleans up."""

    def __init__(self, provider: Provider, grace: timedelta) -> None:
        self._provider = provider
        self._grace = grace
        #: Since when each stray is known.
        self._known: dict[str, datetime] = {}
        self._cleaned_at: datetime | None = None

    async def end(self, strays: Collection[str], current: ReconcilePass) -> None:
        """Asks strays to end when they are new, and makes them end after a grace time."""
        gone = self._known.keys() - set(strays)
        for instance_id in gone:
            await self._provider.clean(instance_id)
            del self._known[instance_id]
        new = sorted(set(strays) - self._known.keys())
        late = [key for key, since in self._known.items() if current.now - since >= self._grace]
        for ids, force in ((new, False), (late, True)):
            if not ids:
                continue
            log.warning("instances.stray", instance_ids=ids, force=force)
            with current.asking("terminate"):
                async with asyncio.timeout(TERMINATE_SECONDS):
                    await self._provider.terminate(ids, force=force)
                self._known.update(dict.fromkeys(ids, current.now))
        current.due += [since + self._grace for since in self._known.values()]

    async def clean_again(self, present: Collection[str], now: datetime) -> None:
        """Tries again to clean up after some of the instances where that did not work."""
        if self._cleaned_at is not None and now - self._cleaned_at < CLEAN_AGAIN:
            return
        gone = [key for key in await self._provider.remains() if key not in present]
        if not gone:
            return
        self._cleaned_at = now
        log.info("instances.cleaning_again", count=len(gone))
        await asyncio.gather(*map(self._provider.clean, gone[:CLEANERS]))
