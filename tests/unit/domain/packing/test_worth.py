"""What a vCPU, a MiB and a GPU are worth: the dual prices of the cheapest fleet in fractions."""

import highspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshore.domain.packing.worth import least_vcpus, worths


def least(offers: list[list[int]], prices: list[float], demand: list[int]) -> float:
    """The price of the cheapest fleet in fractions."""
    model = highspy.Highs()
    model.setOptionValue("output_flag", False)
    counts = [model.addVariable(lb=0, obj=price) for price in prices]
    for dimension, amount in enumerate(demand):
        terms = [
            count * offer[dimension]
            for count, offer in zip(counts, offers, strict=True)
            if offer[dimension]
        ]
        if terms:
            model.addConstr(sum(terms[1:], terms[0]) >= amount)
    model.minimize()
    return float(model.getInfo().objective_function_value)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 64), st.integers(1, 512), st.integers(0, 4), st.integers(1, 500)),
        min_size=1,
        max_size=12,
    ),
    st.lists(st.integers(0, 1000), min_size=3, max_size=3),
)
def test_worths_are_those_of_the_cheapest_fleet(
    types: list[tuple[int, int, int, int]], demand: list[int]
) -> None:
    """They add up to its price, and no type offers more worth than it costs."""
    offers = [[vcpus, memory, gpus] for vcpus, memory, gpus, _ in types]
    prices = [price / 100 for *_, price in types]
    if not any(gpus for _, _, gpus in offers):
        demand[2] = 0
    found = worths(np.array(offers, float), np.array(prices), np.array(demand, float))
    assert (found >= 0).all()
    assert (np.array(offers) @ found <= np.array(prices) + 1e-6).all()
    bill = least(offers, prices, demand)
    assert abs(found @ np.array(demand) - bill) <= 1e-6 * max(bill, 1)


def test_nothing_wanted_is_worth_nothing() -> None:
    found = worths(np.array([[2.0, 4.0, 0.0]]), np.array([1.0]), np.zeros(3))
    assert found.tolist() == [0, 0, 0]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 64), st.integers(1, 512), st.integers(1, 500)),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 1000),
    st.integers(0, 1000),
)
def test_the_cheapest_fleet_has_the_vcpus_that_are_wanted(
    types: list[tuple[int, int, int]], vcpus: int, memory: int
) -> None:
    """Or more, where memory binds: as much as the types that it may consist of bring with it."""
    offers = np.array([[held, mib, 0] for held, mib, _ in types], float)
    prices = np.array([price / 100 for *_, price in types])
    found = least_vcpus(offers, prices, np.array([vcpus, memory, 0.0]))
    assert found >= vcpus * (1 - 1e-6)
    alone = [max(vcpus, memory / mib * held) for held, mib, _ in types]
    assert found <= max(alone) * (1 + 1e-6)


def test_the_vcpus_of_one_type_alone_are_those_of_what_binds() -> None:
    one, price = np.array([[2000.0, 4096.0, 0.0]]), np.array([1.0])
    assert least_vcpus(one, price, np.array([1000.0, 1024.0, 0.0])) == pytest.approx(1000)
    assert least_vcpus(one, price, np.array([1000.0, 8192.0, 0.0])) == pytest.approx(4000)
    assert least_vcpus(one, price, np.zeros(3)) == 0
