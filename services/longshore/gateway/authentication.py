"""Who sends a request: the key whose signature it has.

What a signature is checked with is asked of submission, once for a key, a day, a region and a
service, and kept for a short time; the secret itself never gets here. Whom the signature shows is
told to the service behind by a token that only services can make.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from longshore.admission.asked import Asking
from longshore.domain.access import signature
from longshore.domain.access.bucket import Buckets
from longshore.domain.access.key import EXPIRED_KEY, is_key_id
from longshore.domain.access.principal import Principal
from longshore.domain.access.signature import EXPIRED, UNKNOWN, WRONG, Request, Scope, Signed
from longshore.domain.errors import Unauthenticated
from longshore.rpc.assertion import Asserted, Assertions
from longshore.rpc.kept import Kept
from longshore.rpc.users import FAILURES, slow_down


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request claims, before its body is there."""

    request: Request
    signed: Signed
    key: bytes
    address: str


class Authentication:
    """Checks the signatures of requests."""

    def __init__(
        self,
        asking: Asking,
        assertions: Assertions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Checks with what submission says."""
        self._clock = clock
        #: Of wrong signatures, by address and key.
        self._failures: Buckets[tuple[str, str]] = Buckets(FAILURES)
        self._signers: Kept[Scope, tuple[Principal, bytes]] = Kept(asking.signer)
        self._assertions = assertions

    def forget(self) -> None:
        """Forgets what was asked: something has changed."""
        self._signers.forget()

    async def begin(self, request: web.Request, service: str) -> Claim:
        """Reads what a request claims, and finds what it is checked with.

        Args:
            request: its body is not read.
            service: whose operation it asks for, as in `batch`.

        Raises:
            Unauthenticated: it has no signature, or one of no key that may be used.
            Unavailable: submission does not answer.
        """
        path, _, query = request.raw_path.partition("?")
        headers: dict[str, list[str]] = {}
        for name, value in request.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        read = Request(request.method, path, query, headers)
        signed = signature.read(read)
        now = datetime.now(UTC)
        signature.check_time(signed, now)
        scope = signed.scope
        if scope.service != service:
            raise Unauthenticated(
                f"Credential should be scoped to correct service: '{service}'.", code=WRONG
            )
        found = await self._signers.find(scope) if is_key_id(scope.key_id) else None
        if found is None:
            raise _unknown()
        principal, key = found
        why = principal.key.state.why_not(now)
        if why == EXPIRED_KEY:
            raise Unauthenticated(
                "The security token included in the request is expired", code=EXPIRED
            )
        if why is not None:
            raise _unknown()
        return Claim(read, signed, key, request.remote or "")

    def finish(self, claim: Claim, body: bytes, rpc: str) -> tuple[str, str]:
        """Checks the signature itself; metadata that says whose it is, for one rpc.

        Raises:
            Unauthenticated: it is wrong.
            Throttled: too many were wrong of late.
        """
        payload = signature.check_payload(claim.request, body)
        guess = claim.address, claim.signed.scope.key_id
        if wait := self._failures.wait(guess, self._clock()):
            raise slow_down(wait)
        try:
            signature.verify(claim.signed, claim.request, payload, claim.key)
        except Unauthenticated:
            self._failures.take(guess, self._clock())
            raise
        asserted = Asserted(claim.signed.scope.key_id, claim.address)
        return ("authorization", f"Bearer {self._assertions.make(asserted, rpc)}")


def _unknown() -> Unauthenticated:
    return Unauthenticated("The security token included in the request is invalid.", code=UNKNOWN)
