"""A compute environment while a decision is made: its room, and what is added to it."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from longshore.domain.environment import takes_nodes
from longshore.domain.packing.rooms import Flags, Rooms
from longshore.domain.resources import Resources
from longshore.domain.scaling.books import Wanted
from longshore.domain.scaling.capacity import ShapeDemand
from longshore.domain.scaling.estate import Estate
from longshore.domain.scaling.fleet import Fleet
from longshore.domain.scaling.fleet_slots import hold_slots
from longshore.domain.scaling.refusal import Refusal, Refused
from longshore.domain.scaling.strategy import reckoned_price

#: After every rank.
_NOBODY = np.iinfo(np.int64).max


class Pool:
    """A compute environment during one try at covering what is wanted.

    Args:
        estate: what is there.
        keeps_empty: empty instances are not filled shape by shape, but as the blend of all jobs
            would fill new ones; so what was ordered for a blend is found again while it boots.
    """

    def __init__(self, estate: Estate, *, keeps_empty: bool) -> None:
        self.estate = estate
        self.env = env = estate.env
        self.keeps_empty = keeps_empty and env.is_managed and not env.is_fargate
        self._rooms = estate.rooms.copy()
        self._used = np.zeros(len(estate.staying), dtype=np.bool_)
        #: The first rank that each was left to, and which were left to nodes.
        self.claimed = np.full(len(estate.staying), _NOBODY)
        self.for_nodes = np.zeros(len(estate.staying), dtype=np.bool_)
        self._kept = np.zeros(len(estate.staying), dtype=np.bool_)
        self.empty: Mapping[str, list[int]] = estate.empty if self.keeps_empty else {}
        if self.keeps_empty:
            self._kept[[number for numbers in self.empty.values() for number in numbers]] = True
            self._rooms = self._rooms.without(self._kept)
        self.wanted: dict[int, Wanted] = {}
        #: Jobs that this environment has no capacity for, and why, by rank.
        self.turned_away: dict[int, tuple[int, Refused]] = {}
        #: Multi-node jobs among these, by rank.
        self.nodes_away: dict[int, ShapeDemand] = {}
        self._slots: dict[Resources, list[int]] = {}
        if env.is_fargate:
            for number, instance in enumerate(estate.staying):
                if not instance.live_attempts:
                    self._slots.setdefault(instance.free, []).append(number)
        #: The first rank that asks since the last time that everything was packed.
        self._asked_from: float = math.inf
        self._rest: Rooms | None = None
        self._rest_numbers: list[int] = []
        self.fleet = self._new_fleet()

    def place(self, rank: int, shape: ShapeDemand, count: int) -> int:
        """Leaves jobs to the room that there is; returns how many are left over."""
        if self.env.is_fargate:
            slots = [] if shape.nodes else self._slots.get(shape.need, [])
            taken, self._slots[shape.need] = slots[:count], slots[count:]
            self._used[taken] = True
            return count - len(taken)
        if shape.nodes:
            left = self._place_nodes(rank, shape, count)
        else:
            left = count - self._rooms.take(shape.need, count)
        if left < count:
            self.claimed[self._rooms.used & (self.claimed == _NOBODY)] = rank
        return left

    def _place_nodes(self, rank: int, shape: ShapeDemand, count: int) -> int:
        """Leaves multi-node jobs to idle instances of one type, each to one node."""
        if not self._takes_nodes():
            return count
        for name, numbers in self._idle_by_type(rank, shape.need).items():
            if shape.instance_type in ("", name):
                jobs = min(count, len(numbers) // shape.nodes)
                chosen = np.array(numbers[: jobs * shape.nodes], dtype=np.int64)
                self._rooms.take_whole(chosen)
                self.for_nodes[chosen] = True
                count -= jobs
        return count

    def _takes_nodes(self) -> bool:
        return takes_nodes(
            is_managed=self.env.is_managed,
            is_fargate=self.env.is_fargate,
            is_spot=self.env.is_spot,
        )

    def _idle_by_type(self, rank: int, need: Resources) -> dict[str, list[int]]:
        """Idle instances large enough that nothing of an earlier rank was left to, by type.

        The cheapest types come first.
        """
        able = self.estate.rooms.able(need) & (self.claimed > rank) & ~self._kept
        found: dict[str, list[int]] = {}
        for number in np.flatnonzero(able).tolist():
            instance = self.estate.staying[number]
            if not instance.live_attempts and instance.instance_type:
                found.setdefault(instance.instance_type, []).append(number)
        prices = {name: self.estate.staying[some[0]].price_per_hour for name, some in found.items()}
        return {name: found[name] for name in sorted(found, key=lambda name: (prices[name], name))}

    def want(self, rank: int, shape: ShapeDemand, count: int) -> None:
        """Asks for new instances for jobs that found no room."""
        there = self.wanted.get(rank)
        self.wanted[rank] = Wanted(rank, shape, count + (there.count if there else 0))
        self._asked_from = min(self._asked_from, rank)

    def pack(self) -> dict[int, int]:
        """Decides on new instances for all that is wanted.

        Returns:
            By rank, the jobs that are left over; they are no longer wanted here.
        """
        asked_from, self._asked_from = self._asked_from, math.inf
        env = self.env
        wanted = [self.wanted[rank] for rank in sorted(self.wanted)]
        if not (env.is_managed and env.is_usable):
            self.wanted.clear()
            return {want.rank: want.count for want in wanted}
        cut = math.inf if self.fleet.cut is None else self.fleet.cut
        full = self.fleet.at_cut() if asked_from > cut else None
        if full:  # as before up to there, and from there on nothing is blended
            wanted = [want for want in wanted if want.rank > cut]
        self.fleet = full or self._new_fleet()
        if env.is_fargate:
            hold_slots(self.fleet, wanted)
        else:
            self._hold(wanted)
        for rank, (count, why) in self.fleet.left.items():
            want = self.wanted.pop(rank)
            if want.shape.nodes:
                self.nodes_away[rank] = want.shape
            if want.count > count:
                self.wanted[rank] = replace(want, count=want.count - count)
            before, _ = self.turned_away.get(rank, (0, why))
            self.turned_away[rank] = before + count, why
        return {rank: count for rank, (count, _) in self.fleet.left.items()}

    def _new_fleet(self) -> Fleet:
        estate = self.estate
        headroom = max(self.env.maxv_cpus - estate.total, 0.0)
        stock = {kind: len(numbers) for kind, numbers in self.empty.items()}
        return Fleet(self.env, estate.choice, headroom, estate.ending_vcpus, stock)

    def _hold(self, wanted: list[Wanted]) -> None:
        """New instances for jobs; multi-node jobs only where all nodes may be."""
        possible = []
        for want in wanted:
            if not want.shape.nodes or self._takes_nodes():
                possible.append(want)
            else:
                self.fleet.turn_away(want, Refused(Refusal.NO_NODES))
        there = {
            want.rank: self._idle_by_type(want.rank, want.shape.need)
            for want in possible
            if want.shape.nodes
        }
        self.fleet = self.fleet.hold(possible, there)

    def place_rest(self, rank: int, shape: ShapeDemand, count: int) -> int:
        """Leaves jobs to empty instances that were kept and not used; returns how many are left."""
        if not self.keeps_empty or shape.nodes or not self.env.is_usable:
            return count
        if self._rest is None:
            self._rest_numbers = [
                number
                for kind, numbers in self.empty.items()
                for number in numbers[len(numbers) - self.fleet.stock[kind] :]
            ]
            staying = self.estate.staying
            self._rest = Rooms.of(staying[number].free for number in self._rest_numbers)
        taken = self._rest.take(shape.need, count)
        if taken and rank in self.turned_away:
            before, why = self.turned_away[rank]
            self.turned_away[rank] = max(before - taken, 0), why
        return count - taken

    def bill(self) -> float:
        """What the new instances cost per hour, as the strategy reckons."""
        return sum(
            reckoned_price(self.env.allocation_strategy, offer) * count
            for offer, count in self.fleet.launches.items()
        )

    def is_used(self) -> Flags:
        """Of each instance that stays, whether a job that waits was left to it."""
        used = self._used.copy()
        used |= self._rooms.used
        used[list(self.fleet.completed)] = True
        for kind, numbers in self.empty.items():
            used[numbers[: len(numbers) - self.fleet.stock[kind]]] = True
        if self._rest is not None:
            used[np.array(self._rest_numbers, dtype=np.int64)[self._rest.used]] = True
        return used
