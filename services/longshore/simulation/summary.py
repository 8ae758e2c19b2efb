"""What came of a simulation: one summary of all figures."""

from collections.abc import Sequence

import msgspec
import numpy as np

from longshore.domain.consumable import NON_REPLENISHABLE, REPLENISHABLE
from longshore.simulation.driver import Simulation
from longshore.simulation.duration import SECOND


class _SummaryPart(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of the summary; costs in US dollars."""


class JobsSummary(_SummaryPart, frozen=True):
    """Jobs and children by how they ended."""

    total: int
    succeeded: int
    failed: int
    unfinished: int
    attempts_retried: int


class WaitSummary(_SummaryPart, frozen=True):
    """Seconds from RUNNABLE to the first attempt; None where no job of the queue was started."""

    queue: str
    started: int
    median_seconds: float | None
    p95_seconds: float | None
    max_seconds: float | None


class ShareReport(_SummaryPart, frozen=True):
    """What the attempts of a share held, in a queue with a policy."""

    queue: str
    share_identifier: str
    weight_factor: float
    vcpu_seconds: float


class ConsumableReport(_SummaryPart, frozen=True):
    """A consumable resource."""

    name: str
    resource_type: str
    #: At the end: of what is used up, what is left.
    total_quantity: int
    peak_in_use: int
    #: Units that jobs were given, one that is retried each time.
    given: int


class EnvironmentReport(_SummaryPart, frozen=True):
    """What one compute environment had and cost."""

    name: str
    type: str
    allocation_strategy: str | None
    status: str
    status_reason: str
    instances: int
    cost: float
    #: Of it, for the time in which nothing ran on an instance, boot included.
    idle_cost: float
    #: Share of the vCPUs that were there, over time, that attempts held.
    vcpu_utilisation: float
    maxv_cpus: int
    peak_vcpus: float
    interruptions: int
    failed_instances: int


class TypeReport(_SummaryPart, frozen=True):
    """Instances of a type that were launched."""

    instance_type: str
    purchase_option: str
    instances: int


class BlockedReport(_SummaryPart, frozen=True):
    """Jobs that still wait."""

    queue: str
    jobs: int
    reason: str


class ActivityReport(_SummaryPart, frozen=True):
    """A decision that did something."""

    at_seconds: float
    compute_environment: str
    desiredv_cpus: int
    ordered: int
    terminated: int
    reason: str


class Summary(_SummaryPart, frozen=True):
    """Everything."""

    workload: str
    seed: int
    strategies: dict[str, str | None]
    #: Whether every job ended.
    is_complete: bool
    #: From the first submission to the last end of an attempt.
    makespan_seconds: float
    simulated_seconds: float
    jobs: JobsSummary
    waits: list[WaitSummary]
    shares: list[ShareReport]
    consumable_resources: list[ConsumableReport]
    cost: float
    idle_cost: float
    vcpu_utilisation: float
    peak_vcpus: float
    interruptions: int
    capacity_errors: int
    decisions: int
    compute_environments: list[EnvironmentReport]
    instance_types: list[TypeReport]
    blocked: list[BlockedReport]
    activities: list[ActivityReport]


def summarise(simulation: Simulation) -> Summary:
    """The figures of a simulation that was run."""
    backlog, fleet, prepared = simulation.backlog, simulation.fleet, simulation.prepared
    bills = fleet.bills
    first_us = prepared.jobs[0].submit_us if prepared.jobs else 0
    environments = [_environment(simulation, name) for name in prepared.environments]
    types: dict[tuple[str, str], int] = {}
    for bill in bills.values():
        for key, count in bill.by_type.items():
            types[key] = types.get(key, 0) + count
    return Summary(
        workload=prepared.workload.name,
        seed=simulation.seed,
        strategies={e.name: e.allocation_strategy for e in environments},
        is_complete=simulation.is_complete,
        makespan_seconds=max(simulation.last_end_us - first_us, 0) / SECOND,
        simulated_seconds=simulation.clock.us / SECOND,
        jobs=JobsSummary(
            total=backlog.succeeded + backlog.failed + backlog.unfinished,
            succeeded=backlog.succeeded,
            failed=backlog.failed,
            unfinished=backlog.unfinished,
            attempts_retried=backlog.retries,
        ),
        waits=[_wait(queue.name, backlog.waits.get(queue.name, [])) for queue in prepared.queues],
        consumable_resources=[
            ConsumableReport(
                name=name,
                resource_type=REPLENISHABLE if one.is_replenishable else NON_REPLENISHABLE,
                total_quantity=one.total,
                peak_in_use=simulation.consuming.peak[name],
                given=simulation.consuming.given[name],
            )
            for name, one in simulation.consuming.stock.resources.items()
        ],
        shares=[
            ShareReport(
                queue=queue,
                share_identifier=share,
                weight_factor=prepared.policies[queue].weight(share),
                vcpu_seconds=milli_us / 1000 / SECOND,
            )
            for (queue, share), milli_us in sorted(simulation.shares.held.items())
        ],
        cost=_money(sum(bill.cost for bill in bills.values())),
        idle_cost=_money(sum(bill.idle_cost for bill in bills.values())),
        vcpu_utilisation=_share(
            sum(bill.used for bill in bills.values()), sum(bill.there for bill in bills.values())
        ),
        peak_vcpus=fleet.peak_milli / 1000,
        interruptions=sum(bill.interruptions for bill in bills.values()),
        capacity_errors=simulation.scaler.shortages,
        decisions=simulation.scaler.decisions,
        compute_environments=environments,
        instance_types=[
            TypeReport(instance_type=name, purchase_option=option, instances=count)
            for (name, option), count in sorted(types.items())
        ],
        blocked=[
            BlockedReport(queue=b.queue, jobs=b.jobs, reason=b.reason) for b in simulation.blocked
        ],
        activities=[
            ActivityReport(
                at_seconds=a.at_us / SECOND,
                compute_environment=a.compute_environment,
                desiredv_cpus=a.desiredv_cpus,
                ordered=a.ordered,
                terminated=a.terminated,
                reason=a.reason,
            )
            for a in simulation.scaler.activities
        ],
    )


def _environment(simulation: Simulation, name: str) -> EnvironmentReport:
    state, bill = simulation.environments[name], simulation.fleet.bills[name]
    resources = state.stored.detail.get("computeResources") or {}
    kind = state.stored.resource_type or ""
    return EnvironmentReport(
        name=name,
        type=kind,
        allocation_strategy=None
        if kind.startswith("FARGATE")
        else resources.get("allocationStrategy", "BEST_FIT"),
        status=state.status,
        status_reason=state.status_reason,
        instances=bill.instances,
        cost=_money(bill.cost),
        idle_cost=_money(bill.idle_cost),
        vcpu_utilisation=_share(bill.used, bill.there),
        maxv_cpus=state.stored.maxv_cpus or 0,
        peak_vcpus=simulation.fleet.gauges[name].peak / 1000,
        interruptions=bill.interruptions,
        failed_instances=bill.failures,
    )


def _wait(queue: str, waits: Sequence[int]) -> WaitSummary:
    if not waits:
        return WaitSummary(
            queue=queue, started=0, median_seconds=None, p95_seconds=None, max_seconds=None
        )
    seconds = np.asarray(waits, dtype=np.int64) / SECOND
    median, p95 = np.percentile(seconds, [50, 95])
    return WaitSummary(
        queue=queue,
        started=len(waits),
        median_seconds=round(float(median), 6),
        p95_seconds=round(float(p95), 6),
        max_seconds=round(float(seconds.max()), 6),
    )


def _money(dollars: float) -> float:
    return round(dollars, 6)


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
