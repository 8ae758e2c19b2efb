"""Covering of demand: which jobs go to which compute environment, and what that adds to each.

Simple meaning: jobs in the order of their queues' priority, then in dispatch order, take what room
there is, compute environment by compute environment. What is left asks the first environment of its
queue for new instances; an environment that cannot have enough of them turns the last in order
away, and these ask the next environment of their queue. Since every environment prefers the same
order, earlier jobs never lose to later ones.

It is tried in two ways, and the better result is taken: with empty instances filled shape by shape,
and with empty instances filled as a blend of all jobs would fill new ones. The second finds again
what was ordered for a blend a moment ago and still boots.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from longshore.domain.capacity import QueueDemand, ShapeDemand
from longshore.domain.estate import Estate
from longshore.domain.pool import Pool

#: How often jobs that were turned away may ask elsewhere; queues have few environments.
_ROUNDS = 64
#: Rank, jobs, and which of their environments they ask.
_Asking = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Demand:
    """A shape and the environments that it may go to, in order."""

    shape: ShapeDemand
    environments: tuple[str, ...]


def cover(estates: Mapping[str, Estate], queues: Sequence[QueueDemand]) -> "Cover":
    """Covers the demand of all queues."""
    demand = []
    for queue in sorted(queues, key=lambda queue: (-queue.priority, queue.name)):
        usable = tuple(
            name for name in queue.environments if name in estates and estates[name].env.is_usable
        )
        demand += [_Demand(shape, usable) for shape in queue.shapes if shape.runnable and usable]
    first = Cover(estates, demand, keeps_empty=False)
    orders = any(pool.fleet.launches for pool in first.pools)
    has_empty = any(estate.empty for estate in estates.values())
    if not (orders and has_empty) or any(one.shape.nodes > 1 for one in demand):
        return first
    return min(first, Cover(estates, demand, keeps_empty=True), key=Cover.worth)


class Cover:
    """One way to cover demand."""

    def __init__(
        self, estates: Mapping[str, Estate], demand: Sequence[_Demand], *, keeps_empty: bool
    ) -> None:
        self._by_name = {
            name: Pool(estate, keeps_empty=keeps_empty) for name, estate in estates.items()
        }
        self._demand = demand
        #: Jobs that find no room, by rank.
        self.unmet = [0] * len(demand)
        pending = self._place()
        for _ in range(_ROUNDS):
            if not pending:
                break
            pending = self._ask(pending)
        for rank, count, _ in pending:
            self.unmet[rank] += count
        for rank, one in enumerate(demand):
            for name in one.environments if self.unmet[rank] else ():
                self.unmet[rank] = self._by_name[name].place_rest(rank, one.shape, self.unmet[rank])

    @property
    def pools(self) -> list[Pool]:
        """The environments, in the order in which they came."""
        return list(self._by_name.values())

    def worth(self) -> tuple[list[int], float, int]:
        """Less is better: what waits, the earliest first, then the bill, then instances."""
        return (
            self.unmet,
            round(sum(pool.bill() for pool in self.pools), 6),
            sum(sum(pool.fleet.launches.values()) for pool in self.pools),
        )

    def _place(self) -> list[_Asking]:
        """Leaves jobs to the room that there is; returns those that ask for new instances."""
        pending = []
        for rank, one in enumerate(self._demand):
            left = one.shape.runnable
            for name in one.environments:
                left = self._by_name[name].place(one.shape, left)
            if left:
                pending.append((rank, left, 0))
        return pending

    def _ask(self, pending: Sequence[_Asking]) -> list[_Asking]:
        """Asks for new instances; returns the jobs that were turned away and ask elsewhere."""
        asked: set[str] = set()
        for rank, count, position in pending:
            one = self._demand[rank]
            if position == len(one.environments):
                self.unmet[rank] += count
            else:
                self._by_name[one.environments[position]].want(rank, one.shape, count)
                asked.add(one.environments[position])
        return [
            (rank, count, self._demand[rank].environments.index(name) + 1)
            for name in sorted(asked)
            for rank, count in self._by_name[name].pack().items()
        ]
