"""What a vCPU, a MiB and a GPU are worth, given what is on offer and what is wanted.

Simple meaning: if instances could be bought in any fraction, the cheapest fleet that holds a demand
would cost a certain sum. The worths are how that sum divides over vCPUs, memory and GPUs: no
instance type offers more worth than it costs, and the types of that cheapest fleet offer exactly
what they cost. So an instance whose jobs are worth its price is as good as can be had.

These are the dual prices of a linear program with two or three rows. Such a program is solved
exactly by looking at every corner: each is where as many types (or axes) meet as there are rows.
"""

import functools
import itertools

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

#: Types whose corners are looked at; far more than are ever efficient.
_CORNERS_LIMIT = 24
_SLACK = 1e-9


def worths(offers: Matrix, prices: Vector, demand: Vector) -> Vector:
    """The worth of one unit of each dimension.

    Args:
        offers: what each type offers, a row each; every row has something above zero.
        prices: of each type, above zero.
        demand: what is wanted of each dimension; those of zero are worth nothing.
    """
    result = np.zeros(len(demand))
    rows = np.flatnonzero(demand > 0)
    if not len(rows) or not len(prices):
        return result
    # Scaled, so that the corners are well conditioned.
    scale = offers[:, rows].max(axis=0)
    scale[scale == 0] = 1
    best = _efficient(offers[:, rows] / scale / prices[:, None])
    corners = _corners(best)
    allowed = (corners >= -_SLACK).all(axis=1) & (best @ corners.T <= 1 + _SLACK).all(axis=0)
    corners = np.maximum(corners[allowed], 0)
    if len(corners):
        totals = corners @ (demand[rows] / scale)
        result[rows] = corners[int(totals.argmax())] / scale
    return result


def _efficient(yields: Matrix) -> Matrix:
    """What a dollar buys, without the types of which another buys as much of everything."""
    rows = np.unique(yields, axis=0)
    reach = rows[None, :, :] >= rows[:, None, :] - _SLACK
    beyond = rows[None, :, :] > rows[:, None, :] + _SLACK
    is_beaten = np.any(np.all(reach, axis=2) & np.any(beyond, axis=2), axis=1)
    kept = rows[np.logical_not(is_beaten)]
    most: Matrix = kept[np.argsort(-kept.sum(axis=1), kind="stable")[:_CORNERS_LIMIT]]
    return most


def _corners(best: Matrix) -> Matrix:
    """Where as many of the bounds meet as there are dimensions."""
    size = best.shape[1]
    bounds = np.vstack([best, np.eye(size)])
    values = np.concatenate([np.ones(len(best)), np.zeros(size)])
    chosen = _choices(len(bounds), size)
    systems = bounds[chosen]
    solvable = np.abs(np.linalg.det(systems)) > 1e-12
    chosen = chosen[solvable]
    return np.linalg.solve(bounds[chosen], values[chosen][..., None])[..., 0]


@functools.cache
def _choices(count: int, size: int) -> NDArray[np.int64]:
    return np.array(list(itertools.combinations(range(count), size)), dtype=np.int64)
