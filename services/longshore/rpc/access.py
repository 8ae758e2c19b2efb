"""Who may call which rpc, as the protos say: the option `longshore.v1.access`.

Checked in one place, before a call is served. A service or an agent is who its certificate says;
the gateway calls whatever users may call. Health and reflection are for whoever reaches the port.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from longshore.domain.errors import LongshoreError, PermissionDenied, Unauthenticated
from longshore.rpc.caller import Caller, Kind, peer
from longshore.v1 import options_pb2

GATEWAY = "gateway"
_PREFIX = "ROLE_"


class UnguardedRpc(LongshoreError):
    """An rpc does not say who may call it: a server with it does not start."""

    reason = "UNGUARDED_RPC"


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call an rpc."""

    name: str
    #: Roles of services, as in their certificates.
    services: frozenset[str]
    agents: bool
    users: bool
    anyone: bool
    #: What a user must be allowed to do.
    action: str

    @classmethod
    def of(cls, method: MethodDescriptor) -> Rule:
        """What an rpc says.

        Raises:
            UnguardedRpc: nothing, or what does not go together.
        """
        said = method.GetOptions().Extensions[options_pb2.access]
        roles = {options_pb2.Role.Name(role).removeprefix(_PREFIX).lower() for role in said.roles}
        rule = cls(
            name=method.name,
            services=frozenset(roles - {Kind.AGENT}),
            agents=Kind.AGENT in roles,
            users=said.users,
            anyone=said.anyone,
            action=said.action,
        )
        if not (roles or said.users or said.anyone) or "unspecified" in roles:
            raise UnguardedRpc(
                f"{method.full_name} does not say who may call it; give it the option "
                "longshore.v1.access."
            )
        if method.client_streaming and not method.server_streaming:
            raise UnguardedRpc(
                f"{method.full_name} takes a stream and gives one answer: no interceptor of ours "
                "serves such, and nobody would be asked who he is."
            )
        if said.users is not bool(said.action):
            raise UnguardedRpc(
                f"{method.full_name} must name an action if, and only if, users may call it."
            )
        return rule

    def check(self, caller: Caller) -> None:
        """Checks that a caller may call it.

        Raises:
            Unauthenticated: nothing is known of the caller.
            PermissionDenied: it is somebody else who may.
        """
        match caller.kind:
            case _ if self.anyone:
                return
            case Kind.SERVICE:
                may = caller.name in self.services or (self.users and caller.name == GATEWAY)
            case Kind.AGENT:
                may = self.agents
            case Kind.USER | Kind.JOB:
                may = self.users
            case Kind.ANONYMOUS:
                if not self.users:
                    raise Unauthenticated(
                        f"{self.name} is for those with a certificate of this stack, at the port "
                        "for services and agents."
                    )
                # Users are told apart elsewhere.
                may = True
        if not may:
            raise PermissionDenied(f"{caller.kind} {caller.name} may not call {self.name}.")


def rules_of(services: Iterable[str]) -> dict[str, Rule]:
    """The rules of all rpcs of services, by the paths of the rpcs.

    Raises:
        UnguardedRpc: one has none.
    """
    pool = descriptor_pool.Default()
    return {
        f"/{name}/{method.name}": Rule.of(method)
        for name in services
        for method in pool.FindServiceByName(name).methods
    }


class Access:
    """Checks the calls of one server."""

    def __init__(self) -> None:
        self._rules: dict[str, Rule] = {}

    def add(self, rules: dict[str, Rule]) -> None:
        """Knows further rpcs."""
        self._rules.update(rules)

    def rule(self, method: str) -> Rule:
        """Who may call an rpc, given by its path."""
        return self._rules[method]

    def admit(self, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
        """Who makes a call, if he may.

        Raises:
            Unauthenticated: nothing is known of the caller.
            PermissionDenied: he may not.
        """
        caller = peer(context)
        self._rules[method].check(caller)
        return caller
