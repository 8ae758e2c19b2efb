"""Consumable resources: what jobs need of them, and how much there is.

Units of a REPLENISHABLE resource are held from the placement of an attempt to its end; those of a
NON_REPLENISHABLE one are used up by the placement. A resource is known by its name alone: one that
was deleted and created again is the same to all that need it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

REPLENISHABLE = "REPLENISHABLE"
NON_REPLENISHABLE = "NON_REPLENISHABLE"

#: Most that there may be of a resource, and that a job may need: what the wire can say.
QUANTITY_MAX = 2**63 - 1

#: What one job needs: names with quantities, in order of the names, each once.
Units = tuple[tuple[str, int], ...]


def units_of(amounts: Iterable[tuple[str, int]]) -> Units:
    """What is needed in all; amounts of one resource are added up."""
    total: Counter[str] = Counter()
    for name, quantity in amounts:
        total[name] += quantity
    return tuple(sorted(total.items()))


def to_text(units: Units) -> str:
    """One text for all that need the same: it tells jobs apart that are alike otherwise."""
    return ",".join(f"{name}={quantity}" for name, quantity in units)


def from_text(text: str) -> Units:
    """What a text of `to_text` says."""
    if not text:
        return ()
    parts = (part.partition("=") for part in text.split(","))
    return tuple((name, int(quantity)) for name, _, quantity in parts)


@dataclass(frozen=True, slots=True)
class Resource:
    """How much there is of a resource, in all."""

    total: int
    is_replenishable: bool = True


@dataclass(frozen=True, slots=True)
class ConsumableShortage:
    """What a job lacks of one resource: it needs so many units, and so many are available."""

    name: str
    needed: int
    available: int
    #: How many there are in all; None: there is no such resource.
    total: int | None

    @property
    def is_for_good(self) -> bool:
        """Whether waiting alone does not help: somebody must raise the total first."""
        return self.total is None or self.total < self.needed


@dataclass(slots=True)
class Stock:
    """All resources by name, and what live attempts hold of each, whatever its type.

    A resource may be gone, and some of it held still.
    """

    resources: dict[str, Resource] = field(default_factory=dict)
    held: Counter[str] = field(default_factory=Counter)

    def hold(self, units: Units) -> None:
        """An attempt was placed, or is live again."""
        self.held.update(dict(units))

    def release(self, units: Units) -> None:
        """An attempt ended."""
        for name, quantity in units:
            self.held[name] -= quantity
            if not self.held[name]:
                del self.held[name]

    def use_up(self, amounts: Mapping[str, int]) -> None:
        """Takes what was used up for good off the totals; negative amounts are given back."""
        for name, quantity in amounts.items():
            known = self.resources.get(name)
            if known is not None and not known.is_replenishable:
                self.resources[name] = Resource(known.total - quantity, is_replenishable=False)

    def in_use(self, name: str) -> int:
        """How much is held: nothing of what is used up at once."""
        known = self.resources.get(name)
        return 0 if known is not None and not known.is_replenishable else self.held[name]

    def available(self, name: str) -> int:
        """How much may be taken; 0 also where more is held than there is, or no resource is."""
        known = self.resources.get(name)
        return 0 if known is None else max(known.total - self.in_use(name), 0)

    def has(self, units: Units) -> bool:
        """Whether a job that needs so much may be placed."""
        return all(self.available(name) >= quantity for name, quantity in units)

    def short_of(self, units: Units) -> tuple[ConsumableShortage, ...]:
        """What a job that needs so much lacks."""
        found = []
        for name, quantity in units:
            available, known = self.available(name), self.resources.get(name)
            if available < quantity:
                total = None if known is None else known.total
                found.append(ConsumableShortage(name, quantity, available, total))
        return tuple(found)


class _Free(dict[str, int]):
    """What is available of resources, from when one is first asked for."""

    def __init__(self, stock: Stock) -> None:
        super().__init__()
        self._stock = stock

    def __missing__(self, name: str) -> int:
        self[name] = available = self._stock.available(name)
        return available


class OpenStock:
    """What is available of resources while it is given out, and what is kept for whom."""

    def __init__(self, stock: Stock) -> None:
        """Takes what there is; nothing else changes it meanwhile."""
        self._free = _Free(stock)
        self._stock = stock
        #: By shape.
        self._kept: dict[int, dict[str, int]] = {}

    @property
    def kept_for(self) -> Iterator[int]:
        """Shapes for which units are kept that others might have had."""
        return (shape_id for shape_id, kept in self._kept.items() if any(kept.values()))

    def left(self) -> dict[str, int]:
        """What was not given out of what was asked for, also where it is kept."""
        left = dict(self._free)
        for kept in self._kept.values():
            for name, quantity in kept.items():
                left[name] += quantity
        return left

    def most(self, shape_id: int, units: Units) -> int | None:
        """How many jobs that need so much each may have it; None: any number."""
        kept = self._kept.get(shape_id, {})
        counts = ((self._free[n] + kept.get(n, 0)) // quantity for n, quantity in units)
        return min(counts, default=None)

    def take(self, shape_id: int, units: Units, count: int) -> None:
        """Gives so many jobs what they need, of what is kept for them first."""
        kept = self._kept.get(shape_id, {})
        for name, quantity in units:
            wanted = quantity * count
            own = min(kept.get(name, 0), wanted)
            if own:
                kept[name] -= own
            self._free[name] -= wanted - own

    def keep(self, shape_id: int, units: Units) -> None:
        """Keeps what there is for one job that lacks some of it, if waiting alone will help it.

        Others must not take bit by bit what it waits for.
        """
        if shape_id in self._kept or any(s.is_for_good for s in self._stock.short_of(units)):
            return
        self._kept[shape_id] = kept = {}
        for name, quantity in units:
            kept[name] = min(self._free[name], quantity)
            self._free[name] -= kept[name]
