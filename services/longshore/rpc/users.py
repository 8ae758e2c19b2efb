"""Who calls a service: a user, by an access key or by what the gateway says.

The key itself comes as `authorization: Bearer ID:SECRET`; through the gateway, a token of
`rpc.assertion`. What a key stands for is read once and kept for a short time; whoever changes
users, keys or policies makes all services forget it at once (`forget`).
"""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf import descriptor_pool

from longshore.domain.access.key import EXPIRED_KEY, UNKNOWN_KEY, AccessKey, read_bearer
from longshore.domain.access.principal import Principal
from longshore.domain.access.signature import EXPIRED, MISSING, UNKNOWN
from longshore.domain.errors import PermissionDenied, Unauthenticated
from longshore.rpc.assertion import Assertions
from longshore.rpc.caller import metadata
from longshore.rpc.kept import Kept
from longshore.rpc.peer import peer_address
from longshore.v1 import options_pb2

#: Keys whose use is yet to be told.
USED = 10_000


@dataclass(frozen=True, slots=True)
class User:
    """Who makes a call."""

    principal: Principal
    #: Where the call comes from.
    address: str


_user: ContextVar[User | None] = ContextVar("longshore_user", default=None)


def current_user() -> User | None:
    """Who makes the call that is served; None where nobody was asked, or a service calls."""
    return _user.get()


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

    def __init__(self, principals: Principals, assertions: Assertions) -> None:
        """Checks by keys, and by what the gateway says."""
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
        self, access: options_pb2.Access, method: str, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """Checks that a call may be made at all; `current_user` says who makes it.

        Raises:
            Unauthenticated: it is not known who calls.
            PermissionDenied: users do not call this.
        """
        authorization = metadata(context, "authorization")
        if authorization is None:
            if access.anyone or access.roles:
                return
            raise Unauthenticated(
                "The call has no access key: send metadata `authorization: Bearer ID:SECRET`.",
                code=MISSING,
            )
        user = await self._user(authorization, method, context)
        if not access.users:
            raise PermissionDenied("Users do not call this.")
        if len(self._used) < USED:
            self._used.add(user.principal.key.key_id)
        _user.set(user)

    async def _user(
        self, authorization: str, method: str, context: grpc.aio.ServicerContext[Any, Any]
    ) -> User:
        token = read_bearer(authorization)
        now = datetime.now(UTC)
        if not isinstance(token, AccessKey):
            asserted = self._assertions.read(token, method)
            found = await self._principals.find(asserted.key_id)
            return User(check_state(found, now), asserted.address)
        found = await self._principals.find(token.key_id)
        if found is None or not found.has_secret(token.secret):
            raise Unauthenticated(UNKNOWN_KEY, code=UNKNOWN)
        return User(check_state(found, now), peer_address(context.peer()))


def access_of(method: str) -> options_pb2.Access | None:
    """What the protos say of who may call an rpc, given by its path; None for what has no say."""
    full_name, _, name = method.removeprefix("/").rpartition("/")
    try:
        service = descriptor_pool.Default().FindServiceByName(full_name)
        options = service.methods_by_name[name].GetOptions()
    except KeyError:
        return None
    found: options_pb2.Access = options.Extensions[options_pb2.access]
    return found
