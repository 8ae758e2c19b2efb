"""What holds for every decision, whatever is wanted, there and allowed."""

import itertools
import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from support.scaling import (
    NOW,
    SETTINGS,
    bill,
    decided,
    env,
    fargate,
    instance,
    jobs,
    ordered,
    queue,
)
from support.scaling import given as given_back

from longshore.domain.catalogue import InstanceType
from longshore.domain.packing.rooms import Rooms
from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import (
    CapacitySnapshot,
    Environment,
    Instance,
    InstanceState,
    QueueDemand,
    ShapeDemand,
)
from longshore.domain.scaling.decision import Decision
from longshore.domain.scaling.scaling import decide

NAMES = ("c6i", "m6i.large", "r6i", "c7i.2xlarge", "g5", "x2iedn.xlarge", "optimal")
STRATEGIES = (
    "BEST_FIT",
    "BEST_FIT_PROGRESSIVE",
    "BEST_FIT_PROGRESSIVE_ORDERED",
    "SPOT_CAPACITY_OPTIMIZED",
    "SPOT_PRICE_CAPACITY_OPTIMIZED",
    "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED",
)
EXAMPLES = 25

type_lists = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)
plain_shapes = st.builds(
    jobs,
    st.integers(1, 300),
    st.sampled_from([0.25, 1, 2, 3, 7, 16, 64]),
    st.sampled_from([64, 1000, 4096, 30_000, 200_000]),
)
shapes = st.one_of(
    plain_shapes,
    st.builds(jobs, st.integers(1, 40), st.sampled_from([1, 4]), gpus=st.sampled_from([1, 2])),
    st.builds(jobs, st.integers(1, 5), st.sampled_from([1, 4]), nodes=st.sampled_from([2, 5])),
)
environments = st.builds(
    env,
    types=type_lists,
    maxv_cpus=st.integers(0, 300),
    minv_cpus=st.integers(0, 20),
    allocation_strategy=st.sampled_from(STRATEGIES),
    is_spot=st.booleans(),
    short=st.sets(st.sampled_from(["c6i.large", "m6i.large", "r6i.xlarge", "c6i.4xlarge"])),
)
some_instances = st.lists(
    st.builds(
        instance,
        st.sampled_from(["c6i.large", "m6i.xlarge", "r6i.4xlarge"]),
        idle=st.sampled_from([0, 100]),
        state=st.sampled_from(list(InstanceState)),
        live_attempts=st.sampled_from([0, 1]),
    ),
    max_size=6,
)


def launched(decision: Decision) -> list[InstanceType]:
    """Types of the instances ordered, each as often as it is."""
    return [launch.offer.kind for launch in decision.launches for _ in range(launch.count)]


def waiting(decision: Decision) -> bool:
    """Whether jobs are left without capacity."""
    return any(word in decision.reason for word in ("waiting", "short of", "large enough"))


@settings(max_examples=EXAMPLES, deadline=None)
@given(environments, st.lists(shapes, max_size=5), some_instances)
def test_bounds_hold(
    environment: Environment, wanted: list[ShapeDemand], there: list[Instance]
) -> None:
    """At most one instance over maxvCpus, none for on-demand BEST_FIT; minvCpus stay."""
    before = sum(one.vcpus for one in there)
    decision = decided(queue(*wanted), environments=[environment], instances=there)["a"]
    added = [kind.vcpus for kind in launched(decision)]
    if added:
        over = before + sum(added) - environment.maxv_cpus
        assert over <= 0 or (not environment.is_strict and over < max(added))
        assert before < environment.maxv_cpus
    usable = [one for one in there if one.state is InstanceState.READY]  # the booting are late
    idle = [one for one in usable if one.instance_id in given_back(decision)]
    assert not any(one.live_attempts for one in idle)
    if idle:
        left = sum(one.vcpus for one in usable) - sum(one.vcpus for one in idle) + sum(added)
        assert left >= environment.minv_cpus


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(0, 40), st.lists(st.sampled_from([0.25, 1, 16]), max_size=5))
def test_fargate_never_passes_the_maximum(maximum: int, sizes: list[float]) -> None:
    wanted = [jobs(9, size, {0.25: 512, 1: 2048, 16: 32768}[size]) for size in sizes]
    decision = decided(queue(*wanted), environments=[fargate(maxv_cpus=maximum)])["a"]
    assert sum(kind.vcpus for kind in launched(decision)) <= maximum


@settings(max_examples=EXAMPLES, deadline=None)
@given(environments, st.lists(shapes, max_size=5), some_instances)
def test_decisions_are_the_same_each_time(
    environment: Environment, wanted: list[ShapeDemand], there: list[Instance]
) -> None:
    """Nothing but the snapshot and the time decides."""
    snapshot = CapacitySnapshot([queue(*wanted)], [environment], there)
    assert decide(snapshot, NOW, SETTINGS) == decide(snapshot, NOW, SETTINGS)


@settings(max_examples=EXAMPLES, deadline=None)
@given(environments, st.lists(shapes, max_size=5))
def test_what_the_provider_is_short_of_is_never_ordered(
    environment: Environment, wanted: list[ShapeDemand]
) -> None:
    """Neither in the first place nor as what to fall back on."""
    decision = decided(queue(*wanted), environments=[environment])["a"]
    assert not any(launch.offer.is_short for launch in decision.launches)
    assert not any(offer.is_short for offer in decision.alternatives)


@settings(max_examples=EXAMPLES, deadline=None)
@given(environments, st.lists(shapes, min_size=1, max_size=5))
def test_only_usable_environments_grow(environment: Environment, wanted: list[ShapeDemand]) -> None:
    off = env("a", is_enabled=False)
    invalid = env("b", status="INVALID")
    decisions = decided(
        queue(*wanted, on="abc"),
        environments=[off, invalid, env("c", maxv_cpus=10**6)],
    )
    assert not decisions["a"].launches
    assert not decisions["b"].launches


@settings(max_examples=EXAMPLES, deadline=None)
@given(type_lists, st.lists(plain_shapes, min_size=1, max_size=6), st.sampled_from(STRATEGIES))
def test_everything_is_covered_where_nothing_binds(
    types: list[str], wanted: list[ShapeDemand], strategy: str
) -> None:
    """Every job that some type is large enough for has room on what is ordered."""
    free = env(types=types, maxv_cpus=10**9, allocation_strategy=strategy)
    possible = [
        shape
        for shape in wanted
        if any(offer.kind.offer.holds(shape.need) for offer in free.offers)
    ]
    decision = decided(queue(*possible), environments=[free])["a"]
    assert not waiting(decision)
    for dimension in ("vcpu_milli", "memory_mib"):
        needed = sum(getattr(shape.need, dimension) * shape.runnable for shape in possible)
        assert sum(getattr(kind.offer, dimension) for kind in launched(decision)) >= needed
    # The scaler finds room for all of them on the instances once they boot.
    booting = [
        instance(kind.name, state=InstanceState.BOOTING, ordered_at=NOW)
        for kind in launched(decision)
    ]
    again = decided(queue(*possible), environments=[free], instances=booting)["a"]
    assert not again.launches


@settings(max_examples=EXAMPLES, deadline=None)
@given(type_lists, st.lists(plain_shapes, min_size=1, max_size=6))
def test_no_instance_without_need(types: list[str], wanted: list[ShapeDemand]) -> None:
    """Without any one of the instances, the jobs would not fit, the largest going first."""
    free = env(types=types, maxv_cpus=10**9, allocation_strategy="BEST_FIT_PROGRESSIVE")
    possible = [
        shape
        for shape in wanted
        if any(offer.kind.offer.holds(shape.need) for offer in free.offers)
    ]
    kinds = launched(decided(queue(*possible), environments=[free])["a"])
    if not 0 < len(kinds) <= 500:  # one more or less does not matter
        return
    by_size = sorted(possible, key=lambda shape: (-shape.need.vcpu_milli, -shape.need.memory_mib))
    for kind in set(kinds):
        rest = Counter(kinds) - Counter([kind])
        offers = sorted(
            (one.offer for one in rest.elements()),
            key=lambda offer: (offer.vcpu_milli, offer.memory_mib, offer.gpus),
        )
        rooms = Rooms.of(offers)
        assert any(rooms.take(s.need, s.runnable) < s.runnable for s in by_size)


@settings(max_examples=EXAMPLES, deadline=None)
@given(environments)
def test_without_demand_there_is_the_minimum_and_no_more(environment: Environment) -> None:
    decision = decided(environments=[environment])["a"]
    if decision.launches:
        smallest = min(kind.vcpus for kind in launched(decision))
        assert decision.desiredv_cpus - smallest < environment.minv_cpus


@settings(max_examples=EXAMPLES, deadline=None)
@given(type_lists, st.lists(plain_shapes, min_size=1, max_size=4))
def test_the_bill_is_never_above_that_of_one_type_alone(
    types: list[str], wanted: list[ShapeDemand]
) -> None:
    """Where the environment is free to choose: neither shape by shape nor all on one type."""
    free = env(types=types, maxv_cpus=10**9, allocation_strategy="BEST_FIT_PROGRESSIVE")
    kinds = [offer.kind for offer in free.offers if not offer.kind.gpus]
    alone = []
    for kind in kinds:
        held = [kind.offer.count(shape.need) for shape in wanted]
        if all(held):
            number = sum(
                math.ceil(shape.runnable / count) for shape, count in zip(wanted, held, strict=True)
            )
            alone.append(number * kind.price_per_hour)
    decision = decided(queue(*wanted), environments=[free])["a"]
    assert not alone or bill(decision) <= min(alone) + 1e-6


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(plain_shapes, min_size=1, max_size=5), st.sampled_from(STRATEGIES))
def test_gpu_types_are_not_wasted(wanted: list[ShapeDemand], strategy: str) -> None:
    """None is ordered for jobs without GPUs that fit on another type."""
    both = env(types=["g5", "g4dn", "x2iedn"], maxv_cpus=10**9, allocation_strategy=strategy)
    decision = decided(queue(*wanted), environments=[both])["a"]
    assert not any(kind.gpus for kind in launched(decision))
    assert not any(offer.kind.gpus for offer in decision.alternatives)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(2, 40),
    st.sampled_from(STRATEGIES),
    st.booleans(),
)
def test_earlier_jobs_are_served_first(
    first: int, second: int, maximum: int, strategy: str, are_in_one_queue: bool
) -> None:
    """When maxvCpus is short, it is the later shape that waits."""
    cramped = env(types=["c6i.large"], maxv_cpus=maximum, allocation_strategy=strategy)
    early, late = jobs(first, 2, 128), jobs(second, 1, 2560)
    queues: list[QueueDemand] = (
        [queue(early, late)]
        if are_in_one_queue
        else [queue(late, priority=1), queue(early, priority=2)]
    )
    together = decided(*queues, environments=[cramped])["a"]
    alone = decided(queue(early), environments=[cramped])["a"]
    limit = maximum // 2 if cramped.is_strict else math.ceil(maximum / 2)
    assert sum(ordered(alone).values()) == min(first, limit)
    assert sum(ordered(together).values()) == min(first + second, limit)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(plain_shapes, min_size=2, max_size=6), st.integers(10, 400))
def test_under_a_binding_maximum_a_longer_queue_changes_nothing_for_its_head(
    wanted: list[ShapeDemand], maximum: int
) -> None:
    """What the first shapes alone would get whole, they get with others behind them."""
    cramped = env(types=["optimal"], maxv_cpus=maximum, allocation_strategy="BEST_FIT_PROGRESSIVE")
    for length in range(1, len(wanted)):
        head = wanted[:length]
        alone = decided(queue(*head), environments=[cramped])["a"]
        if waiting(alone):
            break
        together = decided(queue(*wanted), environments=[cramped])["a"]
        rooms = Rooms.of(
            Resources(kind.offer.vcpu_milli, kind.offer.memory_mib) for kind in launched(together)
        )
        total = sum(shape.need.vcpu_milli * shape.runnable for shape in head)
        assert rooms.free[0].sum() >= total


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.permutations(["a", "b", "c"]), plain_shapes, st.integers(1, 64))
def test_what_one_environment_has_no_room_for_goes_on_to_the_next(
    names: list[str], shape: ShapeDemand, maximum: int
) -> None:
    """In the queue's order: a later one grows only when those before it may not."""
    environments = [env(name, types=["c6i", "x2iedn"], maxv_cpus=maximum) for name in names]
    decisions = decided(queue(shape, on="abc"), environments=environments)
    smallest = min(
        offer.kind.vcpus for offer in environments[0].offers if offer.kind.offer.holds(shape.need)
    )
    for before, after in itertools.pairwise("abc"):
        if decisions[after].launches:
            assert decisions[before].desiredv_cpus + smallest > maximum
