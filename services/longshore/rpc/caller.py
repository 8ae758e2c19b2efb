"""Who makes a call, and what its metadata says besides."""

import functools
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import grpc

from longshore.domain.arn import REGION, Arns
from longshore.domain.errors import InvalidRequest, PermissionDenied
from longshore.identity.name import AgentName, ServiceName, parsed

#: Metadata: region for ARNs in answers.
REGION_KEY = "x-longshore-region"


class Kind(StrEnum):
    """What a caller is."""

    SERVICE = "service"
    AGENT = "agent"
    USER = "user"
    JOB = "job"
    #: Nothing is known of him.
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call, as far as that is proven."""

    kind: Kind
    #: A service's role, a user's name.
    name: str = ""
    #: An agent's compute environment and instance.
    environment: str = ""
    instance_id: str = ""


ANONYMOUS = Caller(Kind.ANONYMOUS)
_current: ContextVar[Caller | None] = ContextVar("caller", default=None)


def set_caller(caller: Caller) -> None:
    """Says who makes the call that is served from here on; the interceptor does."""
    _current.set(caller)


def current_caller() -> Caller | None:
    """Who makes the call that is being served; None where a server does not ask (in tests)."""
    return _current.get()


def check_instance(instance_id: str, environment: str | None = None) -> None:
    """Checks that the agent that calls is that of an instance.

    Raises:
        PermissionDenied: it is that of another one.
    """
    caller = current_caller()
    if caller is None:
        return
    is_its = caller.kind is Kind.AGENT and caller.instance_id == instance_id
    if not is_its or environment not in (None, caller.environment):
        raise PermissionDenied(
            f"{caller.kind} {caller.name} of {caller.environment or 'no environment'} cannot speak "
            f"for instance {instance_id[:64]}"
            + (f" of {environment[:128]}." if environment else ".")
        )


def peer(context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
    """Whom the certificate of a connection names; anonymous without one of ours."""
    for uri in context.auth_context().get("peer_spiffe_id", ()):
        return _named(uri)
    return ANONYMOUS


@functools.lru_cache(maxsize=4096)
def _named(uri: bytes) -> Caller:
    match parsed(uri.decode(errors="replace")):
        case ServiceName(role=role):
            return Caller(Kind.SERVICE, role)
        case AgentName(environment=environment, instance_id=instance_id):
            return Caller(Kind.AGENT, instance_id, environment, instance_id)
        case _:
            return ANONYMOUS


def arns_for(context: grpc.aio.ServicerContext[Any, Any], own: Arns) -> Arns:
    """ARNs for the caller of a call: the installation's, with the region that the caller wants.

    Raises:
        InvalidRequest: that is no region.
    """
    region = metadata(context, REGION_KEY)
    return own if region is None else _arns(own.account, region)


@functools.lru_cache(maxsize=256)
def _arns(account: str, region: str) -> Arns:
    if REGION.fullmatch(region) is None:
        raise InvalidRequest(f"{REGION_KEY} is no region.", member=REGION_KEY)
    return Arns(account, region)


def metadata(context: grpc.aio.ServicerContext[Any, Any], wanted: str) -> str | None:
    """A text of the metadata; None if it is not there."""
    for key, value in context.invocation_metadata() or ():
        if key == wanted and isinstance(value, str):
            return value
    return None
