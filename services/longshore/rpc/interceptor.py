"""The server's interceptor: errors to status codes, one log line and one measurement per call."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status
from prometheus_client import Counter, Histogram
from structlog.contextvars import bound_contextvars

from longshore.domain.errors import InvalidRequest, LongshoreError
from longshore.rpc.access import Access
from longshore.rpc.audit import CallAudit, Seen
from longshore.rpc.batch import check_answer
from longshore.rpc.caller import set_caller
from longshore.rpc.errors import code_of, to_status
from longshore.rpc.texts import check_texts

log = structlog.get_logger()

CALLS = Counter(
    "longshore_rpc_total", "Finished rpcs, by their method and gRPC code.", ["method", "code"]
)
SECONDS = Histogram(
    "longshore_rpc_seconds",
    "Time of unary rpcs; streams are not measured.",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_QUIET = ("/grpc.health.", "/grpc.reflection.")


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in stubs only
    """Wraps every handler of a server, each once."""

    def __init__(self, audit: CallAudit | None = None, access: Access | None = None) -> None:
        """Makes an interceptor.

        Args:
            audit: records calls, where they are to be.
            access: says who may call; None: whoever reaches the port.
        """
        self._audit = audit
        self._access = access
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Returns the handler with our wrapping; unknown methods pass through to UNIMPLEMENTED."""
        method = handler_call_details.method
        if method in self._wrapped:
            return self._wrapped[method]
        handler = await continuation(handler_call_details)
        if handler is None or method.startswith(_QUIET):
            return handler
        watch = self._audit.watch(method) if self._audit else None
        guard = functools.partial(_admit, self._access, method) if self._access else _open
        return self._wrapped.setdefault(
            method, _wrap(method.rsplit("/", 1)[-1], handler, watch or _unwatched, guard)
        )


_Watch = Callable[
    [grpc.aio.ServicerContext[Any, Any]], contextlib.AbstractAsyncContextManager[Seen]
]


def _unwatched(
    _context: grpc.aio.ServicerContext[Any, Any],
) -> contextlib.AbstractAsyncContextManager[Seen]:
    return contextlib.nullcontext(Seen())


#: Refuses a call by raising.
_Guard = Callable[[grpc.aio.ServicerContext[Any, Any]], None]


def _admit(access: Access, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    set_caller(access.admit(method, context))


def _open(_context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Lets everybody in."""


def _wrap(
    method: str, handler: grpc.RpcMethodHandler[Any, Any], watch: _Watch, guard: _Guard
) -> grpc.RpcMethodHandler[Any, Any]:
    if handler.unary_unary is not None:
        # Requests are read within the behaviour: gRPC itself tells the caller of our insides when
        # it cannot read one.
        behaviour = _unary(method, handler.unary_unary, handler.request_deserializer, watch, guard)
        return grpc.unary_unary_rpc_method_handler(
            behaviour, response_serializer=handler.response_serializer
        )
    if handler.unary_stream is not None:
        behaviour = _streaming(
            method, handler.unary_stream, handler.request_deserializer, watch, guard
        )
        return grpc.unary_stream_rpc_method_handler(
            behaviour, response_serializer=handler.response_serializer
        )
    if handler.stream_stream is not None:
        behaviour = _streaming(method, handler.stream_stream, None, watch, guard)
        return grpc.stream_stream_rpc_method_handler(
            behaviour,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
    return handler


def _unary(
    method: str,
    behaviour: Callable[..., Any],
    read: Callable[[bytes], Any] | None,
    watch: _Watch,
    guard: _Guard,
) -> Callable[..., Any]:
    seconds = SECONDS.labels(method)

    async def call(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        started = time.perf_counter()
        try:
            async with _watched(method, context), watch(context) as seen:
                guard(context)
                seen.request = message = _message(request, read)
                answer = await behaviour(message, context)
                check_answer(answer.ByteSize())
                seen.answer = answer
                return answer
        finally:
            seconds.observe(time.perf_counter() - started)

    return call


def _message(request: bytes, read: Callable[[bytes], Any] | None) -> Any:
    if read is None:
        return request
    try:
        message = read(request)
    except DecodeError:
        raise InvalidRequest(
            "The request is not a message of the type that the rpc takes."
        ) from None
    check_texts(message, request)
    return message


def _streaming(
    method: str,
    behaviour: Callable[..., Any],
    read: Callable[[bytes], Any] | None,
    watch: _Watch,
    guard: _Guard,
) -> Callable[..., Any]:
    """A stream of answers; requests that come as a stream (`read` is None) are its own to check."""

    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        async with _watched(method, context), watch(context) as seen:
            guard(context)
            message = _message(request, read)
            seen.request = message if read is not None else None
            async for response in behaviour(message, context):
                yield response

    return call


@contextlib.asynccontextmanager
async def _watched(method: str, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    """Binds the call's names to its log lines, counts it, and ends it as its error says."""
    code = grpc.StatusCode.OK
    with bound_contextvars(rpc=method, request_id=_request_id(context)):
        try:
            yield
        except LongshoreError as error:
            code = code_of(error)
            await _refuse(context, method, error)
        except (asyncio.CancelledError, grpc.aio.AbortError):
            code = grpc.StatusCode.CANCELLED
            raise
        except Exception:  # noqa: BLE001 - a bug must not tell the caller of our insides
            code = grpc.StatusCode.INTERNAL
            await _fail(context, method)
        finally:
            CALLS.labels(method, code.name).inc()


def _request_id(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "x-request-id" and isinstance(value, str):
            return value[:64]
    return str(uuid.uuid4())


async def _refuse(
    context: grpc.aio.ServicerContext[Any, Any], method: str, error: LongshoreError
) -> None:
    """Ends the call with the error's code and details; always raises."""
    log.info("rpc.refused", method=method, reason=error.reason, message=error.message)
    status = rpc_status.to_status(to_status(error))
    await context.abort(status.code, status.details, status.trailing_metadata)


async def _fail(context: grpc.aio.ServicerContext[Any, Any], method: str) -> None:
    """Ends the call with INTERNAL; the log is told why, the caller is not. Always raises."""
    log.error("rpc.failed", method=method, exc_info=sys.exc_info())
    await context.abort(
        grpc.StatusCode.INTERNAL, "Internal error; the service's log has the details."
    )
