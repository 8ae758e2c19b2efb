"""HTTP in, gRPC out: reads a request, calls the service behind, answers in AWS's form."""

import asyncio
import json
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import Any

import grpc
import msgspec
import structlog
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import Counter, Gauge, Histogram

from longshore.domain import strict_json
from longshore.domain.errors import InvalidRequest, LongshoreError, Unavailable
from longshore.domain.job.trace import parse_traceparent
from longshore.gateway import event_stream, fault
from longshore.gateway.authentication import Authentication
from longshore.gateway.behind import SERVICES
from longshore.gateway.config import GatewayConfig
from longshore.gateway.fault import BATCH, Fault, Names
from longshore.gateway.operation import Operation, Operations
from longshore.gateway.origin import is_known, is_own
from longshore.gateway.recording import Recording, metadata
from longshore.rpc.caller import REGION_KEY
from longshore.rpc.errors import from_rpc_error
from longshore.runtime.metrics import exposition
from longshore.runtime.tracing import continued

log = structlog.get_logger()

REQUESTS = Counter("longshore_http_requests_total", "Answered requests.", ["operation", "status"])
SECONDS = Histogram(
    "longshore_http_seconds",
    "Time from a request's headers to its answer.",
    ["operation"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
IN_HAND = Gauge("longshore_http_in_hand", "HTTP requests that are being read, called or answered.")

HEALTH_SECONDS = 2.0
#: `operation` of requests that reached none, in metrics and logs.
NO_OPERATION = "-"

_JSON = "application/json"

_Call = Callable[..., Any]
_Stream = Any


class _FaultError(Exception):
    """Ends a request with an answer that is not success."""

    def __init__(self, answer: Fault) -> None:
        super().__init__(answer.message)
        self.answer = answer


class _BehindError(Exception):
    """Ends a request as the service behind it did, which has it on record."""

    def __init__(self, error: LongshoreError) -> None:
        super().__init__(error.message)
        self.error = error


class Gateway:
    """Answers all requests of one listener."""

    def __init__(
        self,
        config: GatewayConfig,
        channels: Mapping[str, grpc.aio.Channel],
        recording: Recording,
        authentication: Authentication | None = None,
    ) -> None:
        """Makes a gateway.

        Args:
            config: the settings.
            channels: to each of `SERVICES`, by its name.
            recording: takes down what is refused here.
            authentication: checks who calls; None: anybody may.
        """
        self._authentication = authentication
        self._recording = recording
        self._config = config
        self._operations = Operations(s for services in SERVICES.values() for s in services)
        self._hosts = config.known_hosts
        self._health = health_pb2_grpc.HealthStub(channels["submission"])
        channel_of = {s.full_name: channels[name] for name in SERVICES for s in SERVICES[name]}
        self._calls: dict[str, _Call] = {
            operation.rpc: _call_of(channel_of[operation.service], operation)
            for operation in self._operations.all
        }
        #: Answers that go on for as long as their callers listen.
        self._streams: set[_Stream] = set()
        #: Requests that were read, up to their answer.
        self._working = 0
        #: The deadlines of bodies that are being read, the oldest first.
        self._reading: OrderedDict[object, asyncio.Timeout] = OrderedDict()

    def application(self) -> web.Application:
        """The aiohttp application; operations are routed here: aiohttp routes decoded paths."""
        application = web.Application()
        application.on_shutdown.append(self._end_streams)
        application.router.add_get("/healthz", self.health)
        application.router.add_get("/metrics", self.metrics)
        # Line breaks too, which `.` is not.
        application.router.add_route("*", r"/{path:[\s\S]*}", self.answer)
        return application

    async def health(self, request: web.Request) -> web.Response:
        """Whether requests can be answered at present: 200 SERVING or 503 NOT_SERVING."""
        if not self._is_meant(request):
            return refusal(fault.misdirected())
        serving = await self._submission_serves()
        return web.json_response(
            {"status": "SERVING" if serving else "NOT_SERVING"}, status=200 if serving else 503
        )

    async def _submission_serves(self) -> bool:
        try:
            answer = await self._health.Check(
                health_pb2.HealthCheckRequest(), timeout=HEALTH_SECONDS
            )
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus metrics of this process."""
        if not self._is_meant(request):
            return refusal(fault.misdirected())
        body, content_type = exposition()
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def answer(self, request: web.Request) -> web.Response:
        """Any request of the API."""
        started = time.perf_counter()
        request_id = str(uuid.uuid4())
        path, _, query = request.raw_path.partition("?")
        segments = path.split("/")
        found = self._find(request, path, segments)
        operation = found if isinstance(found, Operation) else None
        name = operation.name if operation else NO_OPERATION
        names = operation.names if operation else BATCH
        own: Fault | None = None
        IN_HAND.inc()
        with structlog.contextvars.bound_contextvars(operation=name, request_id=request_id):
            try:
                own = self._refused(request)
                if own is not None:
                    response = refusal(own)
                elif isinstance(found, Fault):
                    own = found
                    response = refusal(own)
                else:
                    response = await self._serve(request, found, segments, query, request_id)
            except _BehindError as behind:
                response = refusal(Fault.of(behind.error, names))
            except _FaultError as error:
                own = error.answer
                response = refusal(own)
            except LongshoreError as error:
                own = Fault.of(error, names)
                response = refusal(own)
            except Exception:
                # Whatever it is, the caller gets AWS's form and the log gets the traceback.
                log.exception("http.failed")
                response = refusal(Fault.of(LongshoreError("unexpected"), names))
            finally:
                IN_HAND.dec()
            # Who is told to slow down was not heard at all.
            if own is not None and own.status != HTTPStatus.TOO_MANY_REQUESTS:
                await self._recording.refused(request, operation, own, request_id)
            if operation is not None and response.content_type == _JSON:
                response.content_type = operation.media_type
            response.headers["x-amzn-RequestId"] = request_id
            seconds = time.perf_counter() - started
            REQUESTS.labels(name, response.status).inc()
            SECONDS.labels(name).observe(seconds)
            log.info("http.answered", status=response.status, seconds=round(seconds, 6))
        return response

    def _find(self, request: web.Request, path: str, segments: list[str]) -> Operation | Fault:
        """The operation that is asked for, or why there is none."""
        target = request.headers.get("X-Amz-Target")
        if target is not None and request.method == "POST" and path == "/":
            return self._operations.target(target) or fault.unknown_target(target)
        routes = self._operations.routes(path, segments)
        route = routes.get(request.method)
        if route is not None:
            return route
        if routes:
            return fault.wrong_method(request.method, list(routes))
        return fault.unknown_operation(path)

    def _refused(self, request: web.Request) -> Fault | None:
        """Why a request is not even read, if so."""
        if self._working >= self._config.concurrency:
            return fault.too_many_requests()
        if not self._is_meant(request):
            return fault.misdirected()
        if not is_own(request.headers.get("Origin"), request.headers["Host"]):
            return fault.foreign_origin()
        return None

    def _is_meant(self, request: web.Request) -> bool:
        """Whether a request was sent to one of the gateway's names."""
        return is_known(request.headers.get("Host", ""), self._hosts)

    async def _serve(
        self,
        request: web.Request,
        operation: Operation,
        segments: list[str],
        query: str,
        request_id: str,
    ) -> web.Response:
        if operation.refusal is not None:
            raise operation.refusal.with_traceback(None)
        claim = None
        if self._authentication is not None:
            service = operation.source.partition(".")[0]
            claim = await self._authentication.begin(request, service)
        body = await self._body(request, operation)
        if self._working >= self._config.concurrency:
            raise _FaultError(fault.too_many_requests())
        self._working += 1
        try:
            told = metadata(request, request_id) + _trace(request.headers)
            if self._authentication is not None and claim is not None:
                told.append(self._authentication.finish(claim, body, operation.rpc))
                if claim.signed.life is not None:
                    # What was signed ahead has no header that says it.
                    told.append((REGION_KEY, claim.signed.scope.region))
            return await self._call(request, operation, segments, query, told, body)
        finally:
            self._working -= 1

    async def _call(
        self,
        request: web.Request,
        operation: Operation,
        segments: list[str],
        query: str,
        told: list[tuple[str, str]],
        body: bytes,
    ) -> web.Response:
        message = operation.read(segments, query, _decoded(body, operation.names))
        call = self._calls[operation.rpc]
        try:
            if operation.streams:
                # Refusals come in place of the first message, and are answered as any other.
                stream = call(message, metadata=told)
                async with asyncio.timeout(self._config.timeout_seconds):
                    first = await stream.read()
                return self._streamed(request, operation, stream, first)
            with continued(operation.name, request.headers):
                answer = await call(message, timeout=self._config.timeout_seconds, metadata=told)
        except grpc.aio.AioRpcError as error:
            failure = from_rpc_error(error)
            log.info("rpc.failed", code=error.code().name, error=failure.message)
            raise _BehindError(failure) from None
        except TimeoutError:
            stream.cancel()
            raise Unavailable("The service did not answer in time.") from None
        return _response(HTTPStatus.OK, operation.write(answer))

    def _streamed(
        self, request: web.Request, operation: Operation, stream: _Stream, first: Any
    ) -> web.Response:
        """The answer that goes on for as long as there are messages and the caller listens."""
        # aiohttp leaves what it could not send to the collector of garbage, which may come late;
        # but the connection's task always ends with the connection.
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(lambda _: self._end(stream))
        self._streams.add(stream)
        return web.Response(
            body=self._messages(request, operation, stream, first),
            content_type=event_stream.MEDIA_TYPE,
        )

    async def _messages(
        self, request: web.Request, operation: Operation, stream: _Stream, first: Any
    ) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        try:
            yield event_stream.event("initial-response", {})
            message = first
            while isinstance(message, operation.response_class):
                ((kind, value),) = operation.write(message).items()
                # Whoever does not take it in time is not there any more.
                deadline = loop.call_later(self._config.timeout_seconds, _abort, request)
                try:
                    yield event_stream.event(kind, value)
                finally:
                    deadline.cancel()
                message = await stream.read()
        except grpc.aio.AioRpcError as error:
            answer = Fault.of(from_rpc_error(error), operation.names)
            yield event_stream.failure(answer.code, answer.message)
        except asyncio.CancelledError:
            if stream in self._streams:
                raise
        finally:
            self._end(stream)

    def _end(self, stream: _Stream) -> None:
        """Ends an answer that goes on: nobody listens any more, or there is nothing more."""
        self._streams.discard(stream)
        stream.cancel()

    async def _end_streams(self, _application: web.Application) -> None:
        """Ends all answers that go on, when the gateway stops."""
        streams = list(self._streams)
        self._streams.clear()
        for stream in streams:
            stream.cancel()

    async def _body(self, request: web.Request, operation: Operation) -> bytes:
        """The whole body, within the limits of size and time.

        It takes no place from requests that were read. Of bodies as many are read at one time as
        requests are worked on: beyond, the one that has taken longest gives way, so senders that
        are slow keep nobody out.
        """
        encoding = request.headers.get("Content-Encoding", "identity")
        if encoding.strip().lower() != "identity":
            raise InvalidRequest(
                f"The request body must be sent as it is, not in Content-Encoding {encoding[:64]}."
            )
        limit, names = max(self._config.body_bytes, operation.body_bytes), operation.names
        if (request.content_length or 0) > limit:
            raise _FaultError(fault.oversize(limit, names))
        body, this, began = bytearray(), object(), time.monotonic()
        try:
            async with asyncio.timeout(self._config.timeout_seconds) as deadline:
                self._reading[this] = deadline
                self._give_way()
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > limit:
                        raise _FaultError(fault.oversize(limit, names))
        except TimeoutError:
            raise _FaultError(fault.too_slow(round(time.monotonic() - began, 1))) from None
        except (web.RequestPayloadError, ConnectionError):
            raise InvalidRequest("The request body is broken or incomplete.") from None
        finally:
            self._reading.pop(this, None)
        return bytes(body)

    def _give_way(self) -> None:
        """Ends the reading of the oldest bodies beyond as many as are read at one time."""
        while len(self._reading) > self._config.concurrency:
            _, deadline = self._reading.popitem(last=False)
            if not deadline.expired():
                deadline.reschedule(asyncio.get_running_loop().time())


def _trace(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """The caller's place in a trace, as far as it is one: what is none fails no call."""
    parent = parse_traceparent(headers.get("traceparent"), headers.get("tracestate"))
    if parent is None:
        return []
    state = [("tracestate", parent.state)] if parent.state else []
    return [("traceparent", parent.text), *state]


def _call_of(channel: grpc.aio.Channel, operation: Operation) -> _Call:
    make = channel.unary_stream if operation.streams else channel.unary_unary
    return make(
        operation.rpc,
        request_serializer=operation.request_class.SerializeToString,
        response_deserializer=operation.response_class.FromString,
    )


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _decoded(body: bytes, names: Names) -> Any:
    """The body's JSON; nothing at all means no members."""
    if not body.strip():
        return {}
    try:
        return strict_json.decode(body)
    except (ValueError, RecursionError):
        raise _FaultError(fault.not_json(names)) from None


def _response(status: int, value: Any) -> web.Response:
    try:
        body = msgspec.json.encode(value)
    except UnicodeEncodeError:
        # A message that repeats a caller's text may hold half a surrogate pair: no reason to fail.
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    return web.Response(status=status, body=body, content_type=_JSON)


def refusal(answer: Fault) -> web.Response:
    """An answer that is not success, in AWS's form."""
    response = _response(answer.status, answer.body())
    response.headers["x-amzn-errortype"] = answer.code
    response.headers.update(answer.headers)
    return response
