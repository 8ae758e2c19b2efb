"""Keeps the certificates of all services, and the authority, of one folder."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog

from longshore.domain.errors import LongshoreError, Unavailable
from longshore.identity.authority import Authority

log = structlog.get_logger()

#: How often certificates are looked at. A machine that slept past their end has new ones so soon.
LOOK_SECONDS = 30.0


class Certificates:
    """Makes what is missing and renews what is near its end; services read it without a restart."""

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        """Knows where.

        Args:
            directory: the stack's folder of certificates.
            names: by which users reach services.
        """
        self._directory = directory
        self._names = names

    def renew(self) -> None:
        """Does it once.

        Raises:
            PreconditionFailed: the authority cannot be read.
            Unavailable: the folder cannot be written.
        """
        try:
            renewed = Authority.opened(self._directory).renew(self._names)
        except OSError as error:
            raise Unavailable(
                f"{self._directory}, where certificates are kept, cannot be written: "
                f"{error.strerror}."
            ) from None
        if renewed:
            log.info("certificates.renewed", services=renewed)

    async def run(self) -> None:
        """Does it again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await asyncio.to_thread(self.renew)
            except (LongshoreError, ValueError) as error:
                # The disk is full, or a file is damaged: half their life is left to them.
                log.error("certificates.not_renewed", error=str(error))  # noqa: TRY400 - foreseen
