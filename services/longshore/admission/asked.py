"""For services without a database: they ask submission."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC

import grpc
import structlog

from longshore.domain.access import policy
from longshore.domain.access.condition import SUBMITTED_BY
from longshore.domain.access.key import ACTIVE, DISABLED, KeyState
from longshore.domain.access.principal import KeyRecord, Principal
from longshore.domain.access.signature import Scope
from longshore.domain.errors import LongshoreError, NotFound
from longshore.rpc.assertion import Assertions
from longshore.rpc.channel import reconnect_backoff
from longshore.rpc.errors import from_rpc_error
from longshore.rpc.users import Paces, Principals, Users
from longshore.runtime.config import AccessSettings
from longshore.runtime.loop import Loop
from longshore.runtime.stack_key import StackKey
from longshore.v1 import key_service_pb2 as pb
from longshore.v1 import key_service_pb2_grpc

log = structlog.get_logger()

SECONDS = 5.0
#: Between two tellings of which keys were used.
USED_SECONDS = 10.0


class Asking:
    """Asks submission what keys stand for."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = key_service_pb2_grpc.KeyServiceStub(channel)

    async def principal(self, key_id: str) -> Principal | None:
        """What a key stands for; None if there is no such key.

        Raises:
            Unavailable: submission does not answer.
        """
        found = await self._resolve(pb.ResolveAccessKeyRequest(access_key_id=key_id))
        return None if found is None else _principal(found)

    async def signer(self, scope: Scope) -> tuple[Principal, bytes] | None:
        """What a key stands for, and what checks its signatures of one scope.

        Raises:
            Unavailable: submission does not answer.
        """
        found = await self._resolve(
            pb.ResolveAccessKeyRequest(
                access_key_id=scope.key_id,
                day=scope.day,
                region=scope.region,
                service=scope.service,
            )
        )
        return None if found is None else (_principal(found), found.signing_key)

    async def _resolve(
        self, request: pb.ResolveAccessKeyRequest
    ) -> pb.ResolveAccessKeyResponse | None:
        try:
            return await self._stub.ResolveAccessKey(request, timeout=SECONDS)
        except grpc.aio.AioRpcError as error:
            failure = from_rpc_error(error)
            if isinstance(failure, NotFound):
                return None
            raise failure from None

    async def submitter(self, attempt_id: str) -> tuple[str, str] | None:
        """Queue of an attempt's job, and who has submitted it; None if there is no such attempt.

        Raises:
            Unavailable: submission does not answer.
        """
        try:
            found = await self._stub.FindSubmitter(
                pb.FindSubmitterRequest(attempt_id=attempt_id), timeout=SECONDS
            )
        except grpc.aio.AioRpcError as error:
            failure = from_rpc_error(error)
            if isinstance(failure, NotFound):
                return None
            raise failure from None
        return found.job_queue, found.submitted_by

    async def tell_used(self, key_ids: list[str]) -> None:
        """Tells which keys were used; what cannot be told is forgotten."""
        try:
            await self._stub.ReportKeyUse(
                pb.ReportKeyUseRequest(access_key_ids=key_ids[:1000]), timeout=SECONDS
            )
        except grpc.aio.AioRpcError as error:
            log.info("access.use_not_told", error=error.code().name)

    async def watch(self, forget: Callable[[], None]) -> None:
        """Calls a function at each change, until cancelled; also where one may have been missed."""
        backoff = reconnect_backoff()
        while True:
            try:
                async for _ in self._stub.WatchAccess(pb.WatchAccessRequest()):
                    backoff.reset()
                    forget()
            except grpc.aio.AioRpcError as error:
                log.debug("access.watch_broken", error=error.code().name)
            forget()
            await asyncio.sleep(backoff.delay())


@contextlib.asynccontextmanager
async def admitting(
    key: StackKey | None, settings: AccessSettings, channel: grpc.aio.Channel
) -> AsyncIterator[Users | None]:
    """What checks who calls, while the context is open; with None anybody may."""
    if key is None:
        yield None
        return
    asking = Asking(channel)
    users = Users(
        Principals(asking.principal),
        Assertions(key.assertions),
        settings.arns,
        Paces(settings.reads, settings.writes),
    )
    async with keeping(asking, users.forget, users.take_used):
        yield users


@contextlib.asynccontextmanager
async def keeping(
    asking: Asking, forget: Callable[[], None], take_used: Callable[[], list[str]] = list
) -> AsyncIterator[None]:
    """Forgets at changes, and tells of uses, while the context is open.

    The gateway has none to tell: whom it calls notes them.
    """

    async def tell_used() -> None:
        if used := take_used():
            await asking.tell_used(used)

    telling = Loop("access.used", tell_used, USED_SECONDS)
    tasks = [asyncio.create_task(telling.run()), asyncio.create_task(asking.watch(forget))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _principal(found: pb.ResolveAccessKeyResponse) -> Principal:
    key = found.key
    try:
        policies = tuple(policy.read(one.name, one.document) for one in found.policies)
    except LongshoreError:
        log.exception("access.policy_not_read", user=key.user)
        policies = ()
    return Principal(
        key=KeyRecord(
            key_id=key.access_key_id,
            user=key.user,
            state=KeyState(
                DISABLED if key.disabled else ACTIVE,
                key.expire_time.ToDatetime(UTC) if key.HasField("expire_time") else None,
            ),
            created_at=key.create_time.ToDatetime(UTC),
            last_used_at=None,
        ),
        groups=tuple(found.groups),
        digest=found.secret_digest,
        policies=policies,
        asks_for_submitters=any(one.asks_for(SUBMITTED_BY) for one in policies),
    )
