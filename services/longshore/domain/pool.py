"""A compute environment while a decision is made: its room, and what is added to it."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from longshore.domain.books import Wanted
from longshore.domain.capacity import Offer, ShapeDemand
from longshore.domain.decision import Decision, GiveBack, Launch, Leave, ScalingSettings
from longshore.domain.estate import Estate
from longshore.domain.fleet import Fleet
from longshore.domain.fleet_nodes import offers_for_nodes
from longshore.domain.fleet_slots import hold_slots
from longshore.domain.giving_back import consolidated, idle
from longshore.domain.making_room import Room, Swap, make_room
from longshore.domain.reason import (
    count_of,
    given_back,
    gone,
    names_of,
    refused,
    turned_invalid,
)
from longshore.domain.refusal import Refusal, Refused
from longshore.domain.resources import Resources
from longshore.domain.rooms import Flags, Rooms
from longshore.domain.strategy import reckoned_price, words
from longshore.domain.worth import Vector, worths

#: After every rank.
_NOBODY = np.iinfo(np.int64).max
#: What a vCPU of minvCpus asks of an instance type: no memory to speak of.
ONE_VCPU = Resources(1000, 1)


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
        self._claimed = np.full(len(estate.staying), _NOBODY)
        self._for_nodes = np.zeros(len(estate.staying), dtype=np.bool_)
        self._kept = np.zeros(len(estate.staying), dtype=np.bool_)
        self._empty: Mapping[str, list[int]] = estate.empty if self.keeps_empty else {}
        if self.keeps_empty:
            self._kept[[number for numbers in self._empty.values() for number in numbers]] = True
            self._rooms = self._rooms.without(self._kept)
        self._wanted: dict[int, Wanted] = {}
        #: Jobs that this environment has no capacity for, and why, by rank.
        self._turned_away: dict[int, tuple[int, Refused]] = {}
        #: Multi-node jobs among these, by rank.
        self._nodes_away: dict[int, ShapeDemand] = {}
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
            self._claimed[self._rooms.used & (self._claimed == _NOBODY)] = rank
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
                self._for_nodes[chosen] = True
                count -= jobs
        return count

    def _takes_nodes(self) -> bool:
        return self.env.is_managed and not self.env.is_spot and not self.env.is_fargate

    def _idle_by_type(self, rank: int, need: Resources) -> dict[str, list[int]]:
        """Idle instances large enough that nothing of an earlier rank was left to, by type.

        The cheapest types come first.
        """
        able = self.estate.rooms.able(need) & (self._claimed > rank) & ~self._kept
        found: dict[str, list[int]] = {}
        for number in np.flatnonzero(able).tolist():
            instance = self.estate.staying[number]
            if not instance.live_attempts and instance.instance_type:
                found.setdefault(instance.instance_type, []).append(number)
        prices = {name: self.estate.staying[some[0]].price_per_hour for name, some in found.items()}
        return {name: found[name] for name in sorted(found, key=lambda name: (prices[name], name))}

    def want(self, rank: int, shape: ShapeDemand, count: int) -> None:
        """Asks for new instances for jobs that found no room."""
        there = self._wanted.get(rank)
        self._wanted[rank] = Wanted(rank, shape, count + (there.count if there else 0))
        self._asked_from = min(self._asked_from, rank)

    def pack(self) -> dict[int, int]:
        """Decides on new instances for all that is wanted.

        Returns:
            By rank, the jobs that are left over; they are no longer wanted here.
        """
        asked_from, self._asked_from = self._asked_from, math.inf
        env = self.env
        wanted = [self._wanted[rank] for rank in sorted(self._wanted)]
        if not (env.is_managed and env.is_usable):
            self._wanted.clear()
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
            want = self._wanted.pop(rank)
            if want.shape.nodes:
                self._nodes_away[rank] = want.shape
            if want.count > count:
                self._wanted[rank] = replace(want, count=want.count - count)
            before, _ = self._turned_away.get(rank, (0, why))
            self._turned_away[rank] = before + count, why
        return {rank: count for rank, (count, _) in self.fleet.left.items()}

    def _new_fleet(self) -> Fleet:
        estate = self.estate
        headroom = max(self.env.maxv_cpus - estate.total, 0.0)
        stock = {kind: len(numbers) for kind, numbers in self._empty.items()}
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
                for kind, numbers in self._empty.items()
                for number in numbers[len(numbers) - self.fleet.stock[kind] :]
            ]
            staying = self.estate.staying
            self._rest = Rooms.of(staying[number].free for number in self._rest_numbers)
        taken = self._rest.take(shape.need, count)
        if taken and rank in self._turned_away:
            before, why = self._turned_away[rank]
            self._turned_away[rank] = max(before - taken, 0), why
        return count - taken

    def bill(self) -> float:
        """What the new instances cost per hour, as the strategy reckons."""
        return sum(
            reckoned_price(self.env.allocation_strategy, offer) * count
            for offer, count in self.fleet.launches.items()
        )

    def decision(self, unmet: Sequence[int], now: datetime, settings: ScalingSettings) -> Decision:
        """Fills up to the floor, gives back what is idle, and sums up.

        Args:
            unmet: by rank, the jobs that find no room anywhere.
            now: the time.
            settings: how patient scaling is.
        """
        env, estate, fleet = self.env, self.estate, self.fleet
        used = self._is_used()
        fleet.stock.clear()
        ordered = dict(fleet.launches)
        floor, filled = self._fill_up()
        staying = estate.staying_vcpus + fleet.vcpus
        given = list(estate.given)
        is_quiet = not (fleet.launches or self._turned_away or used.any())
        if env.status == "DELETING":
            given += [
                GiveBack(one.instance_id, Leave.DELETED) for one in estate.staying if one.is_ours
            ]
            staying = 0.0
        else:
            vcpus = {one.instance_id: one.vcpus for one in estate.staying}
            swap = self._make_room(unmet, now, settings, staying - floor)
            back = list(swap.given)
            known = swap.staying.union(give.instance_id for give in back)
            unused = [
                one
                for one, is_used in zip(estate.staying, used, strict=True)
                if not is_used and one.instance_id not in known
            ]
            spare = staying - floor - sum(vcpus[give.instance_id] for give in back)
            back += idle(unused, env, now, settings, spare=max(spare, 0.0))
            if settings.consolidate and is_quiet and not back:
                drained = consolidated(estate.staying, spare=staying - floor)
                back += [drained] if drained else []
            staying -= sum(vcpus[give.instance_id] for give in back)
            given += back
        return Decision(
            compute_environment=env.name,
            desiredv_cpus=math.ceil(round(staying, 6)),
            launches=tuple(Launch(offer, count) for offer, count in fleet.launches.items()),
            alternatives=self._alternatives(ordered),
            headroom=max(env.maxv_cpus - estate.total, 0.0),
            terminate=tuple(given),
            status=env.status,
            status_reason=env.status_reason,
            reason=self._reason(ordered, filled, unmet, given, staying),
            is_invalidated=self._is_invalidated,
            is_gone=env.status == "DELETING" and not estate.total,
        )

    @property
    def _is_invalidated(self) -> bool:
        return self.env.status == "INVALID" != self.estate.before.status

    def _is_used(self) -> Flags:
        """Of each instance that stays, whether a job that waits was left to it."""
        used = self._used.copy()
        used |= self._rooms.used
        used[list(self.fleet.completed)] = True
        for kind, numbers in self._empty.items():
            used[numbers[: len(numbers) - self.fleet.stock[kind]]] = True
        if self._rest is not None:
            used[np.array(self._rest_numbers, dtype=np.int64)[self._rest.used]] = True
        return used

    def _make_room(
        self, unmet: Sequence[int], now: datetime, settings: ScalingSettings, spare: float
    ) -> Swap:
        """Gives the first multi-node job that waits here for maxvCpus the room of what is idle."""
        for rank in sorted(self._nodes_away):
            shape = self._nodes_away[rank]
            offers = offers_for_nodes(self.fleet, shape)
            at_maximum = self._turned_away[rank][1].why is Refusal.AT_MAXIMUM
            if offers and unmet[rank] and at_maximum:
                break
        else:
            return Swap()
        kept = self._for_nodes & (self._claimed < rank)
        kept[[number for number, earlier in self.fleet.completed.items() if earlier < rank]] = True
        for kind, numbers in self._empty.items():
            kept[numbers[: self.fleet.stock_for_nodes[kind]]] = True
        there = [
            one
            for one, is_kept in zip(self.estate.staying, kept, strict=True)
            if not is_kept and not one.live_attempts
        ]
        may_go = idle(there, self.env, now, settings, spare=math.inf)
        room = self.env.maxv_cpus - self.estate.staying_vcpus - self.fleet.vcpus
        return make_room(shape.nodes, offers, there, may_go, Room(room, spare))

    def _fill_up(self) -> tuple[float, str]:
        """New instances up to minvCpus, or up to the desiredvCpus that a client raised.

        Returns:
            The vCPUs that must not be given back, and why instances were added.
        """
        env = self.env
        floor = 0 if env.status == "INVALID" else env.minv_cpus
        if not (env.is_managed and env.is_usable) or env.is_fargate:
            return floor, ""
        member = "minvCpus"
        if env.desiredv_cpus > max(env.settledv_cpus, floor):
            floor, member = env.desiredv_cpus, "desiredvCpus"
        before = self.estate.staying_vcpus + self.fleet.vcpus
        if floor <= before or not self.fleet.fill(floor - before):
            return floor, ""
        return floor, f"{member} asks for {count_of(floor, 'vCPU')}, {before:g} were there."

    def _alternatives(self, ordered: Mapping[Offer, int]) -> tuple[Offer, ...]:
        """What the provider may fall back on, or choose from."""
        env = self.env
        launched = self.fleet.launches
        has_gpus = {offer.kind.gpus > 0 for offer in launched}
        if self.fleet.has_nodes or env.is_fargate or len(has_gpus) != 1:
            # Nothing is ordered; or nothing could stand in for both of what is.
            return ()
        needs = [want.shape.need for want in self._wanted.values() if want.count] if ordered else []
        most = _most(needs) if needs else ONE_VCPU
        choice = self.estate.choice
        demand = sum(_vector(want.shape.need) * want.count for want in self._wanted.values())
        worth = worths(choice.sizes, choice.prices, np.asarray(demand + _vector(ONE_VCPU)))
        return choice.alternatives(launched, most, worth)

    def _lacks(self, unmet: Sequence[int]) -> list[str]:
        """Why jobs got no instances here, and what becomes of them."""
        counts: Counter[tuple[Refused, bool]] = Counter()
        for rank, (count, why) in self._turned_away.items():
            waiting = min(count, unmet[rank])
            # Only maxvCpus leaves jobs to others with a word of its own.
            went_on = why.why is Refusal.AT_MAXIMUM
            counts[why, False] += waiting
            counts[why, went_on] += count - waiting
        return [
            refused(why, count, self.env.maxv_cpus, went_on=went_on)
            for (why, went_on), count in counts.most_common()
            if count
        ]

    def _reason(
        self,
        ordered: Mapping[Offer, int],
        filled: str,
        unmet: Sequence[int],
        given: list[GiveBack],
        staying: float,
    ) -> str:
        """Everything that was decided, in plain words."""
        env, fleet = self.env, self.fleet
        parts = [turned_invalid(env.status_reason)] if self._is_invalidated else []
        parts += gone(given)
        if ordered:
            jobs = count_of(fleet.covered, "RUNNABLE job")
            why = "slots of their size" if env.is_fargate else words(env.allocation_strategy)
            parts.append(f"{jobs} did not fit: ordering {names_of(ordered)} ({why}).")
        if filled:
            added = Counter(fleet.launches)
            added.subtract(ordered)
            parts.append(f"{filled} Ordering {names_of(+added)}.")
        parts += self._lacks(unmet)
        parts += given_back(given)
        if not parts and staying < env.desiredv_cpus:
            parts.append(f"Instances ended, {staying:g} vCPUs left.")
        return " ".join(parts) or "What is there is enough."


def _most(needs: Iterable[Resources]) -> Resources:
    """The most of each dimension."""
    rows = [(need.vcpu_milli, need.memory_mib, need.gpus) for need in needs]
    return Resources(*(max(column) for column in zip(*rows, strict=True)))


def _vector(need: Resources) -> Vector:
    return np.array([need.vcpu_milli, need.memory_mib, need.gpus], dtype=np.float64)
