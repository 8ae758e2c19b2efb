"""Demand that consumable resources allow: what lacks units of some is no reason for instances.

Simple meaning: what is available of resources is given out to what waits, queues of higher priority
first, in the order of their demand; what there is nothing for does not count.

One job of each kind counts all the same where there are units for it by themselves: placement may
keep them for that one, in an order of its own, and then it is room alone that it waits for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from longshore.domain.consumable import OpenStock, Stock
from longshore.domain.scaling.capacity import QueueDemand, ShapeDemand


def within_stock(queues: Sequence[QueueDemand], stock: Stock) -> list[QueueDemand]:
    """The same queues, with as many jobs of each shape as there are units for."""
    if not any(shape.units for queue in queues for shape in queue.shapes):
        return list(queues)
    left = OpenStock(stock)
    ordered = sorted(queues, key=lambda queue: (-queue.priority, queue.name))
    found = {queue.name: tuple(_allowed(queue.shapes, left, stock)) for queue in ordered}
    return [replace(queue, shapes=found[queue.name]) for queue in queues]


def _allowed(shapes: Iterable[ShapeDemand], left: OpenStock, stock: Stock) -> Iterable[ShapeDemand]:
    for shape in shapes:
        most = left.most(shape.shape_id, shape.units)
        count = shape.runnable if most is None else min(shape.runnable, most)
        if not count and stock.has(shape.units):
            yield replace(shape, runnable=1)
        left.take(shape.shape_id, shape.units, count)
        if count:
            yield replace(shape, runnable=count)
