"""The longest run of the first jobs that fits under maxvCpus, and instances for it.

Simple meaning: guess how many of the first jobs fit, see what instances they take, and guess
better. A guess goes by what the cheapest fleet would have if instances could be cut (`worth`), and
by how wrong that was the last time. Mostly the first one is close enough.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from longshore.domain.packing.blending import Batch, Problem, sketch
from longshore.domain.packing.filling import Counts
from longshore.domain.packing.worth import Vector, least_vcpus

#: Guesses, and the share of what may be had that is aimed at, and that is close enough.
_LOOKS = 6
_AIM = 0.993
_CLOSE = 0.98
#: vCPUs of instances for a vCPU of those that it would take if instances could be cut.
_USUAL_ROOM = 1.0
#: How far a guess keeps from the runs that are known to fit and not to fit, and how exact it is.
_EDGE = 0.02
_HALVINGS = 10
_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Limit:
    """What instances may be had."""

    #: vCPUs of new ones.
    headroom: float
    #: vCPUs of those that are there.
    there: float
    #: Counts the vCPUs of the instances that would be new.
    size: Callable[[Iterable[Batch]], float]


def longest_run(problem: Problem, held: Counts, limit: Limit) -> tuple[Counts, list[Batch]]:
    """Of jobs that need too many vCPUs, the first ones that fit, and instances for them.

    Args:
        problem: all the jobs, in dispatch order.
        held: of each shape, those that can be held at all.
        limit: what may be had.
    """
    usable = problem.causes.any(axis=0)
    offers, prices = problem.offers[usable], problem.prices[usable]

    def least(run: Counts) -> float:
        return _USUAL_ROOM * least_vcpus(offers, prices, run @ problem.needs) / 1000

    runs = _Runs(problem, held)
    low, high, wrong = 0.0, runs.end, -limit.there
    best: Counts = np.zeros_like(held)
    best_batches: list[Batch] = []
    for _ in range(_LOOKS):
        first, last = low + (high - low) * _EDGE, high - (high - low) * _EDGE
        for _ in range(_HALVINGS):
            middle = (first + last) / 2
            if least(runs.to(middle)) + wrong > _AIM * limit.headroom:
                last = middle
            else:
                first = middle
        run = runs.to(first)
        batches = sketch(replace(problem, counts=run))
        size = limit.size(batches)
        wrong = size - least(run)
        if size > limit.headroom + _SLACK:
            high = first
            continue
        low, best, best_batches = first, run, batches
        if size >= _CLOSE * limit.headroom:
            break
    return best, best_batches


class _Runs:
    """The first jobs, up to any point: each job goes some way, by its vCPUs and memory."""

    def __init__(self, problem: Problem, held: Counts) -> None:
        vcpus, memory = problem.needs[:, 0], problem.needs[:, 1]
        self._held = held
        self._weights: Vector = vcpus / vcpus.sum() + memory / max(memory.sum(), 1)
        upto = np.cumsum(held * self._weights)
        self._before = upto - held * self._weights
        self.end = float(upto[-1])

    def to(self, point: float) -> Counts:
        """Jobs of each shape, as many as go up to a point."""
        jobs = np.clip((point - self._before) / self._weights, 0, self._held)
        run: Counts = np.floor(jobs + _SLACK).astype(np.int64)
        return run
