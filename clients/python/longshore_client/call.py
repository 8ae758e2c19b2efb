"""How a call is made: its deadline, and what is tried again."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from longshore.backoff import Backoff
from longshore.contract import MESSAGE_BYTES
from longshore_client.address import is_loopback
from longshore_client.errors import InvalidRequest, Timeout, Unavailable
from longshore_client.refusal import error_info, from_rpc_error

#: Variable with a file of the authorities that are trusted.
CA_FILE = "LONGSHORE_CA_FILE"
BACKOFF_FIRST_SECONDS = 0.05
BACKOFF_LAST_SECONDS = 2.0

Response = TypeVar("Response", bound=Message)
_SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}


_OPTIONS = (
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_http_proxy", 0),
)


def open_channel(target: str, ca_file: str = "") -> grpc.aio.Channel:
    """A channel with keepalive that comes back soon after a service does.

    By TLS where the service is elsewhere, as services take nothing else there, or if it is said who
    is trusted; on loopback by plaintext.

    Args:
        target: `host:port`.
        ca_file: certificates of the authorities that are trusted; empty: those of this system.

    Raises:
        InvalidRequest: the file cannot be read.
    """
    if not ca_file and is_loopback(target):
        return grpc.aio.insecure_channel(target, options=_OPTIONS)
    trusted = None
    if ca_file:
        try:
            trusted = Path(ca_file).expanduser().read_bytes()
        except (OSError, RuntimeError) as error:
            raise InvalidRequest(
                f"{CA_FILE} is {ca_file}, which cannot be read: {error}."
            ) from None
    credentials = grpc.ssl_channel_credentials(trusted)
    return grpc.aio.secure_channel(target, credentials, options=_OPTIONS)


class Caller:
    """Makes calls; knows whether the services have ever answered.

    As long as nothing has answered, a service that cannot be reached is given up after `patience`
    seconds: most likely it does not run. Afterwards it is being restarted, and calls go on trying
    until their own deadline.
    """

    def __init__(
        self, timeout: float, patience: float, metadata: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Makes calls.

        Args:
            timeout: seconds for a call with its retries.
            patience: seconds to try to reach what has never answered.
            metadata: of every call, who calls.
        """
        self.timeout = timeout
        self._metadata = metadata
        self._patience = patience
        self._answered = False

    def _retry_until(self, start: float, deadline: float) -> float:
        return deadline if self._answered else min(deadline, start + self._patience)

    async def unary(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Any, Response],
        request: Message,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it becomes the call's deadline
        repeatable: bool = True,
        metadata: tuple[tuple[str, str | bytes], ...] = (),
    ) -> Response:
        """One call, tried again while the service is unavailable.

        Args:
            method: of a stub.
            request: its message.
            timeout: seconds for everything, retries included; None takes the client's default.
            repeatable: whether doing it twice is the same as doing it once. If not, it is tried
                again only where the service itself said that it did nothing.
            metadata: sent along.

        Raises:
            LongshoreError: the leaf that says why.
        """
        clock = asyncio.get_running_loop().time
        start = clock()
        deadline = start + (self.timeout if timeout is None else timeout)
        backoff = Backoff(BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS)
        refused: Unavailable | None = None
        while True:
            try:
                response = await method(
                    request,
                    timeout=max(0.001, deadline - clock()),
                    metadata=(*self._metadata, *metadata),
                )
            except grpc.aio.AioRpcError as error:
                failure = from_rpc_error(error)
                told = error_info(error) is not None
                self._answered = self._answered or told
                delay = backoff.delay()
                if isinstance(failure, Timeout) and refused is not None:
                    # What became of the last try nobody knows, but why there were others is told.
                    failure = Timeout(f"{failure}; the try before it: {refused}", **failure.fields)
                if (
                    not isinstance(failure, Unavailable)
                    or not (repeatable or told)
                    or clock() + delay >= self._retry_until(start, deadline)
                ):
                    raise failure from error
                refused = failure
                await asyncio.sleep(delay)
            else:
                self._answered = True
                return response

    async def stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Any, Response],
        request: Message,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it becomes the call's deadline
    ) -> AsyncIterator[Response]:
        """Messages of one server stream; the caller opens it again where it broke.

        Raises:
            LongshoreError: the leaf that says why it broke.
        """
        call = method(request, timeout=timeout, metadata=self._metadata)
        try:
            async for response in call:
                self._answered = True
                yield response
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()


async def check_health(target: str, timeout: float = 1.0, ca_file: str = "") -> str:  # noqa: ASYNC109
    """Asks a service how it is; `ca_file` as for `open_channel`.

    Returns:
        `SERVING`, `NOT_SERVING`, or `UNREACHABLE` if nothing answers in time.
    """
    async with open_channel(target, ca_file) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=None,
            response_deserializer=None,
        )
        try:
            answer = await check(b"", timeout=timeout)
        except grpc.aio.AioRpcError:
            return "UNREACHABLE"
        return "SERVING" if answer == _SERVING else "NOT_SERVING"


def new_request_id() -> str:
    """An id that makes a repeated submission the same submission."""
    return str(uuid.uuid4())


__all__ = ["Backoff", "Caller", "Timeout", "check_health", "new_request_id", "open_channel"]
