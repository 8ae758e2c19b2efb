"""TLS for users on other machines, with a certificate that is replaced from time to time."""

import asyncio
import ssl

import structlog

from longshore.domain.errors import PreconditionFailed
from longshore.identity.material import Identity

log = structlog.get_logger()

#: How often it is looked whether the files were replaced.
LOOK_SECONDS = 30.0


class UserTls:
    """What a listener takes connections with."""

    def __init__(self, identity: Identity) -> None:
        """Reads the files.

        Raises:
            PreconditionFailed: they cannot be read.
        """
        self._identity = identity
        self._stamp = identity.stamp()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load()

    def _load(self) -> None:
        try:
            self.context.load_cert_chain(self._identity.own, self._identity.key)
        except (OSError, ssl.SSLError) as error:
            raise PreconditionFailed(
                f"{self._identity.own} cannot be used as a certificate with its key: {error}."
            ) from None

    async def run(self) -> None:
        """Reads them again whenever they were replaced, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            stamp = self._identity.stamp()
            if stamp == self._stamp:
                continue
            try:
                self._load()
            except PreconditionFailed as error:
                log.warning("certificate.not_taken", error=error.message)
            else:
                self._stamp = stamp
