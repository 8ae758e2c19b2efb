"""Who calls a service: a user, by an access key or by what the gateway says.

The key itself comes as `authorization: Bearer ID:SECRET`; through the gateway, a token of
`rpc.assertion`. What a key stands for is read once and kept for a short time; whoever changes
users, keys or policies makes all services forget it at once (`forget`).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.message import Message

from longshore.domain.access.bucket import FREELY, Buckets, Pace
from longshore.domain.access.key import EXPIRED_KEY, UNKNOWN_KEY, AccessKey, read_bearer
from longshore.domain.access.principal import Principal
from longshore.domain.access.signature import EXPIRED, MISSING, UNKNOWN
from longshore.domain.arn import Arns
from longshore.domain.audit.record import is_read
from longshore.domain.errors import Throttled, Unauthenticated
from longshore.rpc import permission
from longshore.rpc.access import GATEWAY, Rule
from longshore.rpc.assertion import Assertions
from longshore.rpc.caller import Caller, Kind, metadata
from longshore.rpc.kept import Kept
from longshore.rpc.peer import peer_address

#: Keys whose use is yet to be told.
USED = 10_000


#: Who comes without a certificate, and who comes for others.
_FOR_USERS = (Kind.ANONYMOUS, Kind.SERVICE)


@dataclass(frozen=True, slots=True)
class Paces:
    """How fast one key may call one service."""

    #: Calls that change nothing.
    reads: Pace = FREELY
    writes: Pace = FREELY


PACES = Paces()
#: Calls with a wrong secret, for one key from one address.
FAILURES = Pace(rate=1, burst=10)


def slow_down(seconds: float) -> Throttled:
    """The refusal of a call that comes too soon."""
    return Throttled(
        f"Too many calls with this key; try again in {max(seconds, 0.001):.3f} s.",
        retry_after=f"{max(seconds, 0.001):.3f}",
    )


#: What keys stand for, by their ids.
Principals = Kept[str, Principal]


def check_state(principal: Principal | None, now: datetime) -> Principal:
    """The principal of a key that may be used.

    Raises:
        Unauthenticated: there is no such key, or it is disabled or has expired.
    """
    if principal is None:
        raise Unauthenticated(UNKNOWN_KEY, code=UNKNOWN)
    why = principal.key.state.why_not(now)
    if why is not None:
        raise Unauthenticated(why, code=EXPIRED if why == EXPIRED_KEY else UNKNOWN)
    return principal


class Users:
    """Checks who calls one service."""

    def __init__(
        self,
        principals: Principals,
        assertions: Assertions,
        arns: Arns,
        paces: Paces = PACES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Checks by keys, and by what the gateway says.

        Args:
            principals: what keys stand for.
            assertions: reads what the gateway says.
            arns: of the installation.
            paces: how fast one key may call.
            clock: seconds that never go back.
        """
        self._arns = arns
        self._clock = clock
        self._reads: Buckets[str] = Buckets(paces.reads)
        self._writes: Buckets[str] = Buckets(paces.writes)
        #: Of calls that failed for their secrets, by address and key.
        self._failures: Buckets[tuple[str, str]] = Buckets(FAILURES)
        self._principals = principals
        self._assertions = assertions
        self._used: set[str] = set()
        #: Told as well when something has changed.
        self.on_change: Callable[[], None] | None = None

    def forget(self) -> None:
        """Forgets what is kept of keys: something has changed."""
        self._principals.forget()
        if self.on_change is not None:
            self.on_change()

    def take_used(self) -> list[str]:
        """Ids of the keys that were used since it was last asked."""
        used, self._used = self._used, set()
        return list(used)

    async def admit(
        self,
        caller: Caller,
        rule: Rule,
        method: str,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> Caller:
        """Who makes a call, if that is somebody at all; `permission.current_user` has the rest.

        Args:
            caller: whom the connection's certificate names.
            rule: who may call.
            method: path of the rpc.
            context: of the call.

        Raises:
            Unauthenticated: it is not known who calls.
        """
        if caller.kind not in _FOR_USERS or caller.name in rule.services or rule.anyone:
            return caller
        if caller.kind is Kind.SERVICE and caller.name != GATEWAY:
            return caller
        authorization = metadata(context, "authorization")
        if authorization is None:
            raise Unauthenticated(
                "The call has no access key: send metadata `authorization: Bearer ID:SECRET`.",
                code=MISSING,
            )
        principal, address = await self._principal(
            authorization, method, context, is_gateway=caller.name == GATEWAY
        )
        buckets = self._reads if is_read(rule.name) else self._writes
        if wait := buckets.take(principal.key.key_id, self._clock()):
            raise slow_down(wait)
        if len(self._used) < USED:
            self._used.add(principal.key.key_id)
        permission.set_user(permission.User(principal, address, rule.action, self._arns))
        return Caller(Kind.USER, principal.user)

    def check(self, rule: Rule, message: Message) -> None:
        """Checks that the user may do what a request asks for, as far as it tells.

        Raises:
            PermissionDenied: he may not.
        """
        user = permission.current_user()
        if user is not None:
            permission.check(user, rule.name, message)

    async def _principal(
        self,
        authorization: str,
        method: str,
        context: grpc.aio.ServicerContext[Any, Any],
        *,
        is_gateway: bool,
    ) -> tuple[Principal, str]:
        token = read_bearer(authorization)
        now = datetime.now(UTC)
        if not isinstance(token, AccessKey):
            if not is_gateway:
                raise Unauthenticated(UNKNOWN_KEY, code=UNKNOWN)
            asserted = self._assertions.read(token, method)
            found = await self._principals.find(asserted.key_id)
            return check_state(found, now), asserted.address
        address = peer_address(context.peer())
        guess = address, token.key_id
        if wait := self._failures.wait(guess, self._clock()):
            raise slow_down(wait)
        found = await self._principals.find(token.key_id)
        if found is None or not found.has_secret(token.secret):
            self._failures.take(guess, self._clock())
            raise Unauthenticated(UNKNOWN_KEY, code=UNKNOWN)
        return check_state(found, now), address
