"""Traces of OpenTelemetry: the spans of this process, sent to a collector, if it is told of one.

Nothing of OpenTelemetry is imported otherwise: it is an extra, and large. Rpcs become spans, and
the statements that an rpc makes on the database; neither health checks nor streams, which are open
for as long as a process lives, nor what a process does by itself, over and over.
"""

# A service starts without any of OpenTelemetry unless traces are on.
# ruff: noqa: PLC0415
from __future__ import annotations

import contextlib
import functools
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import structlog

from longshore.domain.errors import PreconditionFailed
from longshore.domain.job.trace import SpanContext, TracedSpan
from longshore.runtime.config import ConfigError, Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import SpanContext as OtelContext
    from opentelemetry.trace import Tracer

log = structlog.get_logger()

#: Spans that wait for the collector, and that go to it in one call; what is beyond is dropped.
QUEUE_SPANS = 50_000
BATCH_SPANS = 1_000
#: Seconds between calls of the collector, and how long it has to answer one.
SEND_SECONDS = 2.0
ANSWER_SECONDS = 3


@dataclass(frozen=True, slots=True)
class TracesConfig:
    """Where traces go."""

    #: URL of a collector that takes OTLP on gRPC; empty: there are no traces.
    endpoint: str = ""
    #: Which share of traces is kept that nobody else has decided about.
    ratio: float = 1.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads the settings.

        - LONGSHORE_TRACES_ENDPOINT: `http://HOST:PORT` (`https` with TLS) of an OpenTelemetry
          collector that takes OTLP on gRPC; none unless set, and then the extra `longshore[otel]`
          is needed;
        - LONGSHORE_TRACES_PERCENT (100): which share of traces is kept, by their ids, where whoever
          calls or submits has not decided; traces of failed jobs are kept in any case.
        """
        settings = Settings(environ)
        endpoint = settings.text("LONGSHORE_TRACES_ENDPOINT", "")
        percent = settings.integer("LONGSHORE_TRACES_PERCENT", 100, 0, 100)
        if endpoint and not _is_url(endpoint):
            raise ConfigError(
                f"LONGSHORE_TRACES_ENDPOINT is {endpoint!r}; it must be http://HOST:PORT or "
                "https://HOST:PORT."
            )
        return cls(endpoint, percent / 100)

    @property
    def ratio_of_jobs(self) -> float | None:
        """Which share of jobs' traces is kept; None: none are made."""
        return self.ratio if self.endpoint else None


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname and parts.port)
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class _Traces:
    """What makes and sends spans, while traces are on."""

    tracer: Tracer
    resource: Resource
    send: Callable[[ReadableSpan], None]


_traces: _Traces | None = None


def export(span: TracedSpan) -> None:
    """Sends a span that was made of recorded times; nothing where traces are off."""
    if _traces is not None:
        _traces.send(_readable(span, _traces.resource))


@contextlib.contextmanager
def continued(name: str, headers: Mapping[str, str]) -> Iterator[None]:
    """Makes a span of a request that came over HTTP, within its caller's trace.

    Args:
        name: of the span.
        headers: that came, as any case writes their names.
    """
    if _traces is None:
        yield
        return
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {
        name: value for name in ("traceparent", "tracestate") if (value := headers.get(name))
    }
    caller = TraceContextTextMapPropagator().extract(carrier)
    with _traces.tracer.start_as_current_span(name, context=caller, kind=SpanKind.SERVER):
        yield


@contextlib.contextmanager
def tracing(service: str, config: TracesConfig) -> Iterator[None]:
    """Makes spans of this process while the context is open, if there is a collector.

    Raises:
        PreconditionFailed: there is one, and OpenTelemetry is not installed.
    """
    if not config.endpoint:
        yield
        return
    try:
        stop = _start(service, config)
    except ImportError as error:
        raise PreconditionFailed(
            f"LONGSHORE_TRACES_ENDPOINT is set, and {error.name} is not installed; install "
            "longshore[otel], or unset it."
        ) from error
    log.info("traces.on", endpoint=config.endpoint, ratio=config.ratio)
    try:
        yield
    finally:
        stop()


def _start(service: str, config: TracesConfig) -> Callable[[], None]:
    """Begins; returns what sends the rest and ends it."""
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
    from opentelemetry.instrumentation.grpc import (
        GrpcAioInstrumentorClient,
        GrpcAioInstrumentorServer,
    )
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased

    exporter = OTLPSpanExporter(
        config.endpoint,
        insecure=config.endpoint.startswith("http://"),
        timeout=ANSWER_SECONDS,
    )
    processor = BatchSpanProcessor(
        exporter,
        max_queue_size=QUEUE_SPANS,
        max_export_batch_size=BATCH_SPANS,
        schedule_delay_millis=SEND_SECONDS * 1000,
    )
    provider = TracerProvider(
        sampler=ParentBased(_calls_only(config.ratio)),
        resource=Resource.create(
            {
                "service.name": f"longshore-{service}",
                "service.version": version("longshore"),
                "host.name": socket.gethostname(),
            }
        ),
    )
    provider.add_span_processor(processor)
    instrumentors: list[Any] = [
        GrpcAioInstrumentorServer(filter_=_is_traced),  # type: ignore[no-untyped-call]
        GrpcAioInstrumentorClient(filter_=_is_traced),  # type: ignore[no-untyped-call]
        AsyncPGInstrumentor(),  # type: ignore[no-untyped-call]
    ]
    for one in instrumentors:
        one.instrument(tracer_provider=provider)
    global _traces  # noqa: PLW0603 - of the process, as the instrumentation is
    _traces = _Traces(provider.get_tracer("longshore"), provider.resource, processor.on_end)

    def stop() -> None:
        global _traces  # noqa: PLW0603
        _traces = None
        for one in instrumentors:
            one.uninstrument()
        provider.shutdown()

    return stop


def _readable(span: TracedSpan, resource: Resource) -> ReadableSpan:
    """A span as the exporter takes it."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Link
    from opentelemetry.trace.status import Status, StatusCode

    parent = None
    if span.parent_id is not None:
        parent = _context(SpanContext(span.context.trace_id, span.parent_id))
    return ReadableSpan(
        span.name,
        context=_context(span.context),
        parent=parent,
        resource=resource,
        attributes=span.attributes,
        events=[Event(name, timestamp=_nanoseconds(at)) for at, name in span.events],
        links=[] if span.link is None else [Link(_context(span.link))],
        status=Status() if span.error is None else Status(StatusCode.ERROR, span.error),
        start_time=_nanoseconds(span.started_at),
        end_time=_nanoseconds(span.ended_at),
    )


def _context(context: SpanContext) -> OtelContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )


def _nanoseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000) * 1_000


def _calls_only(ratio: float) -> Sampler:
    """Keeps a share of the traces that begin with a call; others there are none of."""
    from opentelemetry.sdk.trace.sampling import (
        Decision,
        Sampler,
        SamplingResult,
        TraceIdRatioBased,
    )
    from opentelemetry.trace import SpanKind

    class CallsOnly(Sampler):
        """What a process does by itself, such as a tick's statements, belongs to no trace."""

        def __init__(self) -> None:
            self._calls = TraceIdRatioBased(ratio)

        def should_sample(
            self,
            parent_context: Any,
            trace_id: int,
            name: str,
            kind: SpanKind | None = None,
            attributes: Any = None,
            links: Any = None,
            trace_state: Any = None,
        ) -> SamplingResult:
            if kind is not SpanKind.SERVER and "rpc.system" not in (attributes or {}):
                return SamplingResult(Decision.DROP)
            return self._calls.should_sample(
                parent_context, trace_id, name, kind, attributes, links, trace_state
            )

        def get_description(self) -> str:
            return f"calls only, {self._calls.get_description()}"

    return CallsOnly()


def _is_traced(details: Any) -> bool:
    method = details.method
    return _is_unary(method.decode() if isinstance(method, bytes) else method)


@functools.lru_cache(maxsize=1024)
def _is_unary(method: str) -> bool:
    """Whether a method is one of longshore's that answers once."""
    from google.protobuf import descriptor_pool

    if not method.startswith("/longshore."):
        return False
    try:
        found = descriptor_pool.Default().FindMethodByName(method[1:].replace("/", "."))
    except KeyError:
        return False
    return not (found.client_streaming or found.server_streaming)
