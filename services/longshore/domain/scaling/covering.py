"""Covering of demand: which jobs go to which compute environment, and what that adds to each.

Simple meaning: jobs in the order of their queues' priority, then in dispatch order, take what room
there is, compute environment by compute environment. What is left asks the first environment of its
queue for new instances; an environment that cannot have enough of them turns the last in order
away, and these ask the next environment of their queue. Since every environment prefers the same
order, earlier jobs never lose to later ones.

How the code differs: it does not matter who asks first, so the environment that the earliest jobs
ask is always the next to pack, with all that ask it by then. What it keeps is then seldom displaced
by others, and most environments pack once, even where each queue spills over into the next one's.

It is tried in several ways, and the best result is taken: with empty instances filled shape by
shape; with empty instances filled as a blend of all jobs would fill new ones, which finds again
what was ordered for a blend a moment ago and still boots; and with nodes left to empty instances
before all other jobs, which finds again what was ordered for nodes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from longshore.domain.scaling.capacity import QueueDemand, ShapeDemand
from longshore.domain.scaling.estate import Estate
from longshore.domain.scaling.pool import Pool

#: How often an environment may be asked, on average; queues have few environments.
_PACKS = 64
#: Empty instances, in vCPUs for one that is ordered, below which it does not matter how they fill.
_FEW = 0.01


@dataclass(frozen=True, slots=True)
class _Demand:
    """A shape and the environments that it may go to, in order."""

    shape: ShapeDemand
    environments: tuple[str, ...]


def cover(estates: Mapping[str, Estate], queues: Sequence[QueueDemand]) -> "Cover":
    """Covers the demand of all queues."""
    in_order: list[tuple[int, tuple[int, int], _Demand]] = []
    for queue in sorted(queues, key=lambda queue: queue.name):
        usable = tuple(
            name for name in queue.environments if name in estates and estates[name].env.is_usable
        )
        in_order += [
            (-queue.priority, shape.order, _Demand(shape, usable))
            for shape in queue.shapes
            if shape.runnable and usable
        ]
    demand = [one for _, _, one in sorted(in_order, key=lambda entry: entry[:2])]
    first = Cover(estates, demand, keeps_empty=False)
    ordered = sum(pool.fleet.vcpus for pool in first.pools)
    empty = sum(estate.empty_vcpus for estate in estates.values())
    if not ordered or empty < ordered * _FEW:
        return first
    covers = [first, Cover(estates, demand, keeps_empty=True)]
    # Under maxvCpus there is an end to orders in any case, and a third way would take long.
    fleets = [pool.fleet for pool in first.pools]
    if any(fleet.has_nodes for fleet in fleets) and all(fleet.cut is None for fleet in fleets):
        covers.append(Cover(estates, demand, keeps_empty=False, nodes_first=True))
    return min(covers, key=Cover.worth)


class Cover:
    """One way to cover demand."""

    def __init__(
        self,
        estates: Mapping[str, Estate],
        demand: Sequence[_Demand],
        *,
        keeps_empty: bool,
        nodes_first: bool = False,
    ) -> None:
        self._by_name = {
            name: Pool(estate, keeps_empty=keeps_empty) for name, estate in estates.items()
        }
        self._demand = demand
        #: Jobs that find no room, by rank.
        self.unmet = [0] * len(demand)
        self._asking: dict[str, dict[int, int]] = {}
        self._place(nodes_first=nodes_first)
        for _ in range(_PACKS * len(self._by_name)):
            if not self._asking:
                break
            self._ask_one()
        for asking in self._asking.values():
            for rank, count in asking.items():
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

    def _place(self, *, nodes_first: bool) -> None:
        """Leaves jobs to the room that there is; the others ask for new instances."""
        ranks = list(range(len(self._demand)))
        if nodes_first:
            ranks.sort(key=lambda rank: self._demand[rank].shape.nodes == 0)
        for rank in ranks:
            one = self._demand[rank]
            left = one.shape.runnable
            for name in one.environments:
                left = self._by_name[name].place(rank, one.shape, left)
            if left:
                self._ask(rank, left, 0)

    def _ask(self, rank: int, count: int, position: int) -> None:
        """Notes jobs to ask one of their environments, if there is one left to ask."""
        one = self._demand[rank]
        if position == len(one.environments):
            self.unmet[rank] += count
            return
        asking = self._asking.setdefault(one.environments[position], {})
        asking[rank] = asking.get(rank, 0) + count

    def _ask_one(self) -> None:
        """Asks the environment of the first jobs that ask; what it turns away asks elsewhere."""
        name = min(self._asking, key=lambda name: min(self._asking[name]))
        pool = self._by_name[name]
        for rank, count in self._asking.pop(name).items():
            pool.want(rank, self._demand[rank].shape, count)
        for rank, count in pool.pack().items():
            self._ask(rank, count, self._demand[rank].environments.index(name) + 1)
