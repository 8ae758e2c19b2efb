"""The new instances of one compute environment: what they hold, and what they leave waiting.

Simple meaning: all jobs that come to an environment are blended onto new instances at the lowest
price that the strategy allows. Where maxvCpus binds, dispatch order wins: the longest run of the
first jobs that fits is blended, and then shape by shape takes what is left. BEST_FIT goes shape by
shape from the start. A multi-node job gets all its nodes at once, or none.

How the code differs: a fleet remembers how it was when it first turned a job away for maxvCpus.
From there on everything goes shape by shape, so jobs that come later and rank after that one need
no new blend: they start from what is remembered (`at_cut`).
"""

import copy
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from longshore.domain.blending import Batch, Problem, blend, sketch
from longshore.domain.capacity import BEST_FIT, Environment, Offer, ShapeDemand
from longshore.domain.catalogue import InstanceType, fargate_type
from longshore.domain.filling import Counts
from longshore.domain.longest_run import Limit, longest_run
from longshore.domain.packing import choose
from longshore.domain.refusal import Refusal, Refused
from longshore.domain.resources import Resources
from longshore.domain.rooms import Rooms
from longshore.domain.strategy import Choice
from longshore.domain.worth import Matrix

_SLACK = 1e-6
#: Parts of what is wanted, at most, that multi-node jobs may go first of.
_PARTS = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """Jobs of a shape that come to an environment; `rank` is their place in dispatch order."""

    rank: int
    shape: ShapeDemand
    count: int


#: By rank of multi-node jobs, idle instances that they may have, by type.
Idle = Mapping[int, Mapping[str, Sequence[int]]]


class Fleet:
    """New instances for jobs, within what an environment may still have."""

    def __init__(
        self,
        env: Environment,
        choice: Choice,
        headroom: float,
        ending: float,
        stock: Mapping[str, int],
    ) -> None:
        self._env = env
        self._choice = choice
        self._vcpus = np.array([offer.kind.vcpus for offer in choice.offers], dtype=np.float64)
        self.headroom = headroom
        self._ending = ending
        #: Instances of each type that are there, empty: they are used before new ones.
        self.stock = Counter(stock)
        self.launches: Counter[Offer] = Counter()
        #: By rank, the jobs that get no instances, and why.
        self.left: dict[int, tuple[int, Refused]] = {}
        self.covered = 0
        #: Idle instances that multi-node jobs were completed with, and the rank of these.
        self.completed: dict[int, int] = {}
        self.has_nodes = False
        #: Of what was in stock, what nodes have.
        self.stock_for_nodes: Counter[str] = Counter()
        #: The rank of the first jobs that were turned away for maxvCpus.
        self.cut: int | None = None
        self._at_cut: Fleet | None = None
        self._spare = Rooms.empty()

    @property
    def vcpus(self) -> float:
        """What all launches count towards maxvCpus."""
        return sum(offer.kind.vcpus * count for offer, count in self.launches.items())

    def at_cut(self) -> "Fleet | None":
        """The fleet as it was when it first turned jobs away for maxvCpus; None if it did not."""
        if self._at_cut is None:
            return None
        fleet = self._at_cut.copy()
        fleet.left = {}
        fleet._at_cut = self._at_cut  # noqa: SLF001 - our own
        return fleet

    def copy(self) -> "Fleet":
        """The same instances, to try something with."""
        twin = copy.copy(self)
        twin.stock, twin.launches = Counter(self.stock), Counter(self.launches)
        twin.left, twin.completed = dict(self.left), dict(self.completed)
        twin.stock_for_nodes = Counter(self.stock_for_nodes)
        twin._spare = self._spare.copy()  # noqa: SLF001 - our own
        return twin

    def hold(self, wanted: Sequence[Wanted], idle: Idle) -> "Fleet":
        """Takes instances for jobs, which are in dispatch order.

        Multi-node jobs among the others would keep these from being blended together. So they go
        first, as far as maxvCpus leaves enough for everybody before them as well.

        Args:
            wanted: the jobs.
            idle: instances for multi-node jobs to be completed with.

        Returns:
            The fleet that holds them: this one, or one in its place.
        """
        fleet, rest = self, list(wanted)
        for _ in range(_PARTS):
            nodes_first = _nodes_first(rest)
            if nodes_first == rest or fleet.cut is not None:
                break
            trial = fleet.copy()
            trial.hold_in_turn(nodes_first, idle)
            cut = trial.cut
            if cut is None:
                return trial
            head = _nodes_first([want for want in rest if want.rank < cut])
            trial = fleet.copy()
            trial.hold_in_turn(head, idle)
            if trial.cut is not None or not head:
                break
            fleet, rest = trial, [want for want in rest if want.rank >= cut]
        fleet.hold_in_turn(rest, idle)
        return fleet

    def hold_in_turn(self, wanted: Sequence[Wanted], idle: Idle) -> None:
        """Takes instances for jobs in the order given; see `hold`."""
        for is_multi, run in itertools.groupby(wanted, key=lambda want: want.shape.nodes > 0):
            if is_multi:
                for want in run:
                    self._hold_nodes(want, idle[want.rank])
            else:
                self._hold_run(list(run))

    def hold_slots(self, wanted: Sequence[Wanted]) -> None:
        """Takes a Fargate slot for each job, of exactly its size and never over maxvCpus."""
        for want in wanted:
            kind = fargate_type(want.shape.need, spot=self._env.is_spot)
            if want.shape.nodes:
                self.turn_away(want, Refused(Refusal.NO_NODES))
                continue
            if kind is None:
                self.turn_away(want, Refused(Refusal.NO_SLOT_SIZE))
                continue
            if self._env.is_short:
                self.turn_away(want, Refused(Refusal.SHORT_OF_SLOTS))
                continue
            count = min(want.count, int((self.headroom + _SLACK) // kind.vcpus))
            if count:
                self.launches[Offer(kind=kind, price_per_hour=kind.price_per_hour)] += count
                self.headroom -= count * kind.vcpus
                self.covered += count
            if count < want.count:
                rest = replace(want, count=want.count - count)
                self.turn_away(rest, Refused(Refusal.AT_MAXIMUM))

    def turn_away(self, want: Wanted, why: Refused) -> None:
        """Leaves jobs without instances."""
        self.left[want.rank] = want.count, why

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
        was_closed = self._is_closed
        needs = _rows([want.shape.need for want in run])
        left = self._into_spare(run, needs)
        is_squeezed = any(count < want.count for count, want in zip(left, run, strict=True))
        causes = self._choice.causes(needs)
        if self._env.allocation_strategy != BEST_FIT and self.cut is None and left.any():
            problem = Problem(needs, left, self._choice.sizes, self._choice.prices, causes)
            left = left - self._blend(problem)
        self.covered += sum(want.count for want in run) - int(left.sum())
        for number in np.flatnonzero(left).tolist():
            want, count = run[number], int(left[number])
            if not was_closed:
                types = np.flatnonzero(causes[number]).tolist()
                count = self._grow(want.shape.need, count, types)
                self.covered += int(left[number]) - count
            if count:
                self.turn_away(replace(want, count=count), self._refused(want.shape.need))
                if self.cut is None and causes[number].any():
                    self.cut = want.rank
                    # What later jobs of the run found of spare room would be found once more.
                    self._at_cut = None if is_squeezed else self.copy()

    @property
    def _is_closed(self) -> bool:
        """Whether no instance can be taken, neither a new one nor one in stock."""
        least = float(self._vcpus.min(initial=math.inf)) - _SLACK if self._env.is_strict else 0.0
        return self.headroom <= least and not self.stock.total()

    def _into_spare(self, run: Sequence[Wanted], needs: Matrix) -> Counts:
        """Leaves jobs to what is free on the instances taken so far; returns how many are left."""
        left = np.array([want.count for want in run], dtype=np.int64)
        for number in np.flatnonzero(self._spare.able_any(needs)).tolist():
            left[number] -= self._spare.take(run[number].shape.need, int(left[number]))
        return left

    def _blend(self, problem: Problem) -> Counts:
        """Takes instances for the longest run of the first jobs that fits; returns those jobs."""
        if self.headroom <= 0 and not self.stock:
            return np.zeros_like(problem.counts)
        held = np.where(problem.causes.any(axis=1), problem.counts, 0)
        batches: list[Batch] = []
        least = float(held @ problem.needs[:, 0]) / 1000
        there = sum(
            count * kind.vcpus
            for kind in {offer.kind for offer in self._choice.offers}
            if (count := self.stock[kind.name])
        )
        if least <= self.headroom + there:
            batches = sketch(problem)
        if least > self.headroom + there or self._size(batches) > self.headroom + _SLACK:
            held, batches = longest_run(problem, held, Limit(self.headroom, there, self._size))
        best = blend(replace(problem, counts=held), batches)
        if self._size(best) <= self.headroom + _SLACK:
            batches = best
        for batch in batches:
            self._take(self._choice.offers[batch.offer], batch.count)
        self._spare.add(
            [(int(batch.left[0]), int(batch.left[1]), int(batch.left[2])) for batch in batches],
            [batch.count for batch in batches],
        )
        return held

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
        self._take(self._choice.offers[taken], number)
        return taken, number

    def _take(self, offer: Offer, count: int) -> None:
        """Counts instances: those in stock first, then new ones."""
        there = min(self.stock[offer.kind.name], count)
        self.stock[offer.kind.name] -= there
        if count > there:
            self.launches[offer] += count - there
            self.headroom -= (count - there) * offer.kind.vcpus

    def _hold_nodes(self, want: Wanted, idle: Mapping[str, Sequence[int]]) -> None:
        """Takes instances of one type for all nodes of each job, or none: idle ones, then new."""
        need, nodes, left = want.shape.need, want.shape.nodes, want.count
        only = want.shape.instance_type
        why = self._refused(need, only)
        there = {
            name: [number for number in numbers if number not in self.completed]
            for name, numbers in idle.items()
            if only in ("", name)
        }
        while left:
            best = self._type_for_nodes(want.shape, there, self.headroom)
            if best is None:
                self._keep_what_ends(want.shape, there)
                break
            name = best.kind.name
            found = len(there.get(name, ())) + self.stock[name]
            offer = best if found >= nodes else self._to_be_had(best)
            if offer is None:
                why = Refused.short_of([name])
                break
            if found:
                jobs = min(left, max(found // nodes, 1))
            else:
                jobs = min(left, int((self.headroom + _SLACK) // (nodes * offer.kind.vcpus)))
            taken = there.get(name, [])[: jobs * nodes]
            there[name] = there.get(name, [])[len(taken) :]
            self.completed.update(dict.fromkeys(taken, want.rank))
            wanted = jobs * nodes - len(taken)
            in_stock = min(self.stock[name], wanted)
            self.stock_for_nodes[name] += in_stock
            self.has_nodes |= wanted > in_stock
            self._take(offer, wanted)
            left -= jobs
        self.covered += want.count - left
        if left:
            self.turn_away(replace(want, count=left), why)

    def _keep_what_ends(self, shape: ShapeDemand, idle: Mapping[str, Sequence[int]]) -> None:
        """Adds nothing more where a multi-node job fits as soon as what is on its way out is gone.

        Else later jobs would take that room bit by bit as it comes.
        """
        room = self.headroom + self._ending
        if self._ending and self._type_for_nodes(shape, idle, room) is not None:
            self.headroom = min(self.headroom, 0.0)

    def _type_for_nodes(
        self, shape: ShapeDemand, idle: Mapping[str, Sequence[int]], room: float
    ) -> Offer | None:
        """The type at which one more multi-node job costs least, None if it finds no room.

        It is looked for as if the provider were short of nothing: nodes wait for their type.
        """
        may_order = set(self.offers_for_nodes(shape))
        best: tuple[float, float, float, str] | None = None
        found: Offer | None = None
        for offer, price in self._able(shape):
            kind = offer.kind
            there = len(idle.get(kind.name, ())) + self.stock[kind.name]
            new = max(shape.nodes - there, 0)
            size = new * kind.vcpus
            if new and (offer not in may_order or size > room + _SLACK):
                continue
            # Of what is there, the type that would be ordered: others are there for other jobs.
            key = (round(price * new, 6), size, price, kind.name)
            if best is None or key < best:
                best, found = key, offer
        return found

    def offers_for_nodes(self, shape: ShapeDemand) -> list[Offer]:
        """The offers that may be ordered for nodes, as if the provider were short of nothing.

        A type that was asked for also for its own sake; and where all nodes on the types that a
        strategy takes first would never fit under maxvCpus, the first ones on which they do.
        """
        if shape.instance_type:
            return [offer for offer, _ in self._able(shape)]
        choice = self._of_nodes(shape)
        is_cause = choice.causes(_rows([shape.need]))[0]
        return [choice.offers[number] for number in np.flatnonzero(is_cause).tolist()]

    def _able(self, shape: ShapeDemand) -> list[tuple[Offer, float]]:
        """The types that nodes may be on, with the price to reckon with."""
        choice, only = self._of_nodes(shape), shape.instance_type
        fits = (_rows([shape.need]) <= choice.sizes).all(axis=1)
        return [
            (choice.offers[number], float(choice.prices[number]))
            for number in np.flatnonzero(fits).tolist()
            if only in ("", choice.offers[number].kind.name)
        ]

    def _of_nodes(self, shape: ShapeDemand) -> Choice:
        return self._choice.whole_up_to(self._env.maxv_cpus / shape.nodes)

    def _to_be_had(self, best: Offer) -> Offer | None:
        """The same type where the provider is not short of it: nodes never switch to another."""
        same = [o for o in self._env.offers if o.kind.name == best.kind.name and not o.is_short]
        return min(same, key=lambda offer: (offer.price_per_hour, offer.zone), default=None)

    def _refused(self, need: Resources, only_type: str = "") -> Refused:
        """Why jobs get no instances here."""
        env = self._env
        fitting = self._choice.suited(need)
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


def _nodes_first(wanted: Sequence[Wanted]) -> list[Wanted]:
    return sorted(wanted, key=lambda want: want.shape.nodes == 0)


def _rows(needs: Sequence[Resources]) -> Matrix:
    return np.array([(n.vcpu_milli, n.memory_mib, n.gpus) for n in needs], dtype=np.float64)
