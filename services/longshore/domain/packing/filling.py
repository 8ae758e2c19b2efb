"""Filling of one instance with a mix of jobs of many shapes.

Simple meaning: job after job, take the one whose need points most in the direction of what is still
free, where a dimension counts by what it is worth. So what is free stays balanced until nothing is
left of it. To be fast, several jobs alike are taken at a time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longshore.domain.packing.worth import Matrix, Vector

Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: Above it, an instance is filled in fewer and larger steps, and much like the one before.
MANY_SHAPES = 200
_SLACK = 1e-9
_MANY = 1e12


@dataclass(frozen=True, slots=True)
class Taste:
    """How the next job for an instance is chosen."""

    #: The share of an instance that is first filled in proportion to the jobs that are left.
    proportion: float = 0.0
    #: From 0, the best direction, to 1, the largest need in that direction.
    size: float = 0.0
    #: The least weight of a dimension.
    floor: float = 0.05


class Filling:
    """How instances of one type are filled.

    Args:
        needs: of each shape, a row each.
        first: shapes that may be the cause of an instance; others that fit only fill up.
        total: what an instance offers.
        values: what a unit of each dimension is worth, in prices of the type.
        taste: how the next job is chosen.
    """

    def __init__(
        self, needs: Matrix, first: Mask, total: Vector, values: Vector, taste: Taste
    ) -> None:
        self.yields = needs @ values  # of each job
        self._needs = needs
        self._total = total
        self._taste = taste
        self._first = first
        self._others = (needs <= total).all(axis=1) & ~first
        # Dimensions come first from here on: it is the faster way round.
        self._rows = np.flatnonzero(total > 0)
        wanted = np.ascontiguousarray(needs.T[self._rows])
        self._wanted = np.ascontiguousarray(wanted.T)
        self._inverse = np.divide(1.0, wanted, out=np.full_like(wanted, _MANY), where=wanted > 0)
        scale = np.maximum(values * total, taste.floor)[self._rows] / total[self._rows]
        scaled = wanted * scale[:, None]
        norm = np.sqrt((scaled**2).sum(axis=0)) ** (1 - taste.size)
        self._score = scaled * scale[:, None] / norm
        # As many at a time as keeps the mix even; more where there are many shapes to mix.
        self._is_large = len(needs) > MANY_SHAPES
        self._steps = 2 if self._is_large else 8
        self._last: Counts | None = None

    def fill(self, left: Counts) -> tuple[Counts, Vector] | None:
        """Jobs of each shape for one instance, of those that are left, and what stays free.

        None if nothing that is left may be the cause of it.
        """
        causes = np.where(self._first, left, 0)
        if not causes.any():
            return None
        jobs = self._begin(left, causes)
        free = self._total - jobs @ self._needs
        free = self._take(causes - np.where(self._first, jobs, 0), jobs, free)
        if self._others.any():
            fillers = np.where(self._others, left, 0)
            free = self._take(fillers - np.where(self._others, jobs, 0), jobs, free)
        if self._is_large:
            self._last = jobs
        return jobs, free

    def _begin(self, left: Counts, causes: Counts) -> Counts:
        """The jobs that an instance has from the start.

        What the last one held is a good beginning; or else part of the mix of all that is left.
        """
        if self._last is not None:
            jobs = np.minimum(self._last, left)
            if (jobs * self._first).any():
                return jobs
        if not self._taste.proportion:
            return np.zeros_like(left)
        total = causes @ self._needs
        bounds = np.divide(self._total, total, out=np.full_like(total, np.inf), where=total > 0)
        share = min(float(bounds.min()) * self._taste.proportion, 1.0)
        started: Counts = np.floor(causes * share + _SLACK).astype(np.int64)
        return started

    def _take(self, allowed: Counts, jobs: Counts, free: Vector) -> Vector:
        """Adds to jobs until nothing more of what is allowed fits; returns what stays free."""
        limits = allowed.astype(np.float64)
        # This loop is most of a decision's time: it allocates nothing.
        fits, other, score = (np.empty_like(limits) for _ in range(3))
        able = np.empty(limits.shape, dtype=np.bool_)
        first, *rest = self._inverse
        there = free[self._rows]
        while True:
            amounts = (there + _SLACK).tolist()
            np.multiply(first, amounts[0], out=fits)
            for inverse, amount in zip(rest, amounts[1:], strict=True):
                np.minimum(fits, np.multiply(inverse, amount, out=other), out=fits)
            np.minimum(fits, limits, out=fits)
            np.matmul(there, self._score, out=score)
            # What fits has a score above zero, for there is something free of what it needs.
            np.multiply(score, np.greater_equal(fits, 1 - _SLACK, out=able), out=score)
            chosen = int(score.argmax())
            most = int(fits[chosen] + _SLACK)
            if most < 1:
                break
            count = max(1, most // self._steps)
            jobs[chosen] += count
            limits[chosen] -= count
            there = there - self._wanted[chosen] * count
        left = free.copy()
        left[self._rows] = there
        return left
