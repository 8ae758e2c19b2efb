"""Consumable resources in virtual time."""

from typing import Any

import pytest
from unit.simulation.building import (
    a_queue,
    a_workload,
    an_environment,
    jobs,
    simulate,
    summary,
)

from longshore.domain.errors import InvalidRequest
from longshore.simulation.prepare import prepare
from longshore.simulation.report import to_text
from longshore.simulation.workload import Workload

ENVIRONMENT = an_environment(maxvCpus=64, instanceTypes=["c6i.xlarge"])


def needing(name: str, quantity: int = 1, resource: str = "licence", **members: Any) -> Any:
    """Jobs that need units."""
    need = {"consumableResource": resource, "quantity": quantity}
    return jobs(name, consumableResourceList=[need], **members)


def a_stock(*parts: Any, total: int = 4, kind: str = "REPLENISHABLE", **members: Any) -> Workload:
    resource = {"name": "licence", "totalQuantity": total, "resourceType": kind}
    given = {"computeEnvironments": [ENVIRONMENT], "consumableResources": [resource]}
    return a_workload(*parts, **given | members)


def test_no_more_runs_than_there_are_units_for() -> None:
    run = simulate(a_stock(needing("a", 2, arraySize=10, duration=600)))
    assert run.is_complete
    assert run.backlog.succeeded == 10
    assert run.consuming.peak["licence"] == 4
    assert run.consuming.given["licence"] == 20
    assert not run.consuming.stock.held
    # Two at a time: five times ten minutes.
    assert run.last_end_us >= 5 * 600 * 1_000_000


def test_nothing_is_launched_for_what_lacks_units() -> None:
    workload = a_stock(
        needing("a", 4, duration=3600), needing("b", 1, arraySize=50, at=60, duration=60)
    )
    found = summary(workload)
    assert found.is_complete
    # For one job, then for four at a time: never for fifty.
    assert found.compute_environments[0].peak_vcpus <= 8


def test_units_are_used_up_for_good() -> None:
    workload = a_stock(needing("a", count=7), total=5, kind="NON_REPLENISHABLE", until="1d")
    found = summary(workload)
    assert found.jobs.succeeded == 5
    (one,) = found.consumable_resources
    assert (one.total_quantity, one.peak_in_use, one.given) == (0, 0, 5)
    (blocked,) = found.blocked
    assert blocked.jobs == 2
    assert "1 of licence: 0 of 0 available" in blocked.reason
    assert "NON_REPLENISHABLE" in to_text(found)


def test_what_is_retried_uses_up_units_again() -> None:
    part = needing("a", count=20, attempts=3, failureRate=0.5)
    run = simulate(a_stock(part, total=100, kind="NON_REPLENISHABLE"))
    tries = run.backlog.succeeded + run.backlog.failed + run.backlog.retries
    assert run.backlog.retries
    assert run.consuming.stock.resources["licence"].total == 100 - tries


def test_a_job_that_needs_much_is_not_overtaken_for_ever() -> None:
    """A stream of small jobs keeps units busy; the large one gets all of them soon."""
    stream = needing("small", repeat={"every": 36, "lasting": "6h"}, duration=120)
    large = needing("large", 4, at="1h", duration=60)
    run = simulate(a_stock(stream, large))
    assert run.is_complete
    assert max(run.backlog.waits["q"]) < 10 * 60 * 1_000_000


def test_what_can_never_run_holds_up_nobody() -> None:
    found = summary(a_stock(needing("never", 5), needing("small", count=20, at="10m"), until="1d"))
    assert found.jobs.succeeded == 20
    (blocked,) = found.blocked
    assert "there must be more of it in all" in blocked.reason


def test_multi_node_jobs_and_shares_in_the_mix() -> None:
    queues = [a_queue(schedulingPolicy="p"), a_queue("plain")]
    parts = [
        needing("a", 1, arraySize=100, duration=90, shareIdentifier="a"),
        needing("b", 2, arraySize=100, duration=60, shareIdentifier="b"),
        needing("n", 3, nodes=3, count=5, vcpus=4, duration=300, shareIdentifier="b"),
        needing("c", 1, queue="plain", arraySize=100, duration=45),
        jobs("free", queue="plain", arraySize=100, duration=45),
    ]
    run = simulate(a_stock(*parts, queues=queues, schedulingPolicies=[{"name": "p"}], until="10d"))
    assert run.is_complete
    assert run.consuming.peak["licence"] <= 4
    assert run.consuming.given["licence"] == 100 + 200 + 15 + 100
    assert not run.consuming.stock.held


@pytest.mark.parametrize(
    ("part", "members", "text"),
    [
        (needing("a", resource="none"), {}, "there is no consumable resource 'none'"),
        (
            jobs(
                consumableResourceList=[{"consumableResource": "licence", "quantity": 1}] * 2,
            ),
            {},
            "'licence' is named twice",
        ),
        (
            jobs(),
            {"consumableResources": [{"name": "x", "totalQuantity": 1}] * 2},
            "there are two consumable resources 'x'",
        ),
    ],
)
def test_wrong_files_are_refused(part: Any, members: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        prepare(a_stock(part, **members))


def test_a_cap_and_the_units_both_bound_what_runs() -> None:
    found = summary(
        a_stock(
            needing("capped", arraySize=6, maxRunning=2, duration=100),
            needing("others", arraySize=6, duration=100),
            total=3,
        )
    )
    # From 60 s on two and one at a time, until the capped ones are over; then three.
    assert (found.makespan_seconds, found.peak_vcpus) == (460, 4)
    assert found.consumable_resources[0].peak_in_use == 3
    assert found.jobs.succeeded == 12


def test_what_lacks_units_takes_no_place_within_the_cap_of_its_queue() -> None:
    """Else nothing is ordered for what is behind it."""
    found = summary(
        a_stock(
            needing("starved", count=5, duration=100),
            jobs("others", count=4, duration=100),
            total=0,
            queues=[a_queue(maxRunning=2)],
            until="1h",
        )
    )
    assert (found.jobs.succeeded, found.peak_vcpus) == (4, 4)
