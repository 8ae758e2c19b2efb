"""Whole simulations: small ones worked out by hand, and what must hold in every one."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.simulation.building import a_queue, a_workload, an_environment, jobs, simulate, summary

from longshore.simulation.report import to_json

SECOND = 1_000_000


def test_a_small_case_worked_out_by_hand() -> None:
    """Two instances for six jobs: four run from 60 s on, the other two from 360 s on.

    One instance is idle from 360 s on and goes at 420 s, the other one at 660 s and 720 s.
    """
    found = summary(a_workload(jobs(count=6)))
    assert found.makespan_seconds == 660
    assert found.simulated_seconds == 720
    assert found.cost == pytest.approx(0.085 * (420 + 720) / 3600, abs=1e-6)
    assert found.idle_cost == pytest.approx(0.085 * (60 + 60 + 60 + 60) / 3600, abs=1e-6)
    assert found.vcpu_utilisation == pytest.approx(6 * 300 / (2 * (420 + 720)), abs=1e-6)
    assert (found.jobs.succeeded, found.jobs.failed, found.jobs.unfinished) == (6, 0, 0)
    assert (found.waits[0].median_seconds, found.waits[0].max_seconds) == (60, 360)
    assert found.peak_vcpus == 4
    assert [(t.instance_type, t.instances) for t in found.instance_types] == [("c6i.large", 2)]


def test_an_instance_costs_at_least_the_least_time_that_is_billed() -> None:
    found = summary(
        a_workload(
            jobs(duration=1),
            market={"boot": 1, "minimumBilled": 3600},
            settings={"idle": 5},
        )
    )
    assert found.cost == pytest.approx(0.085)


def test_a_submission_later_on_is_ordered_for_at_once_not_at_the_next_interval() -> None:
    found = summary(a_workload(jobs(at="1h"), settings={"gather": 0.5}))
    assert found.waits[0].max_seconds == 60.5


def short_of_large(strategy: str) -> Any:
    """Two types may be had; of the cheaper one there is none for an hour."""
    return summary(
        a_workload(
            jobs(count=2, vcpus=2),
            computeEnvironments=[
                an_environment(
                    instanceTypes=["c6i.large", "m6i.large"], allocationStrategy=strategy
                )
            ],
            market={"shortages": [{"instanceTypes": ["c6i.large"], "ends": "1h"}]},
        )
    )


def test_best_fit_waits_for_its_type() -> None:
    found = short_of_large("BEST_FIT")
    assert [t.instance_type for t in found.instance_types] == ["c6i.large"]
    assert 3600 <= found.waits[0].median_seconds - 60 <= 3600 + 60 + 10.2
    assert found.capacity_errors > 1


def test_best_fit_progressive_switches_to_another_type() -> None:
    found = short_of_large("BEST_FIT_PROGRESSIVE")
    assert [t.instance_type for t in found.instance_types] == ["m6i.large"]
    assert found.waits[0].median_seconds == 60


def test_a_pool_of_limited_size_leaves_the_rest_to_the_next_environment() -> None:
    found = summary(
        a_workload(
            jobs(count=4),
            computeEnvironments=[
                an_environment("A"),
                an_environment("B", instanceTypes=["m6i.large"]),
            ],
            queues=[a_queue("q", "A", "B")],
            market={"pools": [{"instanceTypes": ["c6i"], "size": 1}]},
        )
    )
    assert {t.instance_type: t.instances for t in found.instance_types} == {
        "c6i.large": 1,
        "m6i.large": 1,
    }


def interrupted(**members: Any) -> Any:
    """Jobs of an hour on spot instances that are interrupted every quarter of an hour or so."""
    return summary(
        a_workload(
            jobs(count=4, duration="10m", **members),
            computeEnvironments=[
                an_environment(type="SPOT", allocationStrategy="SPOT_CAPACITY_OPTIMIZED")
            ],
            market={
                "pools": [{"purchaseOption": "SPOT", "interruptionsPerHour": 6}],
                "minimumBilled": 0,
            },
        )
    )


def test_an_interruption_ends_attempts_and_they_are_tried_again() -> None:
    found = interrupted(attempts=10)
    assert found.interruptions > 0
    assert found.jobs.attempts_retried > 0
    assert found.jobs.succeeded == 4


def test_an_interrupted_job_without_more_attempts_fails() -> None:
    found = interrupted()
    assert found.jobs.failed > 0
    assert found.jobs.attempts_retried == 0
    assert found.is_complete


def test_retries_go_by_evaluate_on_exit() -> None:
    """Only the loss of the host is worth another try; every attempt exits with 1."""
    rules = [
        {"action": "RETRY", "onStatusReason": "Host EC2*"},
        {"action": "EXIT", "onReason": "*"},
    ]
    always = {"failureRate": 1, "duration": 10, "attempts": 5}
    assert summary(a_workload(jobs(**always))).jobs.attempts_retried == 4
    found = summary(a_workload(jobs(**always, evaluateOnExit=rules)))
    assert (found.jobs.failed, found.jobs.attempts_retried) == (1, 0)


def test_instances_go_at_the_latest_an_interval_after_their_idle_delay() -> None:
    simulation = simulate(
        a_workload(jobs(count=40, duration={"distribution": "lognormal", "median": 100}))
    )
    idle, interval, gather = 60, 10, 0.1
    assert not simulation.fleet.members
    assert simulation.clock.us <= simulation.last_end_us + (idle + interval + gather) * SECOND


def test_minv_cpus_stay_and_the_simulation_ends_all_the_same() -> None:
    simulation = simulate(
        a_workload(jobs(), computeEnvironments=[an_environment(minvCpus=2, maxvCpus=4)])
    )
    assert simulation.is_complete
    assert sum(m.kind.vcpus for m in simulation.fleet.members.values()) == 2
    assert simulation.clock.us < 3600 * SECOND


def test_spot_instances_kept_for_minv_cpus_do_not_keep_it_going() -> None:
    """They would be interrupted and replaced for ever."""
    simulation = simulate(
        a_workload(
            jobs(attempts=10),
            computeEnvironments=[
                an_environment(
                    type="SPOT",
                    allocationStrategy="SPOT_CAPACITY_OPTIMIZED",
                    minvCpus=4,
                    maxvCpus=8,
                )
            ],
            market={"interruptionsPerHour": 2},
        )
    )
    assert simulation.is_complete
    assert simulation.clock.us < 6 * 3600 * SECOND


def test_an_idle_instance_that_gets_notice_goes_at_once() -> None:
    found = summary(
        a_workload(
            jobs(at="2h", duration=1),
            computeEnvironments=[
                an_environment(
                    type="SPOT", allocationStrategy="SPOT_CAPACITY_OPTIMIZED", minvCpus=2
                )
            ],
            market={"pools": [{"interruptionsPerHour": 20}], "spotVolatility": 0, "boot": 1},
        )
    )
    assert found.interruptions > 10
    # One after the other: never two are paid for at one time, but for the least time.
    assert found.peak_vcpus == 2


def test_dependencies_sequences_and_pairs_hold() -> None:
    found = summary(
        a_workload(
            jobs("first", count=2, duration=100),
            jobs("second", duration=10, dependsOn=[{"job": "first"}]),
            jobs("chain", arraySize=3, duration=20, dependsOn=[{"type": "SEQUENTIAL"}]),
            jobs("pairs", arraySize=3, duration=5, dependsOn=[{"job": "chain", "type": "N_TO_N"}]),
            computeEnvironments=[an_environment(maxvCpus=64)],
        )
    )
    # first: 60 to 160 s, second until 170 s; the chain ends at 80, 100, 120 s.
    assert found.makespan_seconds == 170
    assert found.jobs.succeeded == 2 + 1 + 3 + 3


def test_no_more_run_than_caps_let_and_no_instance_is_ordered_for_the_others() -> None:
    """Four at a time, of the array two; what is behind the array goes ahead of it."""
    wide = [an_environment(maxvCpus=64)]
    found = summary(
        a_workload(
            jobs("array", arraySize=8, maxRunning=2, duration=100),
            jobs("others", count=8, duration=100),
            computeEnvironments=wide,
            queues=[a_queue(maxRunning=4)],
        )
    )
    # From 60 s on four rounds of 100 s, on two instances of two vCPUs.
    assert (found.makespan_seconds, found.peak_vcpus) == (460, 4)
    assert found.jobs.succeeded == 16
    alone = summary(
        a_workload(jobs("array", arraySize=8, maxRunning=2, duration=100), computeEnvironments=wide)
    )
    assert (alone.makespan_seconds, alone.peak_vcpus) == (460, 2)


def test_each_array_has_a_cap_of_its_own() -> None:
    found = summary(
        a_workload(
            jobs("array", count=3, arraySize=4, maxRunning=1, duration=100),
            computeEnvironments=[an_environment(maxvCpus=64)],
        )
    )
    assert (found.makespan_seconds, found.jobs.succeeded) == (460, 12)


def test_what_depends_on_a_failed_job_fails_without_running() -> None:
    found = summary(
        a_workload(
            jobs("first", failureRate=1),
            jobs("second", count=5, dependsOn=[{"job": "first"}]),
            jobs("third", dependsOn=[{"job": "second"}, {"job": "first"}]),
        )
    )
    assert (found.jobs.failed, found.waits[0].started, found.is_complete) == (7, 1, True)


def test_queues_of_higher_priority_come_first() -> None:
    found = summary(
        a_workload(
            jobs("low", queue="low", count=4),
            jobs("high", queue="high", count=4),
            computeEnvironments=[an_environment(maxvCpus=4)],
            queues=[a_queue("low", priority=1), a_queue("high", priority=9)],
        )
    )
    assert {w.queue: w.median_seconds for w in found.waits} == {"low": 360, "high": 60}


def test_fargate_slots_are_of_the_jobs_size_and_serve_once() -> None:
    found = summary(
        a_workload(
            jobs(count=5, vcpus=0.5, memory=1024, duration=90),
            computeEnvironments=[{"name": "A", "type": "FARGATE", "maxvCpus": 1}],
            market={"fargateBoot": 30},
        )
    )
    assert [(t.instance_type, t.instances) for t in found.instance_types] == [
        ("fargate.0.5x1024", 5)
    ]
    assert found.peak_vcpus == 1
    assert found.idle_cost < found.cost / 3
    assert found.is_complete


def test_a_job_that_fits_nowhere_is_told_with_its_reason() -> None:
    found = summary(a_workload(jobs("big", vcpus=16), jobs("small")))
    assert not found.is_complete
    assert [(b.queue, b.jobs) for b in found.blocked] == [("q", 1)]
    assert "COMPUTE_ENVIRONMENT_MAX_RESOURCE" in found.blocked[0].reason
    assert found.jobs.succeeded == 1


def test_instances_that_never_register_make_the_environment_invalid() -> None:
    found = summary(
        a_workload(jobs(), market={"bootFailures": 1}, settings={"bootLimit": 120}, until="1h")
    )
    assert found.compute_environments[0].status == "INVALID"
    assert found.compute_environments[0].failed_instances >= 3
    assert found.jobs.unfinished == 1


def test_until_ends_it_in_the_middle() -> None:
    found = summary(a_workload(jobs(count=6), until="5m"))
    assert found.simulated_seconds == 300
    assert (found.jobs.unfinished, found.is_complete) == (6, False)
    assert found.cost == pytest.approx(2 * 0.085 * 300 / 3600, abs=1e-6)


def a_market(**members: Any) -> dict[str, Any]:
    """Everything that can vary, varies."""
    return {
        "boot": 40,
        "bootSpread": 0.5,
        "bootFailures": 0.1,
        "interruptionsPerHour": 3,
        "spotVolatility": 0.2,
        "zones": ["a", "b"],
        "pools": [{"instanceTypes": ["c6i.xlarge"], "size": 2}],
    } | members


def a_busy_workload(strategy: str, attempts: int, maximum: int, seed: int) -> Any:
    """Two queues on spot and on-demand instances, with everything that may go wrong."""
    return a_workload(
        jobs(
            "array",
            arraySize=40,
            attempts=attempts,
            failureRate=0.1,
            duration={"distribution": "exponential", "mean": 200},
        ),
        jobs("pairs", arraySize=40, vcpus=2, dependsOn=[{"job": "array", "type": "N_TO_N"}]),
        jobs(
            "stream",
            queue="other",
            vcpus=0.5,
            duration={"distribution": "uniform", "low": 1, "high": 500},
            repeat={"poissonPerHour": 200, "lasting": "15m"},
        ),
        jobs("last", queue="other", dependsOn=[{"job": "pairs"}, {"job": "stream"}]),
        seed=seed,
        computeEnvironments=[
            an_environment(
                "spot",
                type="SPOT",
                maxvCpus=maximum,
                allocationStrategy=f"SPOT_{strategy}",
                instanceTypes=["c6i.large", "c6i.xlarge", "m6i.large"],
            ),
            an_environment("fixed", maxvCpus=8, instanceTypes=["c6i.large", "c6i.xlarge"]),
            an_environment(
                "more",
                maxvCpus=maximum,
                allocationStrategy="BEST_FIT_PROGRESSIVE",
                instanceTypes=["c6i", "m6i.large"],
            ),
        ],
        queues=[a_queue("q", "spot", "fixed"), a_queue("other", "more", "spot", priority=2)],
        market=a_market(),
        settings={"bootLimit": 120},
    )


@settings(max_examples=15, deadline=None)
@given(
    strategy=st.sampled_from(
        ["CAPACITY_OPTIMIZED", "PRICE_CAPACITY_OPTIMIZED", "CAPACITY_OPTIMIZED_PRIORITIZED"]
    ),
    attempts=st.integers(1, 4),
    maximum=st.integers(2, 40),
    seed=st.integers(0, 10_000),
)
def test_whatever_happens_bounds_hold_and_every_job_ends(
    strategy: str, attempts: int, maximum: int, seed: int
) -> None:
    """Bounds are looked at after every step (`Watched`); no instance is left over at the end."""
    simulation = simulate(a_busy_workload(strategy, attempts, maximum, seed), seed=seed)
    usable = [state.status == "VALID" for state in simulation.environments.values()]
    if all(usable):
        assert simulation.is_complete
        assert not simulation.fleet.members
    backlog = simulation.backlog
    total = sum(job.size for job in simulation.prepared.jobs)
    assert backlog.succeeded + backlog.failed + backlog.unfinished == total


def test_the_same_seed_gives_the_same_figures_and_another_seed_others() -> None:
    workload = a_busy_workload("CAPACITY_OPTIMIZED", 3, 20, 7)
    first, again = (to_json(summary(workload, seed=7)) for _ in range(2))
    assert first == again
    assert first != to_json(summary(a_busy_workload("CAPACITY_OPTIMIZED", 3, 20, 8), seed=8))


def test_a_strategy_changes_nothing_about_the_jobs_themselves() -> None:
    """Durations and arrivals are drawn apart from what is decided."""
    one, other = (
        simulate(a_busy_workload(strategy, 3, 20, 7)).prepared.jobs
        for strategy in ("CAPACITY_OPTIMIZED", "PRICE_CAPACITY_OPTIMIZED")
    )
    assert [job.submit_us for job in one] == [job.submit_us for job in other]
    assert all((a.durations == b.durations).all() for a, b in zip(one, other, strict=True))


def test_the_ordered_strategy_goes_by_the_list_not_by_price() -> None:
    found = summary(
        a_workload(
            jobs(count=4),
            computeEnvironments=[
                an_environment(
                    instanceTypes=["m6i.large", "c6i.large"],
                    allocationStrategy="BEST_FIT_PROGRESSIVE_ORDERED",
                )
            ],
        )
    )
    assert [t.instance_type for t in found.instance_types] == ["m6i.large"]


def test_consolidation_drains_what_is_less_than_half_full() -> None:
    """A job of two vCPUs is left on each of two instances of eight: one of them is drained."""
    workload = a_workload(
        jobs("short", count=2, vcpus=6, duration=60),
        jobs("long", count=2, vcpus=2, duration=7200),
        computeEnvironments=[an_environment(instanceTypes=["c6i.2xlarge"], maxvCpus=16)],
        settings={"consolidate": True, "idle": 3600},
    )
    reasons = [activity.reason for activity in simulate(workload).scaler.activities]
    assert any("whose work fits on others" in reason for reason in reasons), reasons
