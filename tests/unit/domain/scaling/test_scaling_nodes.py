"""Multi-node jobs: all nodes at once on one type, on what is idle or boots, then on new ones."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scaling import NOW, bill, decided, env, instance, jobs, ordered, progressive, queue
from support.scaling import given as given_back

from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import Instance, InstanceState, ShapeDemand
from longshore.domain.scaling.decision import Decision

EXAMPLES = 40
MIXED = (jobs(64, 1, 6900), jobs(64, 1, 1100), jobs(20, 3, 9000))


def booted(decision: Decision) -> list[Instance]:
    """What a decision ordered, while it boots."""
    return [
        instance(launch.offer.kind.name, state=InstanceState.BOOTING, ordered_at=NOW)
        for launch in decision.launches
        for _ in range(launch.count)
    ]


@pytest.mark.parametrize("place", range(4))
def test_a_waiting_multi_node_job_orders_no_blend_twice(place: int) -> None:
    """Wherever it stands in the queue, all that was ordered is found again while it boots."""
    shapes = list(MIXED)
    shapes.insert(place, jobs(2, 1, 512, nodes=3))
    environment = progressive(["optimal"])
    first = decided(queue(*shapes), environments=[environment])["a"]
    again = decided(queue(*shapes), environments=[environment], instances=booted(first))["a"]
    assert not again.launches
    assert again.desiredv_cpus == first.desiredv_cpus


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.lists(
        st.builds(
            jobs,
            st.integers(1, 40),
            st.sampled_from([0.5, 1, 3]),
            st.sampled_from([500, 3000, 9000]),
            nodes=st.sampled_from([0, 0, 1, 2, 5]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_nothing_is_ordered_twice(wanted: list[ShapeDemand]) -> None:
    """With multi-node jobs among the others, and an environment that is free to choose."""
    environment = progressive(["optimal"], maxv_cpus=10**6)
    first = decided(queue(*wanted), environments=[environment])["a"]
    again = decided(queue(*wanted), environments=[environment], instances=booted(first))["a"]
    assert ordered(again) == {}


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(2, 5),
    st.integers(0, 12),
    st.integers(0, 60),
    st.sampled_from([InstanceState.READY, InstanceState.BOOTING]),
)
def test_jobs_get_all_nodes_or_none(
    count: int, nodes: int, idle: int, maximum: int, state: InstanceState
) -> None:
    """Idle and booting instances first, and new ones for what they lack, never past maxvCpus."""
    there = [instance(state=state, ordered_at=NOW) for _ in range(idle)]
    environment = progressive(["c6i.large"], maxv_cpus=maximum)
    decision = decided(
        queue(jobs(count, 1, 512, nodes=nodes)), environments=[environment], instances=there
    )["a"]
    served = min(count, max(maximum // 2, idle) // nodes)
    assert sum(ordered(decision).values()) == max(served * nodes - idle, 0)
    assert ("waiting" in decision.reason) == (served < count)


def test_multi_node_jobs_between_others_do_not_keep_these_from_blending() -> None:
    """However they alternate, it costs no more than to order for each kind apart."""
    several = [jobs(1, 2, 3000, nodes=2) for _ in MIXED]
    mixed = [shape for pair in zip(MIXED, several, strict=True) for shape in pair]
    environment = progressive(["optimal"])
    together, plain, multi = (
        bill(decided(queue(*shapes), environments=[environment])["a"])
        for shapes in (mixed, MIXED, several)
    )
    assert together <= plain + multi + 1e-6


def test_earlier_single_jobs_come_before_multi_node_jobs_where_maxvcpus_binds() -> None:
    """Though there would be room for all nodes without them."""
    wanted = queue(jobs(6, 1), jobs(1, 1, 512, nodes=3))
    decision = decided(wanted, environments=[progressive(["c6i.large"], maxv_cpus=8)])["a"]
    assert ordered(decision) == {"c6i.large": 3}
    assert decision.reason.endswith("maxvCpus of 8 leaves 1 job waiting.")


def test_nodes_are_completed_with_their_type() -> None:
    """Though another type is cheaper where all nodes are new."""
    both = progressive(["c6i.large", "m6i.large"])
    wanted = queue(jobs(1, 1, 512, nodes=3))
    assert ordered(decided(wanted, environments=[both])["a"]) == {"c6i.large": 3}
    two = [instance("m6i.large", idle=90) for _ in range(2)]
    decision = decided(wanted, environments=[both], instances=two)["a"]
    assert ordered(decision) == {"m6i.large": 1}
    assert given_back(decision) == []


def test_idle_instances_of_several_types_are_not_put_together() -> None:
    mixed = [instance("c6i.large"), instance("m6i.large")]
    decision = decided(
        queue(jobs(1, 1, 512, nodes=2)),
        environments=[progressive(["c6i.large", "m6i.large"])],
        instances=mixed,
    )["a"]
    assert ordered(decision) == {"c6i.large": 1}


def test_each_job_looks_for_idle_instances_by_its_own_need() -> None:
    """One that needs more, behind it, does not hide them."""
    large, small = jobs(1, 8, 9000, nodes=2), jobs(1, 1, 512, nodes=3)
    there = [instance(idle=90) for _ in range(2)]
    for wanted in ((small, large), (large, small)):
        decision = decided(queue(*wanted), environments=[progressive()], instances=there)["a"]
        assert ordered(decision) == {"c6i.2xlarge": 2, "c6i.large": 1}


def test_single_jobs_do_not_wait_behind_one_that_never_fits() -> None:
    never, single = jobs(1, 64, 512, nodes=50), jobs(4, 1)
    decision = decided(queue(never, single), environments=[progressive(maxv_cpus=64)])["a"]
    assert decision.desiredv_cpus == 4
    assert decision.reason.endswith("maxvCpus of 64 leaves 1 job waiting.")


def test_a_job_that_one_environment_cannot_hold_whole_goes_on_whole() -> None:
    """No node stays behind."""
    small = env("a", types=["c6i.large"], maxv_cpus=4)
    large = env("b", types=["c6i.large"], maxv_cpus=40)
    wanted = queue(jobs(1, 1, 512, nodes=3), on="ab")
    decisions = decided(wanted, environments=[small, large])
    assert not decisions["a"].launches
    assert ordered(decisions["b"]) == {"c6i.large": 3}


def test_a_node_has_its_instance_to_itself() -> None:
    """What it leaves free is nobody's."""
    wanted = queue(jobs(1, 1, 512, nodes=2), jobs(2, 1, 512))
    decision = decided(wanted, environments=[progressive(["c6i.large"])])["a"]
    assert ordered(decision) == {"c6i.large": 3}
    there = [instance("c6i.large") for _ in range(2)]
    decision = decided(wanted, environments=[progressive(["c6i.large"])], instances=there)["a"]
    assert ordered(decision) == {"c6i.large": 1}


def test_one_node_is_a_multi_node_job_too() -> None:
    """On demand, alone, never on spot."""
    spot = env("a", is_spot=True, allocation_strategy="SPOT_CAPACITY_OPTIMIZED")
    wanted = queue(jobs(2, 1, 512, nodes=1), on="ab")
    decisions = decided(wanted, environments=[spot, progressive(["c6i.large"], name="b")])
    assert ordered(decisions["a"]) == {}
    assert ordered(decisions["b"]) == {"c6i.large": 2}


def test_the_only_type_that_will_do() -> None:
    """Though it costs more, and others are idle; and also one with GPUs that nobody else gets."""
    both = progressive(["c6i.large", "m6i.large", "g5.xlarge"])
    there = [instance("c6i.large") for _ in range(2)]
    for name in ("m6i.large", "g5.xlarge"):
        wanted = queue(jobs(1, 1, 512, nodes=2, only=name))
        decision = decided(wanted, environments=[both], instances=there)["a"]
        assert ordered(decision) == {name: 2}
        idle = [instance(name) for _ in range(2)]
        decision = decided(wanted, environments=[both], instances=idle)["a"]
        assert ordered(decision) == {}
    decision = decided(queue(jobs(1, 1, nodes=2, only="r6i.large")), environments=[both])["a"]
    assert decision.reason == "It has no r6i.large that is large enough for 1 job."


def test_what_is_idle_for_long_makes_room_for_nodes_under_maxvcpus() -> None:
    """Although later jobs would fit there: these are not placed before the nodes are."""
    idle = [instance("m6i.large", idle=90), instance("m6i.xlarge", idle=90)]
    idle += [instance("c6i.large", idle=90) for _ in range(2)]
    environment = progressive(["c6i.large"], maxv_cpus=10)
    nodes, later = jobs(1, 1, 512, nodes=4), jobs(10, 1)
    decision = decided(queue(nodes, later), environments=[environment], instances=idle)["a"]
    # The dearer one is enough, and the idle ones of the right type are kept for the nodes.
    assert given_back(decision) == [idle[1].instance_id]
    # Busy ones stay, and so do all if nobody waits for their room.
    decision = decided(queue(later), environments=[environment], instances=idle)["a"]
    assert given_back(decision) == []
    # With the room that is there then, the rest is ordered.
    left = [idle[0], *idle[2:]]
    decision = decided(queue(nodes, later), environments=[environment], instances=left)["a"]
    assert ordered(decision) == {"c6i.large": 2}
    assert given_back(decision) == []


def test_nothing_is_given_back_for_nodes_in_vain() -> None:
    """As long as not all that must go has been idle for long enough."""
    there = [instance("m6i.large", idle=90), instance("m6i.large", idle=30)]
    there.append(instance("c6i.large", idle=None, live_attempts=1, free=Resources(500, 512)))
    nodes, later = jobs(1, 1, 512, nodes=2, only="c6i.large"), jobs(10, 1)
    environment = progressive(["c6i.large"], maxv_cpus=6)
    for idle, expected in ((30, 0), (60, 2)):
        there[1] = instance("m6i.large", idle=idle)
        decision = decided(queue(nodes, later), environments=[environment], instances=there)["a"]
        assert len(given_back(decision)) == expected


def test_idle_instances_of_a_type_that_nodes_may_not_have_make_room() -> None:
    """Though they are the most, and large enough."""
    there = [instance("m6i.xlarge", idle=90)]
    environment = progressive(["m6i.xlarge", "c6i.large"], maxv_cpus=4)
    wanted = queue(jobs(1, 1, 512, nodes=2, only="c6i.large"), jobs(10, 1))
    decision = decided(wanted, environments=[environment], instances=there)["a"]
    assert given_back(decision) == [there[0].instance_id]


def test_minimum_capacity_makes_room_for_nodes_that_count_towards_it() -> None:
    there = [instance("m6i.xlarge", idle=90)]
    wanted = queue(jobs(1, 1, 512, nodes=2, only="c6i.large"))
    for minimum, expected in ((4, 1), (5, 0)):
        environment = progressive(
            ["m6i.xlarge", "c6i.large"], minv_cpus=minimum, maxv_cpus=max(minimum, 4)
        )
        decision = decided(wanted, environments=[environment], instances=there)["a"]
        assert len(given_back(decision)) == expected


def test_what_is_about_to_end_makes_room_for_nodes_alone() -> None:
    """Later jobs do not take that room bit by bit; what still runs jobs may take long."""
    nodes, later = jobs(1, 1, 512, nodes=2), jobs(10, 1)
    environment = progressive(["c6i.large"], maxv_cpus=6)
    leaving = instance("m6i.xlarge", state=InstanceState.LEAVING)
    decision = decided(queue(nodes, later), environments=[environment], instances=[leaving])["a"]
    assert ordered(decision) == {}
    draining = instance("m6i.xlarge", state=InstanceState.LEAVING, live_attempts=1)
    decision = decided(queue(nodes, later), environments=[environment], instances=[draining])["a"]
    assert ordered(decision) == {"c6i.large": 1}


def test_nodes_are_completed_with_idle_instances_that_later_jobs_were_left_to() -> None:
    """All of them are held for the nodes, which else would never fit under maxvCpus."""
    there = [instance("c6i.2xlarge", idle=20)]
    environment = progressive(["c6i.2xlarge"], maxv_cpus=16)
    nodes = jobs(1, 3, 512, nodes=2)
    for later in (jobs(1, 3), jobs(1, 3, nodes=1)):
        wanted = queue(nodes, later)
        decision = decided(wanted, environments=[environment], instances=there)["a"]
        assert ordered(decision) == {"c6i.2xlarge": 1}
    # But not with what earlier ones have.
    wanted = queue(jobs(1, 3), nodes)
    decision = decided(wanted, environments=[environment], instances=there)["a"]
    assert ordered(decision) == {}


@pytest.mark.parametrize(
    ("strategy", "types"),
    [
        ("BEST_FIT_PROGRESSIVE_ORDERED", ["c6i.xlarge", "r6i.large"]),
        ("BEST_FIT_PROGRESSIVE", ["c6i.8xlarge", "g5.xlarge"]),
    ],
)
def test_nodes_take_later_types_where_all_on_the_first_would_never_fit(
    strategy: str, types: list[str]
) -> None:
    """Placement holds instances for such a job, so that nobody else would have any."""
    environment = env(types=types, allocation_strategy=strategy, maxv_cpus=12)
    wanted = queue(jobs(1, 2, 512, nodes=3))
    fits = types[1] if strategy == "BEST_FIT_PROGRESSIVE" else types[0]
    assert ordered(decided(wanted, environments=[environment])["a"]) == {fits: 3}
    environment = env(types=[types[0], "r6i.large"], allocation_strategy=strategy, maxv_cpus=10)
    assert ordered(decided(wanted, environments=[environment])["a"]) == {"r6i.large": 3}


def test_idle_instances_of_one_size_but_several_types_are_not_put_together() -> None:
    """The provider is short of one of them, so that only the other is on offer now."""
    environment = progressive(["c6i.large", "c5a.large"], short=["c6i.large"])
    sizes = {offer.kind.offer for offer in environment.offers}
    assert len(sizes) == 1
    there = [instance("c6i.large"), instance("c5a.large")]
    wanted = queue(jobs(1, 1, 512, nodes=2, only="c5a.large"))
    decision = decided(wanted, environments=[environment], instances=there)["a"]
    assert ordered(decision) == {"c5a.large": 1}


def test_what_was_ordered_for_nodes_is_not_left_to_jobs_that_have_room_elsewhere() -> None:
    """Else it would be ordered again and again, once for each of those jobs."""
    environment = progressive(["m6i.large", "r6i.large", "r6i.xlarge"])
    there = [
        instance(name, state=InstanceState.BOOTING, ordered_at=NOW)
        for name in ("m6i.large", "m6i.large", "r6i.xlarge")
    ]
    wanted = queue(jobs(4, 1, 6000), jobs(1, 1, 512, nodes=1, only="m6i.large"))
    decision = decided(wanted, environments=[environment], instances=there)["a"]
    assert ordered(decision) == {}


def test_queues_of_equal_priority_are_served_in_the_order_of_their_jobs() -> None:
    """As placement does it: whose job was submitted first, or is tried again."""
    small, large = jobs(1, 2), jobs(1, 2, 13_000)
    for order, served in (((0, 9), "r6i.large"), ((0, 3), "c6i.large"), ((-1, 9), "c6i.large")):
        queues = queue(replace(large, order=(0, 5))), queue(replace(small, order=order))
        environment = progressive(["c6i.large", "r6i.large"], maxv_cpus=2)
        assert ordered(decided(*queues, environments=[environment])["a"]) == {served: 1}
