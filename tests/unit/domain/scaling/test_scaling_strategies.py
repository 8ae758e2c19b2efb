"""Allocation strategies: which types are ordered, what is fallen back on, what is waited for."""

import uuid
from typing import Any

import pytest
from support.scaling import bill, decided, env, jobs, ordered, pools, progressive, queue

from longshore.domain.catalogue import Catalogue
from longshore.domain.order import ENTRIES_LIMIT
from longshore.domain.scaling.capacity import Environment
from longshore.domain.scaling.decision import Decision, order_for

PRICE = "SPOT_PRICE_CAPACITY_OPTIMIZED"
DEPTH = "SPOT_CAPACITY_OPTIMIZED"
PRIORITIZED = "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED"


def alternatives(decision: Decision) -> list[str]:
    """What may be fallen back on, the best first."""
    return [offer.kind.name for offer in decision.alternatives]


def spot(strategy: str, *quotes: tuple[str, float, float], **more: Any) -> Environment:
    """A spot environment."""
    return env(offers=pools(*quotes), allocation_strategy=strategy, is_spot=True, **more)


def test_best_fit_takes_the_best_type_for_each_shape_and_nothing_else() -> None:
    """No alternatives: it never switches."""
    decision = decided(
        queue(jobs(1, 2, 3000), jobs(1, 2, 7000)), environments=[env(types=["optimal"])]
    )
    assert ordered(decision["a"]) == {"c6i.large": 1, "m6i.large": 1}
    assert decision["a"].alternatives == ()


def test_best_fit_waits_and_says_what_for() -> None:
    waiting = env(types=["c6i.large", "m6i.large"], short=("c6i.large",))
    decision = decided(queue(jobs(1)), environments=[waiting])["a"]
    assert not decision.launches
    assert decision.reason == "The provider is short of c6i.large, which 1 job would need."


def test_best_fit_leaves_what_it_waits_for_to_the_next_environment() -> None:
    waiting = env("a", types=["c6i.large", "m6i.large"], short=("c6i.large",))
    decisions = decided(queue(jobs(1), on="ab"), environments=[waiting, env("b")])
    assert ordered(decisions["b"]) == {"c6i.large": 1}


def test_progressive_blends_shapes_on_one_type() -> None:
    """CPU-heavy and memory-heavy jobs fill instances that suit neither alone."""
    heavy, light = jobs(64, 1, 6900), jobs(64, 1, 1100)
    environment = progressive(["optimal"])
    together = decided(queue(heavy, light), environments=[environment])["a"]
    apart = [decided(queue(one), environments=[environment])["a"] for one in (heavy, light)]
    assert bill(together) < 0.95 * sum(bill(one) for one in apart)


def test_progressive_falls_back_on_other_types_by_price() -> None:
    """Not on those that are too small, or that the provider is short of."""
    listed = progressive(
        ["c6i.large", "m6i.large", "r6i.large", "c7i.xlarge", "m6i.xlarge"], short=("m6i.xlarge",)
    )
    decision = decided(queue(jobs(1, 2, 3500)), environments=[listed])["a"]
    assert ordered(decision) == {"c6i.large": 1}
    assert set(alternatives(decision)) == {"m6i.large", "r6i.large", "c7i.xlarge"}
    small = decided(queue(jobs(1, 2, 7000)), environments=[listed])["a"]
    assert ordered(small) == {"m6i.large": 1}
    assert set(alternatives(small)) == {"r6i.large", "c7i.xlarge"}


def test_progressive_skips_what_is_short() -> None:
    listed = progressive(["c6i.large", "m6i.large"], short=("c6i.large",))
    decision = decided(queue(jobs(1)), environments=[listed])["a"]
    assert ordered(decision) == {"m6i.large": 1}
    both = progressive(["c6i.large", "m6i.large"], short=("c6i.large", "m6i.large"))
    reason = decided(queue(jobs(2)), environments=[both])["a"].reason
    assert reason == "The provider is short of c6i.large, m6i.large, which 2 jobs would need."


def test_a_type_is_had_from_the_cheapest_zone_that_has_it() -> None:
    """The other zones come first of what is fallen back on."""
    dear = pools(("c6i.large", 0.09, 1), zone="b")
    cheap = pools(("c6i.large", 0.08, 1), zone="a")
    decision = decided(queue(jobs(1)), environments=[progressive(offers=dear + cheap)])["a"]
    assert [launch.offer.zone for launch in decision.launches] == ["a"]
    assert [offer.zone for offer in decision.alternatives] == ["b"]


def test_the_order_of_the_list_beats_the_price() -> None:
    """Within a family it is the price; a type that does not fit is passed over."""
    listed = env(types=["r6i.large", "c6i"], allocation_strategy="BEST_FIT_PROGRESSIVE_ORDERED")
    assert ordered(decided(queue(jobs(1)), environments=[listed])["a"]) == {"r6i.large": 1}
    assert ordered(decided(queue(jobs(1, 8)), environments=[listed])["a"]) == {"c6i.2xlarge": 1}


def test_the_ordered_strategy_goes_down_the_list_where_the_provider_is_short() -> None:
    listed = env(
        types=["r6i.large", "m6i", "c6i"],
        allocation_strategy="BEST_FIT_PROGRESSIVE_ORDERED",
        short=("r6i.large",),
    )
    decision = decided(queue(jobs(1, 2)), environments=[listed])["a"]
    assert ordered(decision) == {"m6i.large": 1}
    families = [name.partition(".")[0] for name in alternatives(decision)]
    assert families == sorted(families, reverse=True)  # m6i before c6i


def test_a_type_named_by_itself_keeps_its_place() -> None:
    """It is taken out of its family's expansion."""
    places = Catalogue().places(["c6i", "m6i.large", "c6i.large"])
    assert places["c6i.xlarge"] == 0
    assert places["m6i.large"] == 1
    assert places["c6i.large"] == 2


def test_the_deepest_pools_are_taken_first() -> None:
    """Of equally deep ones the cheapest; the provider chooses among all that are large enough."""
    environment = spot(
        DEPTH, ("c6i.large", 0.01, 0.2), ("m6i.large", 0.05, 0.9), ("r6i.large", 0.04, 0.9)
    )
    decision = decided(queue(jobs(3, 2)), environments=[environment])["a"]
    assert ordered(decision) == {"r6i.large": 3}
    order = order_for(decision, environment, uuid.UUID(int=1))
    assert order.allocation_strategy == DEPTH
    assert [(entry.instance_type, entry.rank, entry.max_count) for entry in order.entries] == [
        ("r6i.large", 0, 3),
        ("m6i.large", 0, 3),
        ("c6i.large", 0, 3),
    ]


def test_price_is_weighed_by_depth() -> None:
    """Half as deep must be less than a quarter of the price."""
    for cheap, taken in ((0.012, "c6i.large"), (0.013, "m6i.large")):
        environment = spot(PRICE, ("c6i.large", cheap, 0.5), ("m6i.large", 0.05, 1.0))
        decision = decided(queue(jobs(1, 2)), environments=[environment])["a"]
        assert ordered(decision) == {taken: 1}


def test_the_prioritized_strategy_goes_by_depth_then_by_the_list() -> None:
    """Depths are alike within a quarter."""
    environment = spot(
        PRIORITIZED, ("c6i.large", 0.01, 0.3), ("r6i.large", 0.09, 0.8), ("m6i.large", 0.01, 0.9)
    )
    decision = decided(queue(jobs(1, 2)), environments=[environment])["a"]
    assert ordered(decision) == {"r6i.large": 1}
    assert alternatives(decision) == ["m6i.large", "c6i.large"]


def test_progressive_entries_are_ranked() -> None:
    """What is ordered first, then what is fallen back on, each enough for all of it."""
    environment = progressive(["c6i.large", "c6i.4xlarge", "m6i.large"])
    decision = decided(queue(jobs(3, 2)), environments=[environment])["a"]
    order = order_for(decision, environment, uuid.UUID(int=1))
    assert [(entry.instance_type, entry.rank, entry.max_count) for entry in order.entries] == [
        ("c6i.large", 0, 3),
        ("m6i.large", 1, 3),
        ("c6i.4xlarge", 2, 1),
    ]
    assert order.target_vcpus == 6


def test_a_bid_is_carried_along() -> None:
    """In percent of the on-demand price."""
    environment = spot(DEPTH, ("c6i.large", 0.03, 1.0), bid_percentage=50)
    decision = decided(queue(jobs(1)), environments=[environment])["a"]
    [entry] = order_for(decision, environment, uuid.UUID(int=1)).entries
    assert entry.max_price_per_hour == pytest.approx(0.0425)
    on_demand = progressive()
    decision = decided(queue(jobs(1)), environments=[on_demand])["a"]
    assert order_for(decision, on_demand, uuid.UUID(int=1)).entries[0].max_price_per_hour is None


def test_an_order_has_no_more_entries_than_are_accepted() -> None:
    kinds = [(kind.name, 0.1, 1.0) for kind in Catalogue() if not kind.gpus]
    offers = tuple(offer for zone in "abcdef" for offer in pools(*kinds, zone=zone))
    environment = progressive(offers=offers)
    decision = decided(queue(jobs(1, 0.25, 128)), environments=[environment])["a"]
    order = order_for(decision, environment, uuid.UUID(int=1))
    assert len(order.entries) == ENTRIES_LIMIT < len(decision.alternatives)


def test_what_is_free_of_charge_is_not_wasted() -> None:
    """On one's own machine types have no price, but sizes."""
    offers = pools(("c6i.8xlarge", 0, 1), ("c6i.large", 0, 1))
    for strategy in ("BEST_FIT", "BEST_FIT_PROGRESSIVE", DEPTH):
        environment = env(offers=offers, allocation_strategy=strategy)
        decision = decided(queue(jobs(3)), environments=[environment])["a"]
        assert ordered(decision) == {"c6i.large": 2}


def test_plain_jobs_use_what_gpu_jobs_leave() -> None:
    """GPU types are not ordered for them, yet what is free on one is not left empty."""
    environment = progressive(["g4dn.xlarge", "c6i"])
    decision = decided(
        queue(jobs(1, 2, 4000, gpus=1), jobs(1, 2, 3000)), environments=[environment]
    )
    assert ordered(decision["a"]) == {"g4dn.xlarge": 1}


def test_small_orders_do_not_fall_back_on_large_instances_first() -> None:
    """Types of a family cost the same for what they hold; nobody wants 128 vCPUs for two."""
    decision = decided(queue(jobs(1, 2, 3000)), environments=[progressive(["c6i"])])["a"]
    assert ordered(decision) == {"c6i.large": 1}
    assert alternatives(decision)[:2] == ["c6i.xlarge", "c6i.2xlarge"]


@pytest.mark.parametrize("strategy", [PRICE, DEPTH, PRIORITIZED])
def test_the_provider_chooses_from_nothing_larger_than_what_is_wanted(strategy: str) -> None:
    """It looks at price and depth of pools alone, and maxvCpus is a bound on the bill."""
    quotes = [("c6i.large", 0.02, 0.5), ("m6i.large", 0.03, 0.5), ("c6i.32xlarge", 1.5, 0.5)]
    decision = decided(queue(jobs(1, 2, 3000)), environments=[spot(strategy, *quotes)])["a"]
    assert ordered(decision).keys() <= {"c6i.large", "m6i.large"}
    assert set(alternatives(decision)) <= {"c6i.large", "m6i.large"}
