"""Blending of jobs of many shapes onto instances of many types."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from longshore.domain.catalogue import Catalogue
from longshore.domain.packing.blending import Batch, Problem, blend
from longshore.domain.packing.worth import worths

CATALOGUE = Catalogue()


def a_problem(
    types: Sequence[str], shapes: Sequence[tuple[float, int, int]], counts: Sequence[int]
) -> Problem:
    """Any type may be taken for any job that fits it."""
    kinds = CATALOGUE.resolve(types)
    offers = np.array(
        [(k.offer.vcpu_milli, k.offer.memory_mib, k.offer.gpus) for k in kinds], float
    )
    needs = np.array([(vcpus * 1000, memory, gpus) for vcpus, memory, gpus in shapes], float)
    return Problem(
        needs,
        np.array(counts),
        offers,
        np.array([kind.price_per_hour for kind in kinds]),
        (needs[:, None, :] <= offers[None, :, :]).all(axis=2),
    )


def held(problem: Problem, batches: list[Batch]) -> list[float]:
    """What the jobs on the instances hold."""
    total = np.zeros(3)
    for batch in batches:
        assert (batch.left >= 0).all()
        total += (problem.offers[batch.offer] - batch.left) * batch.count
    return [float(amount) for amount in total]


def bill(problem: Problem, batches: list[Batch]) -> float:
    """US dollars per hour."""
    return float(sum(problem.prices[batch.offer] * batch.count for batch in batches))


def bound(problem: Problem) -> float:
    """What the jobs cost at the very least."""
    demand = problem.counts @ problem.needs
    return float(worths(problem.offers, problem.prices, demand) @ demand)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.25, 1, 3, 16]), st.integers(64, 100_000), st.sampled_from([0, 0, 1])
        ),
        min_size=1,
        max_size=8,
    ),
    st.data(),
)
def test_every_job_is_held_once(shapes: list[tuple[float, int, int]], data: st.DataObject) -> None:
    """What is used of the instances is just what the jobs need."""
    counts = data.draw(st.lists(st.integers(0, 500), min_size=len(shapes), max_size=len(shapes)))
    problem = a_problem(["optimal", "g4dn"], shapes, counts)
    batches = blend(problem)
    possible = np.where(problem.causes.any(axis=1), problem.counts, 0)
    assert held(problem, batches) == (possible @ problem.needs).tolist()
    assert bill(problem, batches) >= bound(problem) * (1 - 1e-9) or (possible < counts).any()


def test_directions_meet_on_one_instance() -> None:
    """Jobs of 7 GiB and of 1 GiB a vCPU fill instances of 4 GiB a vCPU."""
    problem = a_problem(["optimal"], [(1, 7000, 0), (1, 1100, 0)], [3000, 3000])
    assert bill(problem, blend(problem)) < 1.01 * bound(problem)


def test_the_last_jobs_get_small_instances() -> None:
    """129 vCPUs do not take two of the largest."""
    problem = a_problem(["c6i"], [(1, 1000, 0)], [129])
    assert bill(problem, blend(problem)) < 1.02 * bound(problem)


def test_plain_jobs_fill_what_gpu_jobs_leave() -> None:
    """An instance of four GPUs has vCPUs to spare."""
    problem = a_problem(["g4dn.12xlarge", "c6i"], [(8, 8000, 4), (4, 4000, 0)], [10, 100])
    problem.causes[1, 0] = False  # a plain job is never the cause of a GPU type
    batches = blend(problem)
    assert [(batch.offer, batch.count) for batch in batches] == [(0, 10)]


def test_a_type_is_only_taken_for_jobs_that_may_cause_it() -> None:
    """The others fill up, no more."""
    problem = a_problem(["c6i.xlarge", "m6i.xlarge"], [(1, 1000, 0), (1, 1000, 0)], [4, 3])
    problem.causes[0, 1] = problem.causes[1, 0] = False
    taken = {batch.offer: batch.count for batch in blend(problem)}
    assert taken == {0: 1, 1: 1}


def test_many_shapes_stay_close_to_the_bound() -> None:
    """Where instances are filled in larger steps, too."""
    rng = np.random.default_rng(1)
    shapes = [
        (float(vcpus), int(vcpus * ratio), 0)
        for vcpus, ratio in zip(
            rng.choice([0.5, 1, 2, 4, 8], 300), rng.uniform(500, 8000, 300), strict=True
        )
    ]
    problem = a_problem(["optimal"], shapes, [100] * 300)
    assert bill(problem, blend(problem)) < 1.02 * bound(problem)
