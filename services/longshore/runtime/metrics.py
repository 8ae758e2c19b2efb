"""Prometheus metrics of a process over HTTP."""

import contextlib
from collections.abc import Iterator

from prometheus_client import start_http_server


@contextlib.contextmanager
def serve_metrics(address: str) -> Iterator[None]:
    """Serves `/metrics` at `host:port` while the context is open."""
    host, _, port = address.rpartition(":")
    server, thread = start_http_server(int(port), addr=host.strip("[]"))
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
