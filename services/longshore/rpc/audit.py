"""Records each call that is to be in the audit log, where it is served.

What is recorded, and under which name, is said by the descriptors: calls of services with the
option `longshore.v1.event_source`. A place for the record is taken before the call is served, and
the record is handed over as its answer is given.

Who calls is who was found to call. Of a call that is refused because nobody knows, the gateway says
in metadata what is claimed: address, program and access key. The address is believed where the
gateway can be: from loopback, and from the addresses that the settings name.
"""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import uuid
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import unquote

import grpc
import structlog
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from longshore.domain.arn import REGION
from longshore.domain.audit import record as audit
from longshore.domain.audit.record import AuditedCaller, AuditRecord, Refusal
from longshore.domain.checks import Json
from longshore.domain.errors import (
    LimitExceeded,
    LongshoreError,
    NotFound,
    PreconditionFailed,
    StaleLease,
    Unavailable,
)
from longshore.rpc.caller import REGION_KEY
from longshore.rpc.parameters import Parameters
from longshore.rpc.peer import peer_address
from longshore.rpc.permission import current_user
from longshore.v1 import options_pb2

#: Metadata by which the gateway says for whom it calls.
ADDRESS_KEY = "x-longshore-source-address"
AGENT_KEY = "x-longshore-user-agent"
ACCESS_KEY = "x-longshore-access-key-id"
REQUEST_KEY = "x-request-id"

#: Bytes of a message that is looked at.
_WRITTEN_BYTES = 512 * 1024
_CLIENT = "ClientException"
_SERVER = "ServerException"
_FAILED = Refusal(_SERVER, "Internal error; the service's log has the details.")
_LEFT = Refusal("RequestCancelled", "The caller left before the call was answered.")

log = structlog.get_logger()


class Sink(Protocol):
    """Where records go; `state.audit.recorder.Recorder` is one."""

    async def reserve(self) -> None:
        """Takes a place for a call, or raises Unavailable."""

    def release(self) -> None:
        """Gives a place back that was not needed."""

    def put(self, record: AuditRecord) -> None:
        """Hands over the record of a call that has a place."""


@dataclass(slots=True)
class Seen:
    """What is known of a call so far."""

    request: Message | None = None
    answer: Message | None = None


@dataclass(frozen=True, slots=True)
class Installation:
    """What stands in every record."""

    account: str
    region: str
    #: Addresses beside loopback from which the gateway calls.
    gateways: Collection[ipaddress.IPv4Network | ipaddress.IPv6Network] = ()


class CallAudit:
    """Watches the calls of one server."""

    def __init__(self, sink: Sink, installation: Installation, *, with_reads: bool) -> None:
        """Makes a watcher.

        Args:
            sink: where records go.
            installation: what stands in every record.
            with_reads: whether reads are recorded too; refused ones are in any case.
        """
        self._sink = sink
        self._installation = installation
        self._with_reads = with_reads

    def watch(self, method: str) -> Watch | None:
        """What watches the calls of a method, given by its path; None if they are not recorded."""
        full_name, _, name = method.removeprefix("/").rpartition("/")
        try:
            service = descriptor_pool.Default().FindServiceByName(full_name)
        except KeyError:
            return None
        if not service.GetOptions().Extensions[options_pb2.event_source]:
            return None
        return Watch(self._sink, self._installation, service, name, with_reads=self._with_reads)


class Watch:
    """Watches the calls of one method."""

    def __init__(
        self,
        sink: Sink,
        installation: Installation,
        service: ServiceDescriptor,
        name: str,
        *,
        with_reads: bool,
    ) -> None:
        """As `CallAudit`, for a method of a service."""
        options = service.GetOptions()
        self._sink = sink
        self._installation = installation
        self._source: str = options.Extensions[options_pb2.event_source]
        self._names: options_pb2.JsonService = options.Extensions[options_pb2.json_service]
        self._name = name
        #: Recorded only if refused: they need no place before, and may take long, as streams do.
        self._is_quiet = not audit.is_recorded(name, is_refused=False, with_reads=with_reads)

    @contextlib.asynccontextmanager
    async def __call__(self, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Seen]:
        """Records the call that is served meanwhile, if it is to be recorded."""
        if not self._is_quiet:
            await self._sink.reserve()
        at, seen = datetime.now(UTC), Seen()
        refusal: Refusal | None = None
        try:
            yield seen
        except Exception as error:
            refusal = self._refusal(error)
            raise
        except BaseException:
            refusal = None if self._is_quiet else _LEFT
            raise
        finally:
            if self._is_quiet and refusal is not None:
                await self._sink.reserve()
            if not self._is_quiet or refusal is not None:
                self._put(context, at, seen, refusal)

    def _put(
        self,
        context: grpc.aio.ServicerContext[Any, Any],
        at: datetime,
        seen: Seen,
        refusal: Refusal | None,
    ) -> None:
        try:
            record = audit.record_of(
                at=at,
                event_id=audit.event_id_at(at, secrets.randbits(74)),
                source=self._source,
                name=self._name,
                caller=caller_of(context, self._installation),
                parameters=_members(seen.request),
                response=_members(seen.answer),
                refusal=refusal,
            )
        except Exception:
            # The call was served: it is no reason to tell its caller otherwise.
            self._sink.release()
            log.exception("audit.not_composed", operation=self._name)
        else:
            self._sink.put(record)

    def _refusal(self, error: Exception) -> Refusal:
        """How AWS would name an error, and what the caller is told of it."""
        if not isinstance(error, LongshoreError) or isinstance(error, StaleLease):
            return _FAILED
        match error:
            case Unavailable():
                code = "ServiceUnavailableException" if self._names.target_prefix else _SERVER
            case NotFound():
                code = self._names.not_found or _CLIENT
            case LimitExceeded():
                code = self._names.limit_exceeded or _CLIENT
            case PreconditionFailed():
                code = self._names.precondition_failed or _CLIENT
            case _:
                code = self._names.invalid_request or _CLIENT
        return Refusal(str(error.fields.get("code") or code), error.message)


def _members(message: Message | None) -> Json | None:
    """What a message says, unless it is far larger than what is kept."""
    if message is None:
        return None
    size = message.ByteSize()
    if size > _WRITTEN_BYTES:
        return {"omitted": True, "originalSize": size}
    return Parameters.of(message.DESCRIPTOR).write(message)


def caller_of(
    context: grpc.aio.ServicerContext[Any, Any], installation: Installation
) -> AuditedCaller:
    """Who makes a call, as far as is known."""
    said = {
        key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
    }
    address = peer_address(context.peer())
    forwarded = said.get(ADDRESS_KEY)
    if forwarded and _is_gateway(address, installation):
        address = forwarded
    region = said.get(REGION_KEY, "")
    key_id = unquote(said.get(ACCESS_KEY, "")) or None
    if (user := current_user()) is not None:
        address, key_id = user.address, user.principal.key.key_id
    return AuditedCaller(
        address=address,
        user_agent=unquote(said.get(AGENT_KEY, "")) or said.get("user-agent", ""),
        access_key_id=key_id,
        user=None if user is None else user.principal.user,
        request_id=said.get(REQUEST_KEY) or str(uuid.uuid4()),
        account=installation.account,
        region=region if REGION.fullmatch(region) else installation.region,
    )


def _is_gateway(address: str, installation: Installation) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return found.is_loopback or any(found in network for network in installation.gateways)
