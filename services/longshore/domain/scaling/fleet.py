"""The new instances of one compute environment: what they hold, and what they leave waiting.

Simple meaning: all jobs that come to an environment are blended onto new instances at the lowest
price that the strategy allows. Where maxvCpus binds, dispatch order wins: the longest run of the
first jobs that fits is blended, and then shape by shape takes what is left. BEST_FIT goes shape by
shape from the start. A multi-node job gets all its nodes at once, or none.

How the code differs: a fleet remembers how it was when it first turned a job away for maxvCpus.
From there on everything goes shape by shape, so jobs that come later and rank after that one need
no new blend: they start from what is remembered (`at_cut`).
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Self

import numpy as np

from longshore.domain.catalogue import InstanceType
from longshore.domain.packing.blending import Batch, Problem, blend, sketch
from longshore.domain.packing.filling import Counts
from longshore.domain.packing.longest_run import Limit, longest_run
from longshore.domain.packing.rooms import Rooms
from longshore.domain.packing.uniform import choose
from longshore.domain.packing.worth import Matrix
from longshore.domain.resources import Resources
from longshore.domain.scaling.books import SLACK, Books, Wanted, rows
from longshore.domain.scaling.capacity import BEST_FIT, Environment
from longshore.domain.scaling.fleet_nodes import hold_nodes
from longshore.domain.scaling.strategy import Choice

#: Parts of what is wanted, at most, that multi-node jobs may go first of.
_PARTS = 4


#: By rank of multi-node jobs, idle instances that they may have, by type.
Idle = Mapping[int, Mapping[str, Sequence[int]]]


class Fleet(Books):
    """New instances for jobs, within what an environment may still have."""

    def __init__(
        self,
        env: Environment,
        choice: Choice,
        headroom: float,
        ending: float,
        stock: Mapping[str, int],
    ) -> None:
        super().__init__(env, choice, headroom, ending, stock)
        self._vcpus = np.array([offer.kind.vcpus for offer in choice.offers], dtype=np.float64)
        #: The rank of the first jobs that were turned away for maxvCpus.
        self.cut: int | None = None
        self._at_cut: Fleet | None = None
        self._spare = Rooms.empty()

    def at_cut(self) -> "Fleet | None":
        """The fleet as it was when it first turned jobs away for maxvCpus; None if it did not."""
        if self._at_cut is None:
            return None
        fleet = self._at_cut.copy()
        fleet.left = {}
        fleet._at_cut = self._at_cut  # noqa: SLF001 - our own
        return fleet

    def copy(self) -> Self:
        """The same instances, to try something with."""
        twin = super().copy()
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
                    hold_nodes(self, want, idle[want.rank])
            else:
                self._hold_run(list(run))

    def fill(self, vcpus: float) -> float:
        """Takes instances for so many vCPUs, whatever they hold; returns how many came."""
        before = self.headroom
        need = Resources(1000, 1)  # a vCPU, and no memory to speak of
        causes = np.flatnonzero(self.choice.causes(rows([need]))[0]).tolist()
        while (done := before - self.headroom) < vcpus:
            taken = self._choose(need, math.ceil(vcpus - done), causes)
            if taken is None:
                break
        return before - self.headroom

    def _hold_run(self, run: list[Wanted]) -> None:
        """Takes instances for jobs of one node."""
        was_closed = self._is_closed
        needs = rows([want.shape.need for want in run])
        left = self._into_spare(run, needs)
        is_squeezed = any(count < want.count for count, want in zip(left, run, strict=True))
        causes = self.choice.causes(needs)
        if self.env.allocation_strategy != BEST_FIT and self.cut is None and left.any():
            problem = Problem(needs, left, self.choice.sizes, self.choice.prices, causes)
            left = left - self._blend(problem)
        self.covered += sum(want.count for want in run) - int(left.sum())
        for number in np.flatnonzero(left).tolist():
            want, count = run[number], int(left[number])
            if not was_closed:
                types = np.flatnonzero(causes[number]).tolist()
                count = self._grow(want.shape.need, count, types)
                self.covered += int(left[number]) - count
            if count:
                self.turn_away(replace(want, count=count), self.refusal(want.shape.need))
                if self.cut is None and causes[number].any():
                    self.cut = want.rank
                    # What later jobs of the run found of spare room would be found once more.
                    self._at_cut = None if is_squeezed else self.copy()

    @property
    def _is_closed(self) -> bool:
        """Whether no instance can be taken, neither a new one nor one in stock."""
        least = float(self._vcpus.min(initial=math.inf)) - SLACK if self.env.is_strict else 0.0
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
            for kind in {offer.kind for offer in self.choice.offers}
            if (count := self.stock[kind.name])
        )
        if least <= self.headroom + there:
            batches = sketch(problem)
        if least > self.headroom + there or self._size(batches) > self.headroom + SLACK:
            held, batches = longest_run(problem, held, Limit(self.headroom, there, self._size))
        best = blend(replace(problem, counts=held), batches)
        if self._size(best) <= self.headroom + SLACK:
            batches = best
        for batch in batches:
            self.take(self.choice.offers[batch.offer], batch.count)
        self._spare.add(
            [(int(batch.left[0]), int(batch.left[1]), int(batch.left[2])) for batch in batches],
            [batch.count for batch in batches],
        )
        return held

    def _size(self, batches: Iterable[Batch]) -> float:
        """Counts the vCPUs of the instances that would be new."""
        number: Counter[InstanceType] = Counter()
        for batch in batches:
            number[self.choice.offers[batch.offer].kind] += batch.count
        return sum(max(count - self.stock[k.name], 0) * k.vcpus for k, count in number.items())

    def _grow(self, need: Resources, count: int, causes: list[int]) -> int:
        """Takes instances for jobs of one shape; returns how many are left over."""
        while count := count - self._spare.take(need, count):
            taken = self._choose(need, count, causes)
            if taken is None:
                return count
            offer, number = taken
            held = self.choice.offers[offer].kind.offer
            self._spare.add([(held.vcpu_milli, held.memory_mib, held.gpus)], [number])
        return 0

    def _choose(self, need: Resources, count: int, causes: list[int]) -> tuple[int, int] | None:
        """Picks and books the next instances for jobs of one shape."""
        if not causes or (self.headroom <= 0 and not any(self.stock.values())):
            return None
        offers = [self.choice.offers[number] for number in causes]
        wanted = rows([need])[0]
        used = wanted > 0
        held = (self.choice.sizes[causes][:, used] // wanted[used]).min(axis=1).astype(np.int64)
        limits = [
            self.stock[offer.kind.name] + self.room_for(offer.kind.vcpus)
            if self.headroom > 0
            else self.stock[offer.kind.name]
            for offer in offers
        ]
        if not any(limits) and self.headroom > 0 and not self.env.is_strict:
            limits, count = [1] * len(offers), 1
        chosen = choose(
            held,
            self.choice.prices[causes],
            self._vcpus[causes],
            limits,
            count,
        )
        if chosen is None or offers[chosen[0]].is_short:
            return None
        taken, number = causes[chosen[0]], chosen[1]
        self.take(self.choice.offers[taken], number)
        return taken, number


def _nodes_first(wanted: Sequence[Wanted]) -> list[Wanted]:
    return sorted(wanted, key=lambda want: want.shape.nodes == 0)
