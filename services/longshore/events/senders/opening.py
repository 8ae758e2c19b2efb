"""Secrets of connections, as they are needed for each call: read once, kept in memory."""

import asyncio
from collections import OrderedDict

from longshore.domain.checks import Json
from longshore.domain.errors import PreconditionFailed
from longshore.domain.events.retrying import DeliveryFailed
from longshore.events.sealing import Sealer

#: Secrets that are kept in memory.
KEPT = 1_000


class Openings:
    """Decrypts what connections keep."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._opened: OrderedDict[bytes, Json] = OrderedDict()

    async def open(self, secret: bytes) -> Json:
        """The secret members of a connection, AWS-shaped.

        Raises:
            DeliveryFailed: they cannot be read here.
        """
        known = self._opened.get(secret)
        if known is None:
            try:
                known = await asyncio.to_thread(self._sealer.unseal, secret)
            except PreconditionFailed as error:
                raise DeliveryFailed("UNREADABLE_SECRET", error.message) from None
            self._opened[secret] = known
            while len(self._opened) > KEPT:
                self._opened.popitem(last=False)
        return known
