"""Consumable resources in virtual time: what attempts hold, and what they have used up."""

from collections import Counter
from dataclasses import dataclass, field

from longshore.domain.consumable import Stock
from longshore.domain.placing.shapes import Shape


@dataclass(slots=True)
class SimulatedConsuming:
    """What there is of resources, and what was in use of them at the most."""

    stock: Stock
    peak: Counter[str] = field(default_factory=Counter)
    #: Units that jobs were given, one that is retried each time.
    given: Counter[str] = field(default_factory=Counter)

    def begin(self, shape: Shape) -> None:
        """A job is placed, a multi-node job with all its nodes."""
        amounts = dict(shape.units)
        self.stock.hold(shape.units)
        self.stock.use_up(amounts)
        self.given.update(amounts)
        for name in amounts:
            self.peak[name] = max(self.peak[name], self.stock.in_use(name))

    def end(self, shape: Shape) -> None:
        """A job's attempt ended."""
        self.stock.release(shape.units)
