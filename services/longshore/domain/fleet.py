"""The new instances of one compute environment: what they hold, and what they leave waiting.

Simple meaning: all jobs that come to an environment are blended onto new instances at the lowest
price that the strategy allows. Where maxvCpus binds, dispatch order wins: the longest run of the
first jobs that fits is blended, and then shape by shape takes what is left. BEST_FIT goes shape by
shape from the start. A multi-node job gets all its nodes at once, or none.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from longshore.domain.blending import Batch, Problem, blend
from longshore.domain.capacity import BEST_FIT, Environment, Offer, ShapeDemand
from longshore.domain.catalogue import InstanceType, fargate_type
from longshore.domain.filling import Counts
from longshore.domain.packing import choose
from longshore.domain.resources import Resources
from longshore.domain.rooms import Rooms
from longshore.domain.strategy import Choice
from longshore.domain.worth import Matrix

#: Looks for the longest run of jobs that fits under maxvCpus, and when it is close enough.
_LOOKS = 6
_CLOSE = 0.97
_AIM = 0.985
#: vCPUs of instances for a vCPU of jobs, before anything is known.
_USUAL_ROOM = 1.1
_SLACK = 1e-6
NO_NODES = "Multi-node jobs run on on-demand instances only: none for {}."
_SHORT = "The provider is short of {}, which {{}} would need."
_AT_MAXIMUM = "maxvCpus of {} leaves {{}} waiting."


@dataclass(frozen=True, slots=True)
class Wanted:
    """Jobs of a shape that come to an environment; `rank` is their place in dispatch order."""

    rank: int
    shape: ShapeDemand
    count: int


class Fleet:
    """New instances for jobs, within what an environment may still have."""

    def __init__(
        self, env: Environment, choice: Choice, headroom: float, stock: Mapping[str, int]
    ) -> None:
        self._env = env
        self._choice = choice
        self._vcpus = np.array([offer.kind.vcpus for offer in choice.offers])
        self.headroom = headroom
        #: Instances of each type that are there, empty: they are used before new ones.
        self.stock = Counter(stock)
        self.launches: Counter[Offer] = Counter()
        #: By rank, the jobs that get no instances, and why, with a gap for how many they are.
        self.left: dict[int, tuple[int, str]] = {}
        self.covered = 0
        #: Idle instances by type that multi-node jobs were completed with.
        self.completed: Counter[str] = Counter()
        self.has_nodes = False
        self._spare = Rooms.empty()

    def hold(self, wanted: Sequence[Wanted], idle: Mapping[str, int]) -> None:
        """Takes instances for jobs, which are in dispatch order.

        Args:
            wanted: the jobs.
            idle: idle instances by type, for multi-node jobs to be completed with.
        """
        left_idle = Counter(idle)
        for is_multi, run in itertools.groupby(wanted, key=lambda want: want.shape.nodes > 1):
            if is_multi:
                for want in run:
                    self._hold_nodes(want, left_idle)
            else:
                self._hold_run(list(run))

    def hold_slots(self, wanted: Sequence[Wanted]) -> None:
        """Takes a Fargate slot for each job, of exactly its size and never over maxvCpus."""
        for want in wanted:
            kind = fargate_type(want.shape.need, spot=self._env.is_spot)
            if want.shape.nodes > 1:
                self.turn_away(want, NO_NODES)
                continue
            if kind is None:
                self.turn_away(want, "Fargate has no slot of the size of {}.")
                continue
            if self._env.is_short:
                self.turn_away(want, "The provider is short of Fargate slots for {}.")
                continue
            count = min(want.count, int((self.headroom + _SLACK) // kind.vcpus))
            if count:
                self.launches[Offer(kind=kind, price_per_hour=kind.price_per_hour)] += count
                self.headroom -= count * kind.vcpus
                self.covered += count
            if count < want.count:
                rest = replace(want, count=want.count - count)
                self.turn_away(rest, _AT_MAXIMUM.format(self._env.maxv_cpus))

    def turn_away(self, want: Wanted, lack: str) -> None:
        """Leaves jobs without instances, for a reason with a gap for how many they are."""
        self.left[want.rank] = want.count, lack

    def fill(self, vcpus: float) -> float:
        """Takes instances for so many vCPUs, whatever they hold; returns how many came."""
        before = self.headroom
        need = Resources(1000, 1)  # a vCPU, and no memory to speak of
        causes = np.flatnonzero(self._choice.causes(_rows([need]))[0]).tolist()
        while (done := before - self.headroom) < vcpus:
            taken = self._choose(need, math.ceil(vcpus - done), causes)
            if taken is None:
                break
        return before - self.headroom

    def _hold_run(self, run: list[Wanted]) -> None:
        """Takes instances for jobs of one node."""
        left = {
            want.rank: want.count - self._spare.take(want.shape.need, want.count) for want in run
        }
        run = [want for want in run if left[want.rank]]
        if not run:
            return
        needs = _rows([want.shape.need for want in run])
        causes = self._choice.causes(needs)
        counts = np.array([left[want.rank] for want in run], dtype=np.int64)
        if self._env.allocation_strategy != BEST_FIT:
            problem = Problem(needs, counts, self._choice.sizes, self._choice.prices, causes)
            counts = counts - self._blend(problem)
        for want, row, count in zip(run, causes, counts.tolist(), strict=True):
            rest = self._grow(want.shape.need, count, np.flatnonzero(row).tolist()) if count else 0
            self.covered += left[want.rank] - rest
            if rest:
                self.turn_away(replace(want, count=rest), self._lack(want.shape.need))

    def _blend(self, problem: Problem) -> Counts:
        """Takes instances for the longest run of the first jobs that fits; returns those jobs."""
        if self.headroom <= 0 and not self.stock:
            return np.zeros_like(problem.counts)
        held = np.where(problem.causes.any(axis=1), problem.counts, 0)
        least = float(held @ problem.needs[:, 0]) / 1000
        there = sum(
            count * kind.vcpus
            for kind in {offer.kind for offer in self._choice.offers}
            if (count := self.stock[kind.name])
        )
        if least <= self.headroom + there:
            batches = blend(problem)
            size = self._size(batches)
        else:
            batches, size = [], least * _USUAL_ROOM
        if size > self.headroom + _SLACK:
            held, batches = self._longest_run(problem, held, size)
        for batch in batches:
            self._book(batch.offer, batch.count)
        self._spare.add(
            [(int(batch.left[0]), int(batch.left[1]), int(batch.left[2])) for batch in batches],
            [batch.count for batch in batches],
        )
        return held

    def _longest_run(
        self, problem: Problem, held: Counts, size: float
    ) -> tuple[Counts, list[Batch]]:
        """Of jobs that need too many vCPUs, the first ones that fit, and instances for them."""
        weights = problem.needs[:, 0] / problem.needs[:, 0].sum() + problem.needs[:, 1] / max(
            problem.needs[:, 1].sum(), 1
        )
        upto = np.cumsum(held * weights)
        before = upto - held * weights
        low, low_size, high, high_size = 0.0, 0.0, float(upto[-1]), size
        best: Counts = np.zeros_like(held)
        best_batches: list[Batch] = []
        for _ in range(_LOOKS):
            share = (_AIM * self.headroom - low_size) / max(high_size - low_size, _SLACK)
            middle = low + (high - low) * min(max(share, 0.02), 0.98)
            run = np.floor(np.clip((middle - before) / weights, 0, held) + _SLACK).astype(np.int64)
            batches = blend(
                Problem(problem.needs, run, problem.offers, problem.prices, problem.causes)
            )
            run_size = self._size(batches)
            if run_size > self.headroom + _SLACK:
                high, high_size = middle, run_size
                continue
            low, low_size, best, best_batches = middle, run_size, run, batches
            if run_size >= _CLOSE * self.headroom:
                break
        return best, best_batches

    def _size(self, batches: Iterable[Batch]) -> float:
        """Counts the vCPUs of the instances that would be new."""
        number: Counter[InstanceType] = Counter()
        for batch in batches:
            number[self._choice.offers[batch.offer].kind] += batch.count
        return sum(max(count - self.stock[k.name], 0) * k.vcpus for k, count in number.items())

    def _grow(self, need: Resources, count: int, causes: list[int]) -> int:
        """Takes instances for jobs of one shape; returns how many are left over."""
        while count := count - self._spare.take(need, count):
            taken = self._choose(need, count, causes)
            if taken is None:
                return count
            offer, number = taken
            held = self._choice.offers[offer].kind.offer
            self._spare.add([(held.vcpu_milli, held.memory_mib, held.gpus)], [number])
        return 0

    def _choose(self, need: Resources, count: int, causes: list[int]) -> tuple[int, int] | None:
        """Picks and books the next instances for jobs of one shape."""
        if not causes or (self.headroom <= 0 and not any(self.stock.values())):
            return None
        offers = [self._choice.offers[number] for number in causes]
        wanted = _rows([need])[0]
        used = wanted > 0
        held = (self._choice.sizes[causes][:, used] // wanted[used]).min(axis=1).astype(np.int64)
        limits = [
            self.stock[offer.kind.name] + int((self.headroom + _SLACK) // offer.kind.vcpus)
            if self.headroom > 0
            else self.stock[offer.kind.name]
            for offer in offers
        ]
        if not any(limits) and self.headroom > 0 and not self._env.is_strict:
            limits, count = [1] * len(offers), 1
        chosen = choose(
            held,
            self._choice.prices[causes],
            self._vcpus[causes],
            limits,
            count,
        )
        if chosen is None or offers[chosen[0]].is_short:
            return None
        taken, number = causes[chosen[0]], chosen[1]
        self._book(taken, number)
        return taken, number

    def _book(self, number: int, count: int) -> None:
        """Counts instances: those in stock first, then new ones."""
        offer = self._choice.offers[number]
        there = min(self.stock[offer.kind.name], count)
        self.stock[offer.kind.name] -= there
        if count > there:
            self.launches[offer] += count - there
            self.headroom -= (count - there) * offer.kind.vcpus

    def _hold_nodes(self, want: Wanted, idle: Counter[str]) -> None:
        """Takes instances of one type for all nodes of each job, or none."""
        need, nodes, left = want.shape.need, want.shape.nodes, want.count
        lack = self._lack(need)
        self.covered += left
        whole = self._choice.whole()  # as if the provider were short of nothing: nodes wait
        causes = np.flatnonzero(whole.causes(_rows([need]))[0]).tolist()
        while left:
            best: tuple[float, float, str, int] | None = None
            for number in causes:
                kind = whole.offers[number].kind
                new = max(nodes - idle[kind.name], 0)
                price = float(round(whole.prices[number] * new, 6))
                if new * kind.vcpus <= self.headroom + _SLACK:
                    key = (price, new * kind.vcpus, kind.name, number)
                    best = key if best is None else min(best, key)
            if best is None:
                break
            offer = self._to_be_had(whole.offers[best[3]])
            if offer is None:
                lack = _SHORT.format(best[2])
                break
            kind = offer.kind
            there = min(idle[kind.name], nodes)
            new = nodes - there
            jobs = 1 if there else min(left, int((self.headroom + _SLACK) // (new * kind.vcpus)))
            if there:
                idle[kind.name] -= there
                self.completed[kind.name] += there
            if new:
                self.launches[offer] += new * jobs
                self.headroom -= new * jobs * kind.vcpus
                rest = kind.offer - need
                self._spare.add([(rest.vcpu_milli, rest.memory_mib, rest.gpus)], [new * jobs])
                self.has_nodes = True
            left -= jobs
        self.covered -= left
        if left:
            self.turn_away(replace(want, count=left), lack)

    def _to_be_had(self, best: Offer) -> Offer | None:
        """The same type where the provider is not short of it: nodes never switch to another."""
        same = [o for o in self._env.offers if o.kind.name == best.kind.name and not o.is_short]
        return min(same, key=lambda offer: (offer.price_per_hour, offer.zone), default=None)

    def _lack(self, need: Resources) -> str:
        """Why jobs get no instances here: a sentence with a gap for who they are."""
        env = self._env
        fitting = self._choice.suited(need)
        if not fitting:
            return "No instance type is large enough for {}."
        names = sorted({offer.kind.name for offer in fitting if offer.is_short})
        if names and (
            all(offer.is_short for offer in fitting) or env.allocation_strategy == BEST_FIT
        ):
            shown = ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")
            return _SHORT.format(shown)
        return _AT_MAXIMUM.format(env.maxv_cpus)


def _rows(needs: Sequence[Resources]) -> Matrix:
    return np.array([(n.vcpu_milli, n.memory_mib, n.gpus) for n in needs], dtype=np.float64)
