"""Demand of a queue with a policy, in the order in which its jobs will be placed."""

from typing import Any

from longshore.domain.fair_share import SharePolicy, Standing
from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import ShapeDemand
from longshore.domain.scaling.sharing import DemandSharing, in_order

SMALL, LARGE = Resources(1_000, 1_024, 0), Resources(4_000, 1_024, 0)


def a_demand(share: str, need: Resources, runnable: int, seq: int, **members: Any) -> ShapeDemand:
    return ShapeDemand(seq, need, runnable, order=(0, seq), share=share, **members)


def sharing(
    most_vcpus: int | None, *, used_vcpus: int = 0, reservation: int = 0, **usage: float
) -> DemandSharing:
    return DemandSharing(
        SharePolicy(compute_reservation=reservation),
        {share: Standing(average=average) for share, average in usage.items()},
        len(usage),
        used_vcpus * 1000,
        None if most_vcpus is None else most_vcpus * 1000,
    )


def told(shapes: tuple[ShapeDemand, ...]) -> list[tuple[int, int]]:
    return [(shape.need.vcpu_milli // 1000, shape.runnable) for shape in shapes]


def test_those_whose_turn_comes_first_are_first_as_far_as_the_queue_may_go() -> None:
    """Not the hundred large ones that were first, although they could use all that there is."""
    shapes = [a_demand("a", LARGE, 100, 1), a_demand("b", SMALL, 100, 2)]
    assert told(in_order(shapes, sharing(40, a=0, b=0))) == [(4, 5), (1, 20), (4, 95), (1, 80)]


def test_what_was_used_lately_counts() -> None:
    shapes = [a_demand("a", LARGE, 100, 1), a_demand("b", SMALL, 100, 2)]
    assert told(in_order(shapes, sharing(40, a=1000, b=0)))[0] == (1, 40)


def test_jobs_that_need_the_same_are_one_whosever_they_are() -> None:
    shapes = [a_demand(f"s{n}", SMALL, 3, n) for n in range(500)]
    found = in_order(shapes, sharing(100, **{f"s{n}": 0 for n in range(500)}))
    assert told(found) == [(1, 100), (1, 1400)]


def test_what_is_in_use_is_not_given_out_again() -> None:
    shapes = [a_demand("a", SMALL, 100, 1)]
    assert told(in_order(shapes, sharing(40, used_vcpus=30, a=0))) == [(1, 10), (1, 90)]
    assert told(in_order(shapes, sharing(40, used_vcpus=50, a=0))) == [(1, 100)]


def test_nothing_is_ordered_for_what_is_reserved() -> None:
    shapes = [a_demand("a", SMALL, 100, 1)]
    assert told(in_order(shapes, sharing(40, reservation=50, a=0))) == [(1, 20)]


def test_priority_decides_within_a_share() -> None:
    shapes = [a_demand("a", LARGE, 10, 1), a_demand("a", SMALL, 10, 2, priority=1)]
    assert told(in_order(shapes, sharing(12, a=0)))[0] == (1, 10)


def test_where_nobody_knows_how_much_there_may_be_all_is_in_turn() -> None:
    shapes = [a_demand("a", LARGE, 100, 1), a_demand("b", SMALL, 100, 2)]
    assert told(in_order(shapes, sharing(None, a=9, b=0))) == [(1, 100), (4, 100)]


def test_a_multi_node_job_counts_with_all_its_nodes() -> None:
    shapes = [a_demand("a", LARGE, 10, 1, nodes=2), a_demand("b", SMALL, 100, 2)]
    assert told(in_order(shapes, sharing(32, a=0, b=0)))[:2] == [(4, 2), (1, 16)]
