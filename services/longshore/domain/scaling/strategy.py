"""Allocation strategies: which offers a job's instances may be taken from, and at what worth.

A strategy sorts the offers of an environment into tiers and gives each a price to reckon with. A
job's instances come from the first tier that has an offer which is large enough and that the
provider is not short of; within a tier the hourly bill decides.

| strategy | tiers | price reckoned with |
|---|---|---|
| BEST_FIT | one | the price |
| BEST_FIT_PROGRESSIVE | one | the price |
| BEST_FIT_PROGRESSIVE_ORDERED | by place in the list of instance types | the price |
| SPOT_CAPACITY_OPTIMIZED | by depth, the deepest first | the price |
| SPOT_PRICE_CAPACITY_OPTIMIZED | one | the price divided by the depth squared |
| SPOT_CAPACITY_OPTIMIZED_PRIORITIZED | by depth in quarters, then by place | the price |

BEST_FIT does not switch: where the provider is short of the type that is best, jobs wait. GPU types
are for jobs without GPUs only where nothing else is large enough.

Source: AWS Batch User Guide, "Allocation strategies".
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from longshore.domain.packing.filling import Mask
from longshore.domain.packing.worth import Matrix, Vector
from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import BEST_FIT, ORDERED, Environment, Offer

SPOT_CAPACITY = "SPOT_CAPACITY_OPTIMIZED"
SPOT_PRICE_CAPACITY = "SPOT_PRICE_CAPACITY_OPTIMIZED"
SPOT_PRIORITIZED = "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED"
#: These leave it to the provider, who knows its pools better, which of an order's offers it takes.
PROVIDER_CHOOSES = frozenset({SPOT_CAPACITY, SPOT_PRICE_CAPACITY, SPOT_PRIORITIZED})

_WORDS = {
    BEST_FIT: "the cheapest that fits best",
    ORDERED: "the first in the list that fits",
    SPOT_CAPACITY: "the deepest pools",
    SPOT_PRICE_CAPACITY: "the lowest price for the depth of the pool",
    SPOT_PRIORITIZED: "the deepest pools, then the order of the list",
}
_LEAST_DEPTH = 0.01
_PRICE_OF_THE_FREE = 1e-5
_DEPTH_CLASSES = 4


def words(strategy: str) -> str:
    """Why a strategy takes what it takes, in plain words."""
    return _WORDS.get(strategy, "the lowest price")


def reckoned_price(strategy: str, offer: Offer) -> float:
    """The price that offers of a tier are compared by.

    What costs nothing has a little price by its size, so that no more of it is taken than needed.
    """
    if not offer.price_per_hour:
        return offer.kind.vcpus * _PRICE_OF_THE_FREE
    if strategy == SPOT_PRICE_CAPACITY:
        return offer.price_per_hour / max(offer.depth, _LEAST_DEPTH) ** 2
    return offer.price_per_hour


def _tier(strategy: str, offer: Offer) -> tuple[float, ...]:
    if strategy == ORDERED:
        return (offer.place,)
    if strategy == SPOT_CAPACITY:
        return (-round(offer.depth, 2),)
    if strategy == SPOT_PRIORITIZED:
        return (-min(math.floor(offer.depth * _DEPTH_CLASSES), _DEPTH_CLASSES - 1), offer.place)
    return ()


class Choice:
    """The offers that an environment's strategy leaves open: of each type in a tier the best."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        strategy = env.allocation_strategy
        best: dict[tuple[tuple[float, ...], str], Offer] = {}
        for offer in env.offers:
            key = _tier(strategy, offer), offer.kind.name
            if key not in best or _better(strategy, offer) < _better(strategy, best[key]):
                best[key] = offer
        # BEST_FIT decides as if nothing were short, and then waits.
        kept = [key for key in best if strategy == BEST_FIT or not best[key].is_short]
        kept.sort(key=lambda key: key[0])
        tiers = sorted({tier for tier, _ in kept})
        self.offers = tuple(best[key] for key in kept)
        #: What each offers, a row each, and the price that it is compared by.
        self.sizes = _sizes(self.offers)
        self.prices = np.array([reckoned_price(strategy, offer) for offer in self.offers])
        self._tiers = np.array([tiers.index(tier) for tier, _ in kept], dtype=np.int64)
        self._all = _sizes(env.offers)
        self._whole: dict[float, Choice] = {}

    def whole_up_to(self, vcpus: float) -> "Choice":
        """What there would be if the provider were short of nothing, of types up to a size."""
        sizes = [offer.kind.vcpus for offer in self._env.offers if offer.kind.vcpus <= vcpus]
        largest = max(sizes, default=0.0)
        if largest not in self._whole:
            offers = tuple(
                replace(offer, is_short=False)
                for offer in self._env.offers
                if offer.kind.vcpus <= largest
            )
            self._whole[largest] = Choice(replace(self._env, offers=offers))
        return self._whole[largest]

    def causes(self, needs: Matrix) -> Mask:
        """Which offers (columns) jobs of each need (rows) may be the cause of taking."""
        fits = (needs[:, None, :] <= self.sizes[None, :, :]).all(axis=2)
        plain = self._all[self._all[:, 2] == 0]
        is_plain = (needs[:, 2] == 0) & (needs[:, None, :] <= plain).all(axis=2).any(axis=1)
        fits &= ~(is_plain[:, None] & (self.sizes[:, 2] > 0))
        ranks = np.where(fits, self._tiers, len(self._tiers))
        first: Mask = fits & (ranks == ranks.min(axis=1, initial=len(self._tiers))[:, None])
        return first

    def suited(self, need: Resources) -> list[Offer]:
        """Offers that are large enough, short or not, but for GPUs that a job has no use for."""
        fits = (_vector(need) <= self._all).all(axis=1)
        plain = fits & (self._all[:, 2] == 0)
        chosen = plain if not need.gpus and plain.any() else fits
        return [self._env.offers[number] for number in np.flatnonzero(chosen).tolist()]

    def alternatives(
        self, taken: Mapping[Offer, int], need: Resources, worth: Vector
    ) -> tuple[Offer, ...]:
        """Offers to fall back on, the best first.

        An instance that is larger than all that is wanted is the last resort, the smallest first;
        where the provider chooses, it is none, for the provider does not mind the size.

        Args:
            taken: what is ordered in the first place.
            need: the most of each dimension that a job of the order needs.
            worth: what a unit of each dimension is worth.
        """
        strategy = self._env.allocation_strategy
        if strategy == BEST_FIT:
            return ()
        known = {(offer.kind.name, offer.zone) for offer in taken}
        wanted = sum(offer.kind.vcpus * count for offer, count in taken.items())

        def rank(offer: Offer) -> tuple[tuple[float, ...], float, float, str, str]:
            value = float(_vector(offer.kind.offer) @ worth) or 1.0
            price = round(reckoned_price(strategy, offer) / value, 9)
            excess = max(offer.kind.vcpus - wanted, 0.0)
            return _tier(strategy, offer), excess, price, offer.kind.name, offer.zone

        others = [
            offer
            for offer in self.suited(need)
            if not offer.is_short
            and (offer.kind.name, offer.zone) not in known
            and (offer.kind.vcpus <= wanted or strategy not in PROVIDER_CHOOSES)
        ]
        return tuple(sorted(others, key=rank))


def _vector(amount: Resources) -> Vector:
    return np.array([amount.vcpu_milli, amount.memory_mib, amount.gpus], dtype=np.float64)


def _sizes(offers: Iterable[Offer]) -> Matrix:
    rows = [
        (held.vcpu_milli, held.memory_mib, held.gpus)
        for held in (offer.kind.offer for offer in offers)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _better(strategy: str, offer: Offer) -> tuple[bool, float, float, str]:
    return offer.is_short, reckoned_price(strategy, offer), -offer.depth, offer.zone
