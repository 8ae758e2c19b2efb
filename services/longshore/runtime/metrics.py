"""Prometheus metrics of a process over HTTP."""

import contextlib
from collections.abc import Iterator

from prometheus_client import start_http_server

from longshore.domain.errors import Unavailable


@contextlib.contextmanager
def serve_metrics(address: str) -> Iterator[None]:
    """Serves `/metrics` at `host:port` while the context is open.

    Raises:
        Unavailable: the address cannot be listened on.
    """
    host, _, port = address.rpartition(":")
    try:
        server, thread = start_http_server(int(port), addr=host.strip("[]"))
    except OSError as error:
        raise Unavailable(f"Cannot listen on {address}: {error.strerror}.") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
