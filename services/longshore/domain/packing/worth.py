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
from dataclasses import dataclass

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
    corners = _corners_of(offers[:, rows], prices)
    if len(corners.values):
        best, _ = corners.best(demand[rows])
        result[rows] = corners.values[best] / corners.scale
    return result


def least_vcpus(offers: Matrix, prices: Vector, demand: Vector) -> float:
    """What the cheapest fleet in fractions offers of the first dimension: at least what is wanted.

    It is more where another dimension binds. The arguments are those of `worths`.
    """
    rows = np.flatnonzero(demand > 0)
    if not demand[0] or not len(prices):
        return 0.0
    corners = _corners_of(offers[:, rows], prices)
    if not len(corners.values):
        return float(demand[0])
    best, wanted = corners.best(demand[rows])
    bounds = corners.bounds[best]
    # What is spent on each type that meets there; of an axis that does, what is left over.
    spent = np.linalg.solve(bounds.T, wanted)
    is_type = corners.are_types[best]
    return float(spent[is_type] @ bounds[is_type, 0] * corners.scale[0])


@dataclass(frozen=True, slots=True)
class _Corners:
    """The corners at which no type offers too much, for what is on offer."""

    #: A row of scaled worths for each.
    values: Matrix
    scale: Vector
    #: The bounds that meet at each, and which of these are types rather than axes.
    bounds: NDArray[np.float64]
    are_types: NDArray[np.bool_]

    def best(self, demand: Vector) -> tuple[int, Vector]:
        """The corner at which the demand is worth most, and the demand, scaled."""
        wanted = demand / self.scale
        return int((self.values @ wanted).argmax()), wanted


def _corners_of(offers: Matrix, prices: Vector) -> _Corners:
    """The corners; what is on offer stays while what is wanted changes, so they are kept."""
    return _find_corners(np.ascontiguousarray(offers).tobytes(), prices.tobytes(), offers.shape[1])


@functools.lru_cache(maxsize=64)
def _find_corners(offers: bytes, prices: bytes, size: int) -> _Corners:
    amounts = np.frombuffer(offers).reshape(-1, size)
    # Scaled, so that the corners are well conditioned.
    scale = amounts.max(axis=0)
    scale[scale == 0] = 1
    best = _efficient(amounts / scale / np.frombuffer(prices)[:, None])
    # Each is where as many of the bounds meet as there are dimensions.
    bounds = np.vstack([best, np.eye(size)])
    limits = np.concatenate([np.ones(len(best)), np.zeros(size)])
    chosen = _choices(len(bounds), size)
    chosen = chosen[np.abs(np.linalg.det(bounds[chosen])) > 1e-12]
    values = np.linalg.solve(bounds[chosen], limits[chosen][..., None])[..., 0]
    allowed = (values >= -_SLACK).all(axis=1) & (best @ values.T <= 1 + _SLACK).all(axis=0)
    chosen = chosen[allowed]
    return _Corners(np.maximum(values[allowed], 0), scale, bounds[chosen], chosen < len(best))


def _efficient(yields: Matrix) -> Matrix:
    """What a dollar buys, without the types of which another buys as much of everything."""
    rows = np.unique(yields, axis=0)
    reach = rows[None, :, :] >= rows[:, None, :] - _SLACK
    beyond = rows[None, :, :] > rows[:, None, :] + _SLACK
    is_beaten = np.any(np.all(reach, axis=2) & np.any(beyond, axis=2), axis=1)
    kept = rows[np.logical_not(is_beaten)]
    most: Matrix = kept[np.argsort(-kept.sum(axis=1), kind="stable")[:_CORNERS_LIMIT]]
    return most


@functools.cache
def _choices(count: int, size: int) -> NDArray[np.int64]:
    return np.array(list(itertools.combinations(range(count), size)), dtype=np.int64)
