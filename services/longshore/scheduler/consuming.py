"""Consumable resources as the scheduler keeps them: what live attempts hold, and how much there is.

What is held follows from the attempts in the mirror, so that it ends with them however they end.
How much there is others change: of what a plan may give out it is read under a lock that is held
until the placements are stored, and what these use up for good is taken off in the same
transaction.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from longshore.domain.consumable import Resource, Stock
from longshore.domain.job.record import LiveAttempt
from longshore.scheduler.apart import apart, note, nothing
from longshore.state.pool import Connection
from longshore.state.scheduler import consumable


@dataclass(slots=True)
class Consuming:
    """What there is of resources that somebody waits for, and what is held of any."""

    stock: Stock = field(default_factory=Stock)
    #: Resources of which what is held is not on record yet.
    _unstored: set[str] = field(default_factory=set)

    @classmethod
    def recorded(cls, usages: Mapping[str, int]) -> "Consuming":
        """To be told of all attempts that are live; what is on record is written anew then."""
        return cls(_unstored=set(usages))

    def hold(self, live: LiveAttempt) -> None:
        """A job holds what it needs from now on."""
        self.stock.hold(live.units)
        self._unstored.update(name for name, _ in live.units)

    def release(self, live: LiveAttempt) -> None:
        """A job holds nothing any more."""
        self.stock.release(live.units)
        self._unstored.update(name for name, _ in live.units)

    def see(self, names: Iterable[str], found: Mapping[str, Resource]) -> None:
        """Takes in how much there is of some resources; those that are gone are absent."""
        for name in names:
            self.stock.resources.pop(name, None)
        self.stock.resources |= found

    async def keep(self, conn: Connection) -> None:
        """Puts on record what is held, where that changed."""
        held = self.stock.held

        async def store(part: Sequence[str]) -> None:
            await consumable.store(conn, {name: held[name] for name in part})

        tried = await apart(conn, sorted(self._unstored), store, nothing)
        for name, error in tried.failed:
            note("consumable", error, resource=name)
        self._unstored = {*tried.left, *(name for name, _ in tried.failed)}

    async def keep_with(self, conn: Connection, lives: Iterable[LiveAttempt]) -> None:
        """Puts on record what is held once some attempts are live again."""
        if amounts := used_up(lives):
            held = self.stock.held + amounts
            await consumable.store(conn, {name: held[name] for name in amounts})


def used_up(lives: Iterable[LiveAttempt]) -> Counter[str]:
    """What placed attempts need of resources, whatever their types; nodes need it once together."""
    amounts: Counter[str] = Counter()
    for live in lives:
        if not live.key.is_node or live.key.node_index == 0:
            amounts.update(dict(live.units))
    return amounts
