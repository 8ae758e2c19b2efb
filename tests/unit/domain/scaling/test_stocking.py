"""Demand that consumable resources allow."""

from longshore.domain.consumable import Resource, Stock
from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import QueueDemand, ShapeDemand
from longshore.domain.scaling.stocking import within_stock

NEED = Resources(1_000, 1_024)


def a_demand(shape_id: int, runnable: int, **units: int) -> ShapeDemand:
    return ShapeDemand(shape_id, NEED, runnable, units=tuple(units.items()))


def a_queue(name: str, priority: int, *shapes: ShapeDemand) -> QueueDemand:
    return QueueDemand(name, priority, ("ce",), shapes)


def told(queues: list[QueueDemand]) -> dict[int, int]:
    return {shape.shape_id: shape.runnable for queue in queues for shape in queue.shapes}


def a_stock(total: int, held: int = 0) -> Stock:
    stock = Stock({"x": Resource(total)})
    stock.held["x"] = held
    return stock


def test_jobs_count_as_far_as_there_are_units_for_them() -> None:
    queues = [a_queue("q", 1, a_demand(1, 100, x=2), a_demand(2, 100))]
    assert told(within_stock(queues, a_stock(7, held=2), {})) == {1: 2, 2: 100}
    assert told(within_stock(queues, a_stock(3, held=2), {})) == {2: 100}
    assert told(within_stock(queues, Stock(), {})) == {2: 100}


def test_queues_of_higher_priority_come_first_and_one_of_each_kind_counts() -> None:
    queues = [a_queue("low", 1, a_demand(1, 9, x=1)), a_queue("high", 2, a_demand(2, 9, x=1))]
    found = within_stock(queues, a_stock(5), {})
    assert [queue.name for queue in found] == ["low", "high"]
    assert told(found) == {1: 1, 2: 5}


def test_without_needs_all_stays() -> None:
    queues = [a_queue("q", 1, a_demand(1, 9))]
    assert within_stock(queues, Stock(), {}) == queues


def test_a_cap_is_for_what_has_its_units_and_units_are_for_what_the_cap_lets_run() -> None:
    """Else instances would be missing for jobs that placement takes next."""
    capped = a_queue("capped", 2, a_demand(1, 9, x=2), a_demand(2, 9, x=1), a_demand(3, 9))
    other = a_queue("other", 1, a_demand(4, 9, x=1))
    may_run = {"capped": 4}
    assert told(within_stock([capped, other], a_stock(5), may_run)) == {1: 2, 2: 1, 3: 1, 4: 1}
    assert told(within_stock([capped, other], a_stock(1), may_run)) == {2: 1, 3: 3, 4: 1}
    assert told(within_stock([capped, other], a_stock(99), {"capped": 1})) == {1: 1, 4: 9}
    assert told(within_stock([capped, other], a_stock(3), {"capped": -1})) == {4: 3}
