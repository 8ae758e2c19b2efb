"""A collector of traces: takes OTLP on gRPC as an OpenTelemetry collector does, and keeps it."""

import contextlib
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """What came, with the service that each span is of."""

    spans: list[tuple[str, Span]] = field(default_factory=list)
    url: str = ""

    def Export(self, request: Any, _: Any) -> Any:  # noqa: N802 - the service's own name
        """Takes a batch."""
        for of_resource in request.resource_spans:
            service = attributes(of_resource.resource)["service.name"]
            for of_scope in of_resource.scope_spans:
                self.spans += ((str(service), span) for span in of_scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, name: str) -> list[Span]:
        """The spans of a name."""
        return [span for _, span in self.spans if span.name == name]


def attributes(of: Any) -> dict[str, object]:
    """Attributes of a span or a resource, plain."""
    return {
        pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in of.attributes
    }


@contextlib.contextmanager
def collector() -> Iterator[Collector]:
    """One that listens while the context is open."""
    it = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(it, server)
    it.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield it
    finally:
        server.stop(None).wait()
