"""Decisions beyond plain jobs: slots, multi-node jobs, updates, consolidation, time."""

from datetime import timedelta
from typing import Any

from support.scaling import (
    NOW,
    SETTINGS,
    decided,
    env,
    fargate,
    given,
    instance,
    jobs,
    ordered,
    progressive,
    queue,
)

from longshore.domain.catalogue import fargate_type
from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import CapacitySnapshot, Environment, Instance, InstanceState
from longshore.domain.scaling.decision import ScalingSettings
from longshore.domain.scaling.scaling import HEALTHY, decide, next_due


def slot(vcpus: float = 0.25, memory_mib: int = 512, **more: Any) -> Instance:
    """A READY slot that nothing runs in."""
    need = Resources(int(vcpus * 1000), memory_mib)
    kind = fargate_type(need)
    assert kind
    return instance(
        "c6i.large",
        **{"free": need, "vcpus": vcpus, "is_slot": True, "instance_type": kind.name, **more},
    )


def test_each_job_gets_a_slot_of_its_size() -> None:
    decision = decided(queue(jobs(3, 0.25, 512), jobs(1, 1, 2048)), environments=[fargate()])["a"]
    assert ordered(decision) == {"fargate.0.25x512": 3, "fargate.1x2048": 1}
    assert decision.desiredv_cpus == 2  # 1.75, and no less
    assert decision.reason == (
        "4 RUNNABLE jobs did not fit: ordering 3 x fargate.0.25x512, 1 x fargate.1x2048 "
        "(slots of their size)."
    )


def test_slots_never_pass_the_maximum() -> None:
    decision = decided(queue(jobs(9, 0.5, 1024)), environments=[fargate(maxv_cpus=2)])["a"]
    assert ordered(decision) == {"fargate.0.5x1024": 4}
    assert decision.reason.endswith("maxvCpus of 2 leaves 5 jobs waiting.")


def test_a_slot_serves_its_own_size_alone() -> None:
    """One that boots counts; a larger one does not."""
    booting = slot(state=InstanceState.BOOTING, ordered_at=NOW)
    large = slot(1, 2048, state=InstanceState.BOOTING, ordered_at=NOW)
    demand = queue(jobs(2, 0.25, 512))
    decision = decided(demand, environments=[fargate()], instances=[booting, large])["a"]
    assert ordered(decision) == {"fargate.0.25x512": 1}


def test_a_slot_without_a_job_goes_at_once() -> None:
    """No idle delay: it can serve nothing else."""
    needed, spare, busy = slot(), slot(1, 2048), slot(live_attempts=1, idle=None)
    decision = decided(
        queue(jobs(1, 0.25, 512)), environments=[fargate()], instances=[needed, spare, busy]
    )["a"]
    assert given(decision) == [spare.instance_id]
    assert not decision.launches


def test_what_fargate_has_not_waits_or_goes_elsewhere() -> None:
    for odd, text in (
        (jobs(1, 3, 512), "Fargate has no slot of the size of 1 job."),
        (jobs(1, 0.25, 512, nodes=2), "Multi-node jobs run on on-demand instances only: none for"),
    ):
        decisions = decided(queue(odd, on="ab"), environments=[fargate(), progressive(name="b")])
        assert decisions["a"].reason.startswith(text[:20])
        assert decisions["b"].launches
    short = decided(queue(jobs(1, 0.25, 512)), environments=[fargate(is_short=True)])["a"]
    assert short.reason == "The provider is short of Fargate slots for 1 job."


def test_all_nodes_come_at_once_on_one_type() -> None:
    """One node on each instance, whatever would fit."""
    decision = decided(queue(jobs(2, 1, 512, nodes=3)), environments=[progressive()])["a"]
    assert ordered(decision) == {"c6i.large": 6}
    assert decision.alternatives == ()


def test_nodes_are_all_or_nothing() -> None:
    """Within maxvCpus, strictly; a later job may use what is left."""
    cramped = progressive(maxv_cpus=5)
    three = jobs(1, 2, 512, nodes=3)
    decision = decided(queue(three), environments=[cramped])["a"]
    assert not decision.launches
    assert decision.reason == "maxvCpus of 5 leaves 1 job waiting."
    both = decided(queue(three, jobs(4, 1)), environments=[cramped])["a"]
    assert both.desiredv_cpus == 4


def test_nodes_use_idle_instances_of_one_type() -> None:
    """Enough of them are left to the job; fewer are completed."""
    enough = [instance(idle=90) for _ in range(3)]
    decision = decided(
        queue(jobs(1, 1, 512, nodes=3)), environments=[progressive()], instances=enough
    )
    assert not decision["a"].launches
    assert not decision["a"].terminate
    two = decided(
        queue(jobs(1, 1, 512, nodes=3)), environments=[progressive()], instances=enough[:2]
    )["a"]
    assert ordered(two) == {"c6i.large": 1}
    assert not two.terminate


def test_nodes_never_go_to_spot() -> None:
    spot = env(is_spot=True, allocation_strategy="SPOT_CAPACITY_OPTIMIZED")
    decisions = decided(
        queue(jobs(1, 1, 512, nodes=2), on="ab"), environments=[spot, progressive(name="b")]
    )
    assert not decisions["a"].launches
    assert ordered(decisions["b"]) == {"c6i.large": 2}


def test_nodes_do_not_switch_types() -> None:
    """Even where other jobs would."""
    listed = progressive(["c6i.large", "m6i.large"], short=("c6i.large",))
    decision = decided(queue(jobs(1, 1, 512, nodes=2)), environments=[listed])["a"]
    assert not decision.launches
    assert "short of c6i.large" in decision.reason


def test_an_update_replaces_what_is_there() -> None:
    """New instances come beside the old, as far as maxvCpus allows; jobs get until `replace_by`."""
    by = NOW + timedelta(minutes=30)
    updating = env(status="UPDATING", generation=2, replace_by=by, minv_cpus=4, maxv_cpus=6)
    old = [instance(live_attempts=1, idle=None), instance(idle=0)]
    decision = decided(environments=[updating], instances=old)["a"]
    assert [(give.instance_id, give.drain_until) for give in decision.terminate] == [
        (one.instance_id, by) for one in old
    ]
    assert sum(ordered(decision).values()) == 1  # 4 of 6 vCPUs are still there
    assert decision.status == "UPDATING"
    assert decision.reason.endswith("Replacing 2 instances after an infrastructure update.")


def test_old_instances_take_nothing_more() -> None:
    updating = env(status="UPDATING", generation=2)
    decision = decided(queue(jobs(2)), environments=[updating], instances=[instance()])["a"]
    assert ordered(decision) == {"c6i.large": 1}


def test_an_update_ends_with_the_last_old_instance() -> None:
    """One that is on its way out still counts; one that came after does not."""
    updating = env(status="UPDATING", generation=2)
    leaving = instance(state=InstanceState.LEAVING)
    assert decided(environments=[updating], instances=[leaving])["a"].status == "UPDATING"
    over = decided(environments=[updating], instances=[instance(generation=2)])["a"]
    assert (over.status, over.status_reason) == ("VALID", HEALTHY)


CONSOLIDATING = ScalingSettings(consolidate=True)


def busy(kind: str, *held: Resources) -> Instance:
    """A READY instance that runs something."""
    whole = instance(kind)
    free = whole.free
    for amount in held:
        free = free - amount
    return instance(kind, free=free, live_attempts=len(held), held=held, idle=None)


def test_a_half_empty_dear_instance_is_drained_when_its_work_fits_elsewhere() -> None:
    """No job is ended for it, and one at a time."""
    dear = busy("r6i.4xlarge", Resources(1000, 512), Resources(2000, 512))
    others = [busy("c6i.xlarge", Resources(2000, 512)), busy("c6i.xlarge", Resources(1000, 512))]
    there = [dear, *others]
    decision = decided(environments=[env()], instances=there, settings=CONSOLIDATING)["a"]
    assert [(give.instance_id, give.drain_until) for give in decision.terminate] == [
        (dear.instance_id, None)
    ]
    assert decision.desiredv_cpus == 8
    assert not decided(environments=[env()], instances=there)["a"].terminate


def test_consolidation_stops_short_of_harm() -> None:
    """Not below minvCpus, not while jobs wait, not where the work fits nowhere."""
    dear = busy("r6i.4xlarge", Resources(4000, 512))
    other = busy("c6i.2xlarge", Resources(1000, 512))
    cases: list[tuple[Environment, list[Any], list[Instance]]] = [
        (env(minv_cpus=20), [], [dear, other]),
        (env(maxv_cpus=24), [queue(jobs(1, 64))], [dear, other]),
        (env(), [], [dear, busy("c6i.xlarge", Resources(2000, 512))]),
    ]
    for environment, queues, there in cases:
        decision = decided(
            *queues, environments=[environment], instances=there, settings=CONSOLIDATING
        )["a"]
        assert not decision.terminate
    assert decided(environments=[env()], instances=[dear, other], settings=CONSOLIDATING)[
        "a"
    ].terminate


def test_the_next_time_is_when_an_idle_delay_or_a_boot_limit_ends() -> None:
    """The first to come; what is past has been decided."""
    fresh, long_idle = instance(idle=20), instance(idle=500)
    booting = instance(state=InstanceState.BOOTING, ordered_at=NOW - timedelta(seconds=290))
    patient = env(scale_down_delay=timedelta(minutes=20))
    ran = instance(idle=20, has_run=True)

    def due(environment: Environment, *there: Instance) -> float | None:
        snapshot = CapacitySnapshot([], [environment], there)
        time = next_due(snapshot, NOW, SETTINGS)
        if time is not None:
            assert decide(snapshot, time, SETTINGS) != decide(snapshot, NOW, SETTINGS)
        return (time - NOW).total_seconds() if time else None

    assert due(env(), fresh, long_idle) == 40
    assert due(env(), fresh, booting) == 10
    assert due(patient, ran) == 20 * 60 - 20
    assert due(env(), long_idle) is None
    assert due(env(), instance(live_attempts=1, idle=None)) is None


def test_what_was_ordered_for_a_blend_is_found_again_while_it_boots() -> None:
    """The same demand orders nothing more."""
    demand = queue(jobs(64, 1, 6900), jobs(64, 1, 1100), jobs(20, 3, 9000))
    environment = progressive(["optimal"])
    first = decided(demand, environments=[environment])["a"]
    booting = [
        instance(launch.offer.kind.name, state=InstanceState.BOOTING, ordered_at=NOW)
        for launch in first.launches
        for _ in range(launch.count)
    ]
    again = decided(demand, environments=[environment], instances=booting)["a"]
    assert not again.launches
    assert again.desiredv_cpus == first.desiredv_cpus
