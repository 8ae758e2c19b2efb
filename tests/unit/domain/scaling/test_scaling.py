"""Decisions of the scaler: from demand and what is there to instances to add and to give back."""

import uuid
from datetime import timedelta

from support.scaling import NOW, decided, env, given, instance, jobs, ordered, queue

from longshore.domain.order import COUNT_LIMIT
from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import InstanceState
from longshore.domain.scaling.decision import order_for
from longshore.domain.scaling.scaling import HEALTHY, NO_TYPES, NONE_JOINED


def test_what_is_free_is_used_first() -> None:
    """Two jobs fit on the idle instance, the third needs a new one."""
    decision = decided(queue(jobs(3)), instances=[instance()])["a"]
    assert ordered(decision) == {"c6i.large": 1}
    assert decision.desiredv_cpus == 4
    assert decision.reason == (
        "1 RUNNABLE job did not fit: ordering 1 x c6i.large (the cheapest that fits best)."
    )


def test_booting_instances_count() -> None:
    """What was ordered a moment ago is not ordered again."""
    booting = instance(state=InstanceState.BOOTING, ordered_at=NOW)
    assert ordered(decided(queue(jobs(2)), instances=[booting])["a"]) == {}


def test_leaving_instances_take_nothing_but_count_towards_the_maximum() -> None:
    """A draining instance still runs and still costs."""
    leaving = instance(state=InstanceState.LEAVING)
    decision = decided(queue(jobs(4)), environments=[env(maxv_cpus=4)], instances=[leaving])["a"]
    assert ordered(decision) == {"c6i.large": 1}
    assert decision.desiredv_cpus == 2
    assert "maxvCpus of 4 leaves 2 jobs waiting." in decision.reason


def test_later_shapes_use_what_earlier_ones_leave() -> None:
    """One instance for both shapes."""
    decision = decided(queue(jobs(1, 1, 3000), jobs(1, 1, 500)))["a"]
    assert sum(ordered(decision).values()) == 1


def test_the_reserve_is_not_for_jobs() -> None:
    """A job of an instance's nominal memory takes the next larger type."""
    decision = decided(queue(jobs(1, 2, 4096)))["a"]
    assert ordered(decision) == {"c6i.xlarge": 1}


def test_the_cheapest_family_is_taken() -> None:
    """Memory decides between families of a bundle."""
    wanted = [env(types=["optimal"])]
    assert ordered(decided(queue(jobs(1, 2, 3000)), environments=wanted)["a"]) == {"c6i.large": 1}
    assert ordered(decided(queue(jobs(1, 2, 7000)), environments=wanted)["a"]) == {"m6i.large": 1}


def test_gpu_types_are_left_to_gpu_jobs() -> None:
    """Unless nothing else fits."""
    both = [env(types=["g4dn", "x2iedn"])]
    plain = ordered(decided(queue(jobs(1, 1)), environments=both)["a"])
    assert plain == {"x2iedn.xlarge": 1}
    gpu = ordered(decided(queue(jobs(1, 1, gpus=1)), environments=both)["a"])
    assert gpu == {"g4dn.xlarge": 1}


def test_the_rest_spills_to_the_next_environment() -> None:
    """In the queue's order, when maxvCpus is reached."""
    small, large = env("a", maxv_cpus=4), env("b")
    decisions = decided(queue(jobs(10), on=("a", "b")), environments=[large, small])
    assert decisions["a"].desiredv_cpus == 4
    assert decisions["b"].desiredv_cpus == 6


def test_room_in_a_later_environment_is_used_before_an_earlier_one_grows() -> None:
    """Nothing is ordered for what fits somewhere."""
    decisions = decided(
        queue(jobs(2), on=("a", "b")),
        environments=[env("a"), env("b")],
        instances=[instance(environment="b")],
    )
    assert not decisions["a"].launches
    assert not decisions["b"].launches


def test_queues_are_served_by_priority() -> None:
    """The urgent queue gets what maxvCpus allows."""
    urgent, other = queue(jobs(1, 4), priority=9), queue(jobs(8, 1), priority=1)
    decision = decided(other, urgent, environments=[env(maxv_cpus=4)])["a"]
    assert ordered(decision) == {"c6i.xlarge": 1}
    assert "leaves 8 jobs waiting" in decision.reason


def test_the_rolling_order_of_queues_grows_all_environments() -> None:
    """Queue 1 on A B C, queue 2 on B C A, queue 3 on C A B: all three grow at the same time."""
    decisions = decided(
        queue(jobs(4), on="abc"),
        queue(jobs(4), on="bca"),
        queue(jobs(4), on="cab"),
        environments=[env("a"), env("b"), env("c")],
    )
    assert {name: decision.desiredv_cpus for name, decision in decisions.items()} == {
        "a": 4,
        "b": 4,
        "c": 4,
    }


def test_best_fit_on_demand_never_passes_the_maximum() -> None:
    """Others may, by one instance."""
    job = queue(jobs(1, 8))
    strict = decided(job, environments=[env(maxv_cpus=6)])["a"]
    assert not strict.launches
    progressive = env(maxv_cpus=6, allocation_strategy="BEST_FIT_PROGRESSIVE")
    assert ordered(decided(job, environments=[progressive])["a"]) == {"c6i.2xlarge": 1}


def test_the_ordered_strategy_takes_the_first_that_fits() -> None:
    """Whatever it costs."""
    listed = env(
        types=["r6i.xlarge", "c6i.large"], allocation_strategy="BEST_FIT_PROGRESSIVE_ORDERED"
    )
    assert ordered(decided(queue(jobs(1)), environments=[listed])["a"]) == {"r6i.xlarge": 1}


def test_best_fit_waits_for_a_short_type_and_others_switch() -> None:
    """AWS Batch User Guide, allocation strategies."""
    short = {"types": ["c6i.large", "m6i.large"], "short": ("c6i.large",)}
    assert not decided(queue(jobs(1)), environments=[env(**short)])["a"].launches
    other = env(**short, allocation_strategy="BEST_FIT_PROGRESSIVE")
    assert ordered(decided(queue(jobs(1)), environments=[other])["a"]) == {"m6i.large": 1}


def test_unusable_environments_get_nothing() -> None:
    """Neither DISABLED nor INVALID ones."""
    for unusable in (env(is_enabled=False, minv_cpus=2), env(status="INVALID", minv_cpus=2)):
        decision = decided(queue(jobs(1)), environments=[unusable])["a"]
        assert not decision.launches


def test_an_unmanaged_environment_serves_and_is_left_alone() -> None:
    """Its machines hold jobs; it gets no decision."""
    joined = env("u", types=(), is_managed=False)
    machine = instance(environment="u", vcpus=0, is_ours=False, idle=1e6)
    decisions = decided(
        queue(jobs(3), on=("u", "a")), environments=[joined, env()], instances=[machine]
    )
    assert list(decisions) == ["a"]
    assert ordered(decisions["a"]) == {"c6i.large": 1}


def test_the_minimum_is_kept() -> None:
    """Ordered without demand, and not given back when idle; the dearest idle ones go first."""
    decision = decided(environments=[env(minv_cpus=3)])["a"]
    assert decision.desiredv_cpus >= 3
    assert decision.reason == ("minvCpus asks for 3 vCPUs, 0 were there. Ordering 1 x c6i.xlarge.")
    cheap, dear, small = instance(idle=90), instance("r6i.large", idle=90), instance(idle=80)
    decision = decided(environments=[env(minv_cpus=4)], instances=[cheap, dear, small])["a"]
    assert given(decision) == [dear.instance_id]
    assert decision.desiredv_cpus == 4


def test_only_what_is_idle_long_enough_goes() -> None:
    """Not what runs something, is needed, or became idle a moment ago."""
    idle, fresh = instance(idle=61), instance(idle=59)
    busy = instance(idle=None, live_attempts=1, free=Resources(0, 0))
    decision = decided(instances=[idle, fresh, busy])["a"]
    assert given(decision) == [idle.instance_id]
    assert decision.reason == "Giving back 1 idle instance."
    assert not decided(queue(jobs(1)), instances=[idle])["a"].terminate


def test_the_scale_down_delay_counts_from_the_last_job() -> None:
    """An instance that never ran one goes after the usual time."""
    patient = env(scale_down_delay=timedelta(minutes=20))
    ran, never = instance(idle=120, has_run=True), instance(idle=120)
    decision = decided(environments=[patient], instances=[ran, never])["a"]
    assert given(decision) == [never.instance_id]


def test_a_disabled_environment_shrinks_to_its_minimum() -> None:
    """And does not grow to it."""
    off = env(is_enabled=False, minv_cpus=2)
    decision = decided(environments=[off], instances=[instance(idle=90), instance(idle=90)])["a"]
    assert len(decision.terminate) == 1


def test_lost_and_late_instances_are_replaced() -> None:
    """They hold nothing back, not even at the minimum."""
    lost = instance(state=InstanceState.LOST)
    late = instance(state=InstanceState.BOOTING, ordered_at=NOW - timedelta(seconds=301))
    decision = decided(queue(jobs(4)), environments=[env(minv_cpus=4)], instances=[lost, late])["a"]
    assert set(given(decision)) == {lost.instance_id, late.instance_id}
    assert decision.desiredv_cpus == 4
    assert sum(ordered(decision).values()) * 2 >= 2


def test_a_clients_raise_is_filled() -> None:
    """Our own figure is not: an instance that ended is not missed without demand."""
    raised = env(desiredv_cpus=6, settledv_cpus=2)
    assert decided(environments=[raised])["a"].desiredv_cpus == 6
    settled = env(desiredv_cpus=6, settledv_cpus=6)
    decision = decided(environments=[settled])["a"]
    assert not decision.launches
    assert decision.desiredv_cpus == 0
    assert decision.reason == "Instances ended, 0 vCPUs left."


def test_health() -> None:
    """New ones become VALID; without a known type, or after failures in a row, INVALID."""
    assert decided(environments=[env(status="CREATING")])["a"].status_reason == HEALTHY
    assert decided(environments=[env(types=["x0"])])["a"].status_reason == NO_TYPES
    failed = decided(queue(jobs(1)), environments=[env(failures=3, minv_cpus=2)])["a"]
    assert (failed.status, failed.status_reason) == ("INVALID", NONE_JOINED)
    assert failed.reason == f"INVALID: {NONE_JOINED}"
    assert not failed.launches


def test_deleting_gives_everything_back() -> None:
    """Whatever runs: instances drain. When the last has ended it is gone."""
    deleting = env(status="DELETING", minv_cpus=2)
    busy = instance(idle=None, live_attempts=1)
    decision = decided(environments=[deleting], instances=[busy])["a"]
    assert given(decision) == [busy.instance_id]
    assert not decision.is_gone
    assert decided(environments=[deleting])["a"].is_gone


def test_the_order_lists_what_was_decided() -> None:
    """Ranked, weighted by vCPUs, with the price reckoned with."""
    decision = decided(queue(jobs(1, 128), jobs(1, 2)), environments=[env(is_spot=True)])["a"]
    order = order_for(decision, env(is_spot=True), uuid.UUID(int=1))
    assert order.target_vcpus == 130
    assert [(entry.instance_type, entry.rank) for entry in order.entries] == [
        ("c6i.32xlarge", 0),
        ("c6i.large", 1),
    ]
    assert {entry.purchase_option for entry in order.entries} == {"SPOT"}


def test_a_shape_too_large_for_every_type_is_named() -> None:
    """And orders nothing."""
    decision = decided(queue(jobs(2, 1, 10**7)))["a"]
    assert not decision.launches
    assert decision.reason == "No instance type is large enough for 2 jobs."


def test_many_failures_are_told_in_short() -> None:
    """A reason stays readable, whatever befell."""
    lost = [instance(state=InstanceState.LOST) for _ in range(1000)]
    decision = decided(instances=lost)["a"]
    assert len(given(decision)) == 1000
    first, second, third = given(decision)[:3]
    assert decision.reason == f"1,000 instances ({first}, {second}, {third}, ...) were lost."


def test_an_order_is_no_larger_than_provisioning_accepts() -> None:
    """The rest is ordered by the next decision."""
    large = env(types=["c6i.large"], maxv_cpus=10**6)
    decision = decided(queue(jobs(100_000)), environments=[large])["a"]
    assert ordered(decision) == {"c6i.large": 50_000}
    order = order_for(decision, large, uuid.UUID(int=1))
    assert [entry.max_count for entry in order.entries] == [COUNT_LIMIT]
    assert order.target_vcpus == 2 * COUNT_LIMIT


def test_jobs_that_go_on_are_not_told_as_waiting() -> None:
    """The next environment of the queue has them."""
    decisions = decided(queue(jobs(10), on="ab"), environments=[env("a", maxv_cpus=4), env("b")])
    assert decisions["a"].reason.endswith(
        "maxvCpus of 4 leaves 6 jobs to another compute environment."
    )
    assert "leaves" not in decisions["b"].reason
