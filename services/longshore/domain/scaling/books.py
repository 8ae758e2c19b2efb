"""The books of a fleet: what is taken of what there is and may be, and who got nothing.

Whoever takes instances for jobs, of one node (`fleet`), of many (`fleet_nodes`) or of slots
(`fleet_slots`), enters it here.
"""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from longshore.domain.packing.worth import Matrix
from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import BEST_FIT, Environment, Offer, ShapeDemand
from longshore.domain.scaling.refusal import Refusal, Refused
from longshore.domain.scaling.strategy import Choice

#: vCPUs are compared with so much to spare.
SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Wanted:
    """Jobs of a shape that come to an environment; `rank` is their place in dispatch order."""

    rank: int
    shape: ShapeDemand
    count: int


class Books:
    """What a fleet has taken and may still take, within what an environment may have."""

    def __init__(
        self,
        env: Environment,
        choice: Choice,
        headroom: float,
        ending: float,
        stock: Mapping[str, int],
    ) -> None:
        self.env = env
        self.choice = choice
        #: vCPUs that may still be added.
        self.headroom = headroom
        #: vCPUs of instances on their way out: room that is coming.
        self.ending = ending
        #: Instances of each type that are there, empty: they are used before new ones.
        self.stock = Counter(stock)
        self.launches: Counter[Offer] = Counter()
        #: By rank, the jobs that get no instances, and why.
        self.left: dict[int, tuple[int, Refused]] = {}
        #: Jobs that got some.
        self.covered = 0
        #: Idle instances that multi-node jobs were completed with, and the rank of these.
        self.completed: dict[int, int] = {}
        #: Whether any of the launches is for nodes.
        self.has_nodes = False
        #: Of what was in stock, what nodes have.
        self.stock_for_nodes: Counter[str] = Counter()

    @property
    def vcpus(self) -> float:
        """What all launches count towards maxvCpus."""
        return sum(offer.kind.vcpus * count for offer, count in self.launches.items())

    def copy(self) -> Self:
        """The same entries, to try something with."""
        twin = copy.copy(self)
        twin.stock, twin.launches = Counter(self.stock), Counter(self.launches)
        twin.left, twin.completed = dict(self.left), dict(self.completed)
        twin.stock_for_nodes = Counter(self.stock_for_nodes)
        return twin

    def room_for(self, vcpus: float) -> int:
        """How many new instances of a size there is room for."""
        return int((self.headroom + SLACK) // vcpus)

    def take(self, offer: Offer, count: int) -> None:
        """Counts instances: those in stock first, then new ones."""
        there = min(self.stock[offer.kind.name], count)
        self.stock[offer.kind.name] -= there
        if count > there:
            self.launches[offer] += count - there
            self.headroom -= (count - there) * offer.kind.vcpus

    def turn_away(self, want: Wanted, why: Refused) -> None:
        """Leaves jobs without instances."""
        self.left[want.rank] = want.count, why

    def refusal(self, need: Resources, only_type: str = "") -> Refused:
        """Why jobs get no instances here."""
        env = self.env
        fitting = self.choice.suited(need)
        if only_type:
            fitting = [
                offer
                for offer in env.offers
                if offer.kind.name == only_type and offer.kind.offer.holds(need)
            ]
            if not fitting:
                return Refused(Refusal.TOO_LARGE_FOR_TYPE, (only_type,))
        if not fitting:
            return Refused(Refusal.TOO_LARGE)
        names = [offer.kind.name for offer in fitting if offer.is_short]
        if names and (
            all(offer.is_short for offer in fitting) or env.allocation_strategy == BEST_FIT
        ):
            return Refused.short_of(names)
        return Refused(Refusal.AT_MAXIMUM)


def rows(needs: Sequence[Resources]) -> Matrix:
    """Needs as a matrix: vCPU, memory, GPUs."""
    return np.array([(n.vcpu_milli, n.memory_mib, n.gpus) for n in needs], dtype=np.float64)
