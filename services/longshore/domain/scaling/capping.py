"""Demand within caps: no instance is ordered, or kept, for what a cap holds back."""

from collections.abc import Iterable
from dataclasses import replace

from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import ShapeDemand


def alike(shapes: Iterable[ShapeDemand]) -> tuple[ShapeDemand, ...]:
    """One shape for all of a queue that need the same, in the place of the first.

    Each array with a cap has a shape to itself; to instances they are one, as without caps.
    """
    merged: dict[tuple[Resources, int, str], ShapeDemand] = {}
    for shape in shapes:
        kind = shape.need, shape.nodes, shape.instance_type
        known = merged.get(kind)
        merged[kind] = (
            shape if known is None else replace(known, runnable=known.runnable + shape.runnable)
        )
    return tuple(merged.values())


def within(shapes: Iterable[ShapeDemand], cap: int, running: int) -> tuple[ShapeDemand, ...]:
    """So many of the jobs of some shapes, in their order, as a cap lets run besides those that do.

    Args:
        shapes: of an array or a queue, those first whose jobs are placed first.
        cap: how many run at one time; 0: any number.
        running: how many do.
    """
    if not cap:
        return tuple(shapes)
    left, found = max(cap - running, 0), []
    for shape in shapes:
        count = min(shape.runnable, left)
        if count:
            found.append(replace(shape, runnable=count))
        left -= count
    return tuple(found)
