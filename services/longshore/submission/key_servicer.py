"""KeyService on the wire: what services without a database ask about access keys."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from longshore.domain.access.key import DISABLED
from longshore.domain.access.principal import KeyRecord
from longshore.domain.access.signature import Scope, signing_key
from longshore.domain.checks import require
from longshore.domain.errors import NotFound, PreconditionFailed, Unavailable
from longshore.runtime.stack_key import StackKey
from longshore.state.access import access
from longshore.state.pool import Pool, connection, transaction
from longshore.state.views import job_reading
from longshore.v1 import access_service_pb2 as access_pb
from longshore.v1 import key_service_pb2 as pb
from longshore.v1 import key_service_pb2_grpc

KEYS_TOLD = 1_000
#: Listeners of changes; they are services.
WATCHERS = 1_000
_DAY = re.compile(r"[0-9]{8}", re.ASCII)
_NAME = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)


class Changes:
    """Wakes whoever waits for changes of users, keys and policies."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def tell(self) -> None:
        """There was one."""
        for event in self._waiting:
            event.set()

    async def each(self) -> AsyncIterator[None]:
        """Once at first, then after each change; several that are close together are one.

        Raises:
            Unavailable: too many wait.
        """
        if len(self._waiting) >= WATCHERS:
            raise Unavailable("Too many wait for changes of keys.")
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            while True:
                yield
                await event.wait()
                event.clear()
        finally:
            self._waiting.discard(event)


class KeyServicer(key_service_pb2_grpc.KeyServiceServicer):
    """What other services need to know of keys."""

    def __init__(self, pool: Pool, key: StackKey | None, changes: Changes) -> None:
        self._pool = pool
        self._stack_key = key
        self._changes = changes

    async def ResolveAccessKey(
        self, request: pb.ResolveAccessKeyRequest, context: object
    ) -> pb.ResolveAccessKeyResponse:
        """Answers what calls with a key are checked with."""
        async with connection(self._pool) as conn:
            found = await access.read_key(conn, request.access_key_id)
        if found is None:
            raise NotFound("There is no such access key.")
        principal = found.principal
        answer = pb.ResolveAccessKeyResponse(
            key=key_message(principal.key),
            groups=principal.groups,
            secret_digest=principal.digest,
            policies=[
                pb.EffectivePolicy(name=name, document=document)
                for name, document in found.documents
            ],
        )
        if request.day:
            require(_DAY.fullmatch(request.day) is not None, "day must have 8 digits.", "day")
            for member in ("region", "service"):
                is_name = _NAME.fullmatch(getattr(request, member)) is not None
                require(is_name, f"{member} is none.", member)
            scope = Scope(request.access_key_id, request.day, request.region, request.service)
            secret = needed(self._stack_key).unseal(found.secret, request.access_key_id)
            answer.signing_key = signing_key(secret, scope)
        return answer

    async def WatchAccess(
        self, request: pb.WatchAccessRequest, context: object
    ) -> AsyncIterator[pb.WatchAccessResponse]:
        """Tells of each change."""
        async for _ in self._changes.each():
            yield pb.WatchAccessResponse()

    async def FindSubmitter(
        self, request: pb.FindSubmitterRequest, context: object
    ) -> pb.FindSubmitterResponse:
        """Says whose attempt one is."""
        async with connection(self._pool) as conn:
            found = await job_reading.submitter_of_attempt(conn, request.attempt_id)
        if found is None:
            raise NotFound("There is no such attempt.")
        return pb.FindSubmitterResponse(job_queue=found.job_queue, submitted_by=found.submitted_by)

    async def ReportKeyUse(
        self, request: pb.ReportKeyUseRequest, context: object
    ) -> pb.ReportKeyUseResponse:
        """Notes that keys were used."""
        require(
            len(request.access_key_ids) <= KEYS_TOLD,
            f"access_key_ids has more than {KEYS_TOLD}.",
            "accessKeyIds",
        )
        async with transaction(self._pool) as conn:
            await access.note_use(conn, sorted(set(request.access_key_ids)), datetime.now(UTC))
        return pb.ReportKeyUseResponse()


def needed(key: StackKey | None) -> StackKey:
    """The stack's key.

    Raises:
        PreconditionFailed: the stack is open, and has none.
    """
    if key is None:
        raise PreconditionFailed(
            "This longshore is open: whoever reaches it may do everything, and it makes no keys. "
            "Start it without --open."
        )
    return key


def time_message(at: datetime | None) -> Timestamp | None:
    """A time, if there is one."""
    if at is None:
        return None
    time = Timestamp()
    time.FromDatetime(at)
    return time


def key_message(record: KeyRecord) -> access_pb.AccessKey:
    """A key without its secret."""
    return access_pb.AccessKey(
        access_key_id=record.key_id,
        user=record.user,
        disabled=record.state.status == DISABLED,
        create_time=time_message(record.created_at),
        expire_time=time_message(record.state.expires_at),
        last_use_time=time_message(record.last_used_at),
    )
