"""Blending: packing of jobs of many shapes onto the cheapest instances of many types.

Simple meaning: again and again, fill one instance of each promising type as well as it goes with a
mix of the jobs that are left; take the type whose fill is worth most for its price (see `worth`),
as often as the jobs allow; until no job is left. Jobs that want much vCPU and jobs that want much
memory so meet on one instance, and the last few jobs get small instances.

How the code differs: a type's fill hardly ever becomes better while jobs get fewer, so the types
wait in a heap by their last known yield, and only those at its top are filled anew. Several ways of
choosing the next job for an instance are tried, and the cheapest result is taken; where one type
alone could be cheaper still, that too is tried, so the bill never exceeds any single type's. The
cost is in shapes and types, never in jobs.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from longshore.domain.packing.filling import MANY_SHAPES, Counts, Filling, Mask, Taste
from longshore.domain.packing.rooms import Rooms
from longshore.domain.packing.worth import Matrix, Vector, worths
from longshore.domain.resources import Resources

#: A larger type is taken for a yield that is so little smaller: fewer instances to look after.
_TOLERANCE = 1e-3
#: Below this yield what a vCPU is worth is reckoned anew from the jobs that are left.
_POOR = 0.9
#: A bill so close to the lower bound is not worth another try.
_GOOD = 1.002
#: Ways to blend, times shapes, that are tried at most.
_EFFORT = 120
#: Above it, an instance more or less does not matter.
_MANY_INSTANCES = 500
_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Problem:
    """Jobs to pack, and what may be had for them."""

    #: Of each shape: vCPU in thousandths, memory in MiB, GPUs.
    needs: Matrix
    #: Jobs of each shape.
    counts: Counts
    #: What each type offers, and at what price, above zero.
    offers: Matrix
    prices: Vector
    #: Whether a shape (row) may be the cause of taking a type (column). Others only fill up.
    causes: Mask


@dataclass(frozen=True, slots=True)
class Batch:
    """Instances of one type with the same jobs on each."""

    offer: int
    count: int
    #: What is free on each.
    left: Vector


_TASTES = (
    Taste(proportion=0.9),
    Taste(),
    Taste(size=1.0, floor=0.2),
    Taste(size=0.3),
    Taste(proportion=0.6),
    Taste(proportion=1.0, floor=0.2),
)


def sketch(problem: Problem) -> list[Batch]:
    """Instances that hold the jobs which some type may be taken for: the first way, no other."""
    return _blend_once(problem, _TASTES[0]) or []


def blend(problem: Problem, first: list[Batch] | None = None) -> list[Batch]:
    """The cheapest instances found that hold all the jobs which some type may be taken for.

    Args:
        problem: the jobs, and what may be had.
        first: what `sketch` made of it, if that is known.
    """
    able = problem.causes.any(axis=1) & (problem.counts > 0)
    if not able.any():
        return []
    best = _best_blend(problem, able, sketch(problem) if first is None else first)
    for offer in _singles(problem, able):
        if _least_cost(problem, able, offer) < _bill(problem, best)[0] - 1e-9:
            alone = np.zeros_like(problem.causes)
            alone[:, offer] = problem.causes[:, offer]
            single = Problem(problem.needs, problem.counts, problem.offers, problem.prices, alone)
            found = _blend_once(single, _TASTES[0], _bill(problem, best)[0])
            best = min(best, found or best, key=lambda batches: _bill(problem, batches))
    is_small = able.sum() <= MANY_SHAPES and sum(batch.count for batch in best) <= _MANY_INSTANCES
    return _thinned(problem, able, best) if is_small else best


def _best_blend(problem: Problem, able: Mask, first: list[Batch]) -> list[Batch]:
    """The cheapest of several ways; no more are tried once one is as good as can be had."""
    demand = problem.counts[able] @ problem.needs[able]
    usable = problem.causes.any(axis=0)
    bound = float(worths(problem.offers[usable], problem.prices[usable], demand) @ demand)
    best, least = first, _bill(problem, first)
    for taste in _TASTES[1 : max(1, min(len(_TASTES), _EFFORT // int(able.sum())))]:
        if least[0] <= bound * _GOOD:
            break
        batches = _blend_once(problem, taste, least[0])
        if batches is not None and (price := _bill(problem, batches)) < least:
            best, least = batches, price
    return best


def _thinned(problem: Problem, able: Mask, batches: list[Batch]) -> list[Batch]:
    """Without instances that the others could stand in for, the dearest first.

    Everything is packed anew for that, the largest jobs first.
    """
    order = np.lexsort((-problem.needs[:, 1], -problem.needs[:, 0], -problem.needs[:, 2]))
    jobs = [
        (Resources(*(int(amount) for amount in problem.needs[shape])), int(problem.counts[shape]))
        for shape in order.tolist()
        if able[shape]
    ]
    fleet = Counter[int]()
    for batch in batches:
        fleet[batch.offer] += batch.count
    while True:
        for offer in sorted(fleet, key=lambda offer: (-problem.prices[offer], offer)):
            rest = fleet - Counter([offer])
            rooms = _fitted(problem, rest, jobs)
            if rooms is not None:
                fleet = rest
                batches = [Batch(kind, 1, left) for kind, left in zip(*rooms, strict=True)]
                break
        else:
            return batches


def _fitted(
    problem: Problem, fleet: Counter[int], jobs: list[tuple[Resources, int]]
) -> tuple[list[int], Matrix] | None:
    """Each instance's type and what is left on it, if all jobs fit, the largest ones first."""
    kinds = sorted(fleet.elements(), key=lambda offer: (*problem.offers[offer], offer))
    free = [Resources(*(int(amount) for amount in problem.offers[kind])) for kind in kinds]
    total = problem.offers[kinds].sum(axis=0)
    wanted = sum(np.array([n.vcpu_milli, n.memory_mib, n.gpus]) * count for n, count in jobs)
    if not kinds or (wanted > total).any():
        return None
    rooms = Rooms.of(free)
    if all(rooms.take(need, count) == count for need, count in jobs):
        return kinds, rooms.free.T.astype(np.float64)
    return None


def _bill(problem: Problem, batches: list[Batch]) -> tuple[float, float, int]:
    """Price per hour, vCPUs and instances: less is better."""
    price = sum(problem.prices[batch.offer] * batch.count for batch in batches)
    vcpus = sum(problem.offers[batch.offer, 0] * batch.count for batch in batches)
    return round(float(price), 6), float(vcpus), sum(batch.count for batch in batches)


def _singles(problem: Problem, able: Mask) -> Iterator[int]:
    """Types that could be taken for all the jobs."""
    yield from np.flatnonzero(problem.causes[able].all(axis=0)).tolist()


def _least_cost(problem: Problem, able: Mask, offer: int) -> float:
    """What one type alone would cost at the very least."""
    total = problem.counts[able] @ problem.needs[able]
    held = problem.offers[offer]
    wanted = total > 0
    return float(np.ceil((total[wanted] / held[wanted]).max() - 1e-9) * problem.prices[offer])


def _blend_once(problem: Problem, taste: Taste, limit: float = math.inf) -> list[Batch] | None:
    """Packs everything in one way; None as soon as it is sure to cost more than a limit.

    Types with GPUs come first: what else jobs leave of them costs no more if others use it.
    """
    left = np.where(problem.causes.any(axis=1), problem.counts, 0)
    batches: list[Batch] = []
    usable = problem.causes.any(axis=0)
    has_gpus = problem.offers[:, 2] > 0
    spent = 0.0
    for types in (usable & has_gpus, usable & ~has_gpus):
        market = _Market(problem, taste, types, left)
        while left.any() and (best := market.best(left)):
            if best.gain < _POOR and market.is_stale(left):
                market = _Market(problem, taste, types, left)
                continue
            held = best.jobs > 0
            count = int((left[held] // best.jobs[held]).min())
            left -= best.jobs * count
            batches.append(Batch(best.offer, count, best.left))
            spent += float(problem.prices[best.offer]) * count
            if spent + market.least_cost(left) > limit + _SLACK:
                return None
    return batches


@dataclass(frozen=True, slots=True)
class _Found:
    """An instance filled: what its jobs are worth for its price, what it holds and leaves."""

    gain: float
    offer: int
    jobs: Counts
    left: Vector


class _Market:
    """Some types, by the yield that they last had; at first by the most that they could have."""

    def __init__(self, problem: Problem, taste: Taste, types: Mask, left: Counts) -> None:
        self._problem = problem
        self._taste = taste
        self._usable = problem.causes.any(axis=0)
        self._worth = self._worths(left)
        yields = problem.offers @ self._worth / problem.prices
        #: Yield, vCPUs and number of each type; larger ones first where the yields are equal.
        self._heap = [
            (-float(yields[offer]), -float(problem.offers[offer, 0]), offer)
            for offer in np.flatnonzero(types).tolist()
        ]
        heapq.heapify(self._heap)
        self._fillings: dict[int, Filling] = {}

    def best(self, left: Counts) -> _Found | None:
        """The type that is filled best with what is left."""
        best: _Found | None = None
        tried: list[tuple[float, float, int]] = []
        demand = left @ self._problem.needs
        while self._heap and (best is None or -self._heap[0][0] > best.gain + _TOLERANCE):
            known, vcpus, offer = heapq.heappop(self._heap)
            most = self._most(offer, demand)
            if most < -known - _TOLERANCE:  # too few jobs are left to fill it as it was
                heapq.heappush(self._heap, (-most, vcpus, offer))
                continue
            filling = self._filling(offer)
            filled = filling.fill(left)
            if filled is None:
                continue  # nothing that is left may be the cause of it: nor will it later
            jobs, free = filled
            gain = float(jobs @ filling.yields)
            tried.append((-gain, vcpus, offer))
            if best is None or gain > best.gain:
                best = _Found(gain, offer, jobs, free)
        for entry in tried:
            heapq.heappush(self._heap, entry)
        return best

    def _most(self, offer: int, demand: Vector) -> float:
        """The most that a type could yield: it holds no more than it offers, nor than is left."""
        held = np.minimum(self._problem.offers[offer], demand)
        return float(held @ self._worth / self._problem.prices[offer])

    def least_cost(self, left: Counts) -> float:
        """What the jobs that are left cost at the very least: no type offers more than its price.

        So it is whatever was wanted when the worths were reckoned.
        """
        return float(left @ self._problem.needs @ self._worth)

    def is_stale(self, left: Counts) -> bool:
        """Whether what a vCPU is worth has changed with the jobs that are left."""
        return not np.allclose(self._worths(left), self._worth, rtol=1e-6, atol=0)

    def _worths(self, left: Counts) -> Vector:
        problem, usable = self._problem, self._usable
        return worths(problem.offers[usable], problem.prices[usable], left @ problem.needs)

    def _filling(self, offer: int) -> Filling:
        if offer not in self._fillings:
            problem = self._problem
            self._fillings[offer] = Filling(
                problem.needs,
                problem.causes[:, offer],
                problem.offers[offer],
                self._worth / problem.prices[offer],
                self._taste,
            )
        return self._fillings[offer]
