"""Demand that consumable resources and caps of queues allow: the rest is no reason for instances.

Simple meaning: what is available of resources is given out to what waits, queues of higher priority
first, in the order of their demand, and to no more jobs of a queue than its cap lets run; what
there is nothing for does not count, nor does it take a place within the cap.

One job of each kind counts all the same where there are units for it by themselves: placement may
keep them for that one, in an order of its own, and then it is room alone that it waits for.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from longshore.domain.consumable import OpenStock, Stock
from longshore.domain.scaling.capacity import QueueDemand, ShapeDemand


def within_stock(
    queues: Sequence[QueueDemand], stock: Stock, may_run: Mapping[str, int]
) -> list[QueueDemand]:
    """The same queues, with as many jobs of each shape as there are units for.

    Args:
        queues: all of them.
        stock: what there is of resources.
        may_run: how many more jobs run of each queue with a cap.
    """
    left = OpenStock(stock)
    ordered = sorted(queues, key=lambda queue: (-queue.priority, queue.name))
    found = {
        queue.name: tuple(_allowed(queue.shapes, left, stock, may_run.get(queue.name, sys.maxsize)))
        for queue in ordered
    }
    return [replace(queue, shapes=found[queue.name]) for queue in queues]


def _allowed(
    shapes: Iterable[ShapeDemand], left: OpenStock, stock: Stock, may_run: int
) -> Iterable[ShapeDemand]:
    for shape in shapes:
        if may_run <= 0:
            return
        most = left.most(shape.shape_id, shape.units)
        count = min(shape.runnable, may_run)
        if most is not None:
            count = min(count, most)
        if not count and stock.has(shape.units):
            yield replace(shape, runnable=1)
        left.take(shape.shape_id, shape.units, count)
        may_run -= count
        if count:
            yield replace(shape, runnable=count)
