"""What the gateway tells of callers, and puts on record of what it refuses by itself.

A call that reaches a service is recorded there, as everybody's is; the gateway says in metadata for
whom it calls. What it does not pass on (another site's page, no operation, a body that does not
fit) nobody else would know of.
"""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import structlog
from aiohttp import web

from longshore.domain.audit import record as audit
from longshore.domain.audit.record import AuditedCaller, Refusal
from longshore.domain.checks import Json
from longshore.domain.errors import Unavailable
from longshore.gateway.behind import SERVICES
from longshore.gateway.fault import Fault
from longshore.gateway.operation import Operation
from longshore.gateway.signature import signed_access_key, signed_region
from longshore.rpc.audit import ACCESS_KEY, ADDRESS_KEY, AGENT_KEY, REQUEST_KEY
from longshore.rpc.caller import REGION_KEY
from longshore.runtime.recorder import Recorder
from longshore.v1 import options_pb2

log = structlog.get_logger()

#: Under whom that is recorded which is no call of any service, and under which name.
NO_SOURCE = "longshore"
NO_OPERATION = "UnknownOperation"
NO_REQUEST = "MalformedRequest"
#: Longest part of a header or path that is told.
_CHARACTERS = 512


def metadata(request: web.Request, request_id: str) -> list[tuple[str, str]]:
    """Of whom a request is, for the service behind."""
    told = [(REQUEST_KEY, request_id), (ADDRESS_KEY, request.remote or "")]
    authorization = request.headers.get("Authorization")
    told += [
        (key, value)
        for key, value in (
            (REGION_KEY, signed_region(authorization)),
            (ACCESS_KEY, signed_access_key(authorization)),
            (AGENT_KEY, _quoted(request.headers.get("User-Agent"))),
        )
        if value
    ]
    return told


def _quoted(text: str | None) -> str | None:
    """A header's text as metadata takes it: letters and marks of ASCII."""
    return quote(text[:_CHARACTERS], safe=" !#$&'()*+,/:;=?@[]", errors="replace") if text else None


class Recording:
    """Puts on record what the gateway refuses."""

    def __init__(self, recorder: Recorder, account: str, region: str) -> None:
        self._recorder = recorder
        self._account = account
        self._region = region
        self._sources: Mapping[str, str] = {
            service.full_name: service.GetOptions().Extensions[options_pb2.event_source]
            for services in SERVICES.values()
            for service in services
        }

    async def refused(
        self, request: web.Request, operation: Operation | None, answer: Fault, request_id: str
    ) -> None:
        """Records a request that was not passed on."""
        authorization = request.headers.get("Authorization")
        caller = AuditedCaller(
            address=request.remote or "",
            user_agent=request.headers.get("User-Agent", ""),
            access_key_id=signed_access_key(authorization),
            request_id=request_id,
            account=self._account,
            region=signed_region(authorization) or self._region,
        )
        if operation is None:
            asked: Json = {"method": request.method[:20], "path": request.raw_path[:_CHARACTERS]}
            if target := request.headers.get("X-Amz-Target"):
                asked["target"] = target[:_CHARACTERS]
            await self._record(NO_SOURCE, NO_OPERATION, caller, answer, asked)
        elif source := self._sources[operation.service]:
            name = operation.rpc.rpartition("/")[2]
            await self._record(source, name, caller, answer, None)

    def malformed(self, address: str, answer: Fault, request_id: str) -> None:
        """Records what was no request of HTTP, if there is room."""
        caller = AuditedCaller(
            address=address,
            user_agent="",
            access_key_id=None,
            request_id=request_id,
            account=self._account,
            region=self._region,
        )
        if self._recorder.try_reserve():
            self._put(NO_SOURCE, NO_REQUEST, caller, answer, None)
        else:
            log.warning("audit.lost", operation=NO_REQUEST, code=answer.code)

    async def _record(
        self, source: str, name: str, caller: AuditedCaller, answer: Fault, parameters: Json | None
    ) -> None:
        try:
            await self._recorder.reserve()
        except Unavailable:
            # The request is refused already: there is nothing left to hold back.
            log.warning("audit.lost", operation=name, code=answer.code)
            return
        self._put(source, name, caller, answer, parameters)

    def _put(
        self, source: str, name: str, caller: AuditedCaller, answer: Fault, parameters: Json | None
    ) -> None:
        at = datetime.now(UTC)
        self._recorder.put(
            audit.record_of(
                at=at,
                event_id=audit.event_id_at(at, secrets.randbits(74)),
                source=source,
                name=name,
                caller=caller,
                parameters=parameters,
                refusal=Refusal(answer.code, answer.message),
            )
        )
