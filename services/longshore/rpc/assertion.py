"""What the gateway says of callers to the services behind: a token that only services can make.

The gateway has checked a signature; nobody behind it can do so again. So it says whose key it was
in a JSON Web Token, under a key that services share and nobody else has, good for one rpc and for
a minute.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from longshore.domain.errors import Unauthenticated

ISSUER = "longshore-gateway"
#: How long one is good, and for how long the gateway takes one again.
LIFE_SECONDS = 60
REUSE_SECONDS = 30
#: How far the clocks of two machines may differ.
LEEWAY_SECONDS = 10
#: Tokens that are kept.
KEPT = 4096
TOKEN_CHARACTERS = 2048
_ALGORITHMS = ["HS256"]


@dataclass(frozen=True, slots=True)
class Asserted:
    """Who calls, as the gateway has found."""

    key_id: str
    address: str


class Assertions:
    """Makes tokens and reads them."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        """Makes a reader and writer under a key that all services share."""
        self._key = key
        self._clock = clock
        self._encoded = functools.lru_cache(maxsize=KEPT)(self._encode)
        self._decoded = functools.lru_cache(maxsize=KEPT)(self._decode)

    def make(self, asserted: Asserted, method: str) -> str:
        """A token for a call of an rpc, given by its path."""
        return self._encoded(asserted, method, int(self._clock() // REUSE_SECONDS))

    def read(self, token: str, method: str) -> Asserted:
        """Who calls an rpc, given by its path.

        Raises:
            Unauthenticated: the token is wrong, over, or for another rpc.
        """
        asserted, audience, issued, expires = self._decoded(token)
        now = self._clock()
        is_now = issued - LEEWAY_SECONDS <= now < expires + LEEWAY_SECONDS
        if audience != method or not is_now:
            raise Unauthenticated("The token is over, or is for another call.")
        return asserted

    def _encode(self, asserted: Asserted, method: str, period: int) -> str:
        # Loaded where it is needed: it takes longer than most of a service's start.
        from joserfc import jwt  # noqa: PLC0415
        from joserfc.jwk import OctKey  # noqa: PLC0415

        issued = period * REUSE_SECONDS
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "sub": asserted.key_id,
            "aud": method,
            "ip": asserted.address,
            "iat": issued,
            "exp": issued + LIFE_SECONDS,
        }
        return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(self._key), _ALGORITHMS)

    def _decode(self, token: str) -> tuple[Asserted, str, int, int]:
        from joserfc import jwt  # noqa: PLC0415 - as in `_encode`
        from joserfc.errors import JoseError  # noqa: PLC0415
        from joserfc.jwk import OctKey  # noqa: PLC0415

        try:
            if len(token) > TOKEN_CHARACTERS:
                raise ValueError(len(token))  # noqa: TRY301 - as what follows
            found = jwt.decode(token, OctKey.import_key(self._key), _ALGORITHMS).claims
            if found["iss"] != ISSUER:
                raise ValueError(found["iss"])  # noqa: TRY301 - as what comes before
            asserted = Asserted(str(found["sub"]), str(found["ip"]))
            return asserted, str(found["aud"]), int(found["iat"]), int(found["exp"])
        except (JoseError, ValueError, KeyError, TypeError):
            raise Unauthenticated("The token is not one of this stack's.") from None
