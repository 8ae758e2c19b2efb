"""Several environments that several queues spill over: who gets what, and how much work that is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scaling import decided, env, instance, jobs, queue

from longshore.domain.scaling.capacity import Environment, Instance, ShapeDemand
from longshore.domain.scaling.pool import Pool

EXAMPLES = 60
NAMES = "abcd"
STRATEGIES = ("BEST_FIT", "BEST_FIT_PROGRESSIVE", "BEST_FIT_PROGRESSIVE_ORDERED")

orders = st.permutations(NAMES).flatmap(
    lambda names: st.integers(1, len(names)).map(lambda number: tuple(names[:number]))
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.lists(st.tuples(orders, st.lists(st.integers(1, 30), max_size=4)), min_size=1, max_size=5),
    st.lists(st.integers(0, 12), min_size=4, max_size=4),
    st.sampled_from(STRATEGIES),
)
def test_each_job_in_turn_takes_the_first_environment_that_has_room(
    wanted: list[tuple[tuple[str, ...], list[int]]], halves: list[int], strategy: str
) -> None:
    """In order of priority: that is all the outcome depends on, whoever asks whom first."""
    environments = [
        env(name, types=["c6i.large"], maxv_cpus=2 * half, allocation_strategy=strategy)
        for name, half in zip(NAMES, halves, strict=True)
    ]
    queues = [
        queue(*(jobs(count) for count in counts), on=on, priority=99 - number)
        for number, (on, counts) in enumerate(wanted)
    ]
    decisions = decided(*queues, environments=environments)
    room = {name: 2 * half for name, half in zip(NAMES, halves, strict=True)}
    for on, counts in wanted:
        left = sum(counts)
        for name in on:
            taken = min(left, room[name])
            room[name] -= taken
            left -= taken
    for name, half in zip(NAMES, halves, strict=True):
        held = 2 * half - room[name]
        assert decisions[name].desiredv_cpus == held + held % 2


shapes = st.builds(
    jobs,
    st.integers(1, 200),
    st.sampled_from([0.25, 1, 3, 16]),
    st.sampled_from([64, 2000, 9000]),
    nodes=st.sampled_from([0, 0, 0, 1, 2]),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.lists(st.tuples(orders, st.lists(shapes, max_size=4)), min_size=1, max_size=4),
    st.lists(st.integers(0, 200), min_size=4, max_size=4),
    st.lists(
        st.builds(
            instance,
            st.sampled_from(["c6i.large", "m6i.4xlarge"]),
            environment=st.sampled_from(NAMES),
            live_attempts=st.sampled_from([0, 1]),
        ),
        max_size=6,
    ),
    st.sampled_from(STRATEGIES),
)
def test_every_environment_keeps_its_maximum(
    wanted: list[tuple[tuple[str, ...], list[ShapeDemand]]],
    maxima: list[int],
    there: list[Instance],
    strategy: str,
) -> None:
    """At most one instance over it, never with on-demand BEST_FIT; and grows for its queues."""
    environments: list[Environment] = [
        env(name, types=["c6i", "m6i"], maxv_cpus=most, allocation_strategy=strategy)
        for name, most in zip(NAMES, maxima, strict=True)
    ]
    queues = [queue(*some, on=on, priority=9 - n) for n, (on, some) in enumerate(wanted)]
    decisions = decided(*queues, environments=environments, instances=there)
    for environment in environments:
        launches = decisions[environment.name].launches
        before = sum(o.vcpus for o in there if o.compute_environment == environment.name)
        if not launches:
            continue
        largest = max(launch.offer.kind.vcpus for launch in launches)
        added = sum(launch.count * launch.offer.kind.vcpus for launch in launches)
        over = before + added - environment.maxv_cpus
        assert over <= 0 or (not environment.is_strict and over < largest)
        assert before < environment.maxv_cpus
        assert any(environment.name in on for on, some in wanted if some)


@pytest.mark.parametrize("number", [3, 8])
@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_ring_of_environments_is_packed_few_times(
    monkeypatch: pytest.MonkeyPatch, number: int, *, is_reversed: bool
) -> None:
    """Each queue spills over into the next one's: that does not go round and round."""
    packs = []
    pack = Pool.pack

    def counted(self: Pool) -> dict[int, int]:
        packs.append(self.env.name)
        return pack(self)

    monkeypatch.setattr(Pool, "pack", counted)
    names = [f"environment-{n}" for n in range(number)]
    environments = [
        env(name, types=["c6i"], maxv_cpus=400, allocation_strategy="BEST_FIT_PROGRESSIVE")
        for name in names
    ]
    queues = [
        queue(
            *(jobs(100, vcpus, 1000) for vcpus in (1, 2, 4)),
            on=[names[(n + step) % number] for step in range(3)],
            priority=n if is_reversed else number - n,
        )
        for n in range(number)
    ]
    decisions = decided(*queues, environments=environments)
    assert all(one.desiredv_cpus >= 400 for one in decisions.values())
    assert len(packs) <= 3 * number
