"""Prometheus metrics of a process over HTTP."""

import contextlib
import importlib.metadata
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    Info,
    disable_created_metrics,
    generate_latest,
    start_http_server,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from longshore.domain.errors import Unavailable

# Each counter and histogram would have another series with the time of its first value.
disable_created_metrics()  # type: ignore[no-untyped-call]

#: Bounds of durations, in seconds: from what is quick to a day.
LONG_BUCKETS = (
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 150.0, 300.0, 900.0),
    *(1_800.0, 3_600.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0),
)

BUILD = Info("longshore_build", "Version of longshore that this process is of.")
BUILD.info({"version": importlib.metadata.version("longshore")})


class Durations(Collector):
    """A histogram of seconds into which many alike values go at once.

    Ten thousand children of an array become RUNNABLE after the same time: that is one addition.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        buckets: Sequence[float] = LONG_BUCKETS,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        """Makes and registers a histogram.

        Args:
            name: with its unit.
            documentation: what is measured.
            labels: names of its labels.
            buckets: upper bounds in seconds, rising.
            registry: where it is shown.
        """
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._bounds = tuple(buckets)
        self._names = [*map(floatToGoString, self._bounds), "+Inf"]
        #: By values of labels: how many are in each bucket and beyond the last, then the sum.
        self._rows: dict[tuple[str, ...], list[float]] = {}
        registry.register(self)

    def observe(self, labels: tuple[str, ...], seconds: float, number: int = 1) -> None:
        """Adds so many values that are all the same."""
        row = self._row(labels)
        # No time is shorter than nothing, whatever clocks say: a sum that falls is a reset.
        seconds = max(seconds, 0.0)
        row[bisect_left(self._bounds, seconds)] += number
        row[-1] += seconds * number

    def observe_each(self, labels: tuple[str, ...], seconds: Iterable[float]) -> None:
        """Adds values, each once."""
        row, bounds, total = self._row(labels), self._bounds, 0.0
        for one in seconds:
            row[bisect_left(bounds, one)] += 1
            if one > 0:
                total += one
        row[-1] += total

    def _row(self, labels: tuple[str, ...]) -> list[float]:
        row = self._rows.get(labels)
        if row is None:
            row = self._rows[labels] = [0.0] * (len(self._names) + 1)
        return row

    def forget(self, label: str, value: str) -> None:
        """Shows no more what has a value in a label."""
        position = self._labels.index(label)
        for labels in [labels for labels in self._rows if labels[position] == value]:
            del self._rows[labels]

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """What it is, without values."""
        yield HistogramMetricFamily(self._name, self._documentation, labels=self._labels)

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """All values; a scrape is on a thread of its own, and sees each row as it was at once."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, row in list(self._rows.items()):
            *counts, total = list(row)
            summed = list(zip(self._names, accumulate(counts), strict=True))
            family.add_metric(labels, summed, total)
        yield family


class Departures:
    """Finds whose series are to go: what was missing in two readings one after the other.

    Of what came only after a reading had begun, the next one knows.
    """

    def __init__(self) -> None:
        self._missing: set[str] = set()

    def gone(self, counted: Iterable[str], there: Container[str]) -> set[str]:
        """Those of some that are gone.

        Args:
            counted: of what there are series.
            there: what a reading found.
        """
        missing = {name for name in counted if name not in there}
        gone = missing & self._missing
        self._missing = missing - gone
        return gone


def exposition() -> tuple[bytes, str]:
    """All metrics of this process, and the type of that text."""
    return generate_latest(), CONTENT_TYPE_LATEST


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
