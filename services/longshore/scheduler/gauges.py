"""Gauges over the whole store, from the process that leads, read beside its ticks.

They are read at most every 15 seconds, and more seldom where reading takes long: never by a
scrape, which shows what was read last. Who does not lead shows none, so that no two processes show
the same. What instances cost is summed up from one reading to the next.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import structlog
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from longshore.scheduler.leading import Lead
from longshore.scheduler.measuring import forget_others
from longshore.state.pool import Pool, connection
from longshore.state.views import store_gauges
from longshore.state.views.store_gauges import StoreNow

log = structlog.get_logger()

#: Seconds between readings.
READ_SECONDS = 15.0
#: Of the time goes so much into reading at most.
_SHARE = 0.05
#: Longest time between two readings for which instances' cost is added: beyond, nobody led.
_GAP_SECONDS = 120.0
_UNFINISHED = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")


class StoreGauges(Collector):
    """What was read last, as Prometheus reads it."""

    def __init__(self, pool: Pool, lead: Lead, registry: CollectorRegistry = REGISTRY) -> None:
        """Makes and registers the gauges.

        Args:
            pool: connections to PostgreSQL.
            lead: whether this process leads.
            registry: where they are shown.
        """
        self._pool = pool
        self._lead = lead
        self._registry = registry
        self._now: StoreNow | None = None
        self._read_at = 0.0
        self._due_at = 0.0
        #: US dollars by environment and purchase option, and of instances that ran nothing.
        self._cost: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._idle: defaultdict[tuple[str, str], float] = defaultdict(float)
        registry.register(self)

    def close(self) -> None:
        """Shows nothing any more."""
        self._registry.unregister(self)

    async def tick(self) -> None:
        """Reads the store if that is due.

        Raises:
            Unavailable: the database is away; until it is read again nothing is shown.
        """
        started = time.monotonic()
        if not self._lead.held:
            self._now = None
            return
        if started < self._due_at:
            return
        before, self._now = self._now, None
        try:
            async with connection(self._pool) as conn:
                found = await store_gauges.read(conn)
        finally:
            ended = time.monotonic()
            self._due_at = ended + (ended - started) / _SHARE
        if before is not None and started - self._read_at < _GAP_SECONDS:
            self._add_cost(before, started - self._read_at)
        self._now, self._read_at = found, started
        environments = {e.compute_environment for e in found.capacity}
        forget_others({queue.name for queue in found.queues}, environments)
        for costs in (self._cost, self._idle):
            for key in [key for key in costs if key[0] not in environments]:
                del costs[key]

    def _add_cost(self, now: StoreNow, seconds: float) -> None:
        for some in now.instances:
            key = (some.compute_environment, some.purchase_option)
            self._cost[key] += some.cost_per_hour * seconds / 3600
            self._idle[key] += some.idle_per_hour * seconds / 3600

    def describe(self) -> Iterable[Metric]:
        """What there is, without values."""
        return _Families().all()

    def collect(self) -> Iterator[Metric]:
        """What was read last, while this process leads."""
        now = self._now
        if now is None or not self._lead.held:
            return
        families = _Families()
        families.show_queues(now)
        families.show_capacity(now)
        for labels, dollars in list(self._cost.items()):
            families.cost.add_metric(labels, dollars)
            families.idle.add_metric(labels, self._idle[labels])
        yield from families.all()


class _Families:
    """What is shown, without values at first."""

    def __init__(self) -> None:
        self.jobs = GaugeMetricFamily(
            "longshore_queue_jobs",
            "Unfinished jobs and children of arrays; an array that waits for other jobs is one.",
            labels=["queue", "status"],
        )
        self.oldest = GaugeMetricFamily(
            "longshore_queue_oldest_runnable_seconds",
            "For how long the job has been RUNNABLE that has been so for longest; 0 if none is.",
            labels=["queue"],
        )
        self.blocked = GaugeMetricFamily(
            "longshore_queue_blocked",
            "1 while the next job of a queue cannot run, by AWS Batch's code of the reason.",
            labels=["queue", "reason"],
        )
        self.capacity = GaugeMetricFamily(
            "longshore_capacity_vcpus",
            "vCPUs of instances that are busy, idle, booting, draining or unfit, those that are "
            "wanted, and those that there may be at most: max.",
            labels=["environment", "state"],
        )
        self.instances = GaugeMetricFamily(
            "longshore_instances",
            "Instances that are not over, machines that joined by themselves included.",
            labels=["environment", "type", "zone", "option", "status"],
        )
        self.cost = CounterMetricFamily(
            "longshore_cost_usd_total",
            "US dollars that instances cost while this process led, by their prices an hour.",
            labels=["environment", "option"],
        )
        self.idle = CounterMetricFamily(
            "longshore_cost_idle_usd_total",
            "The part of longshore_cost_usd_total for instances on which nothing ran.",
            labels=["environment", "option"],
        )

    def all(self) -> list[Metric]:
        """Each of them."""
        return [
            *(self.jobs, self.oldest, self.blocked),
            *(self.capacity, self.instances, self.cost, self.idle),
        ]

    def show_queues(self, now: StoreNow) -> None:
        """Adds what there is of queues."""
        at = datetime.now(UTC)
        for queue in now.queues:
            for status in _UNFINISHED:
                number = now.jobs.get((queue.name, status), 0)
                self.jobs.add_metric([queue.name, status], number)
            since = queue.runnable_since
            waited = 0.0 if since is None else max((at - since).total_seconds(), 0.0)
            self.oldest.add_metric([queue.name], waited)
            if queue.blocked_by is not None:
                self.blocked.add_metric([queue.name, queue.blocked_by], 1)

    def show_capacity(self, now: StoreNow) -> None:
        """Adds what there is of environments."""
        for one in now.capacity:
            vcpus = {
                "busy": one.busy.vcpus,
                "idle": one.idle.vcpus,
                "booting": one.booting.vcpus,
                "draining": one.draining.vcpus,
                "unfit": one.unfit.vcpus,
                "wanted": one.desiredv_cpus,
                "max": one.maxv_cpus,
            }
            for state, number in vcpus.items():
                self.capacity.add_metric([one.compute_environment, state], number)
        for some in now.instances:
            labels = [
                *(some.compute_environment, some.instance_type, some.zone),
                *(some.purchase_option, some.status),
            ]
            self.instances.add_metric(labels, some.number)
