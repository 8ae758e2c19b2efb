"""The option, and what theory says it is worth."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """A European call on a stock that pays no dividend."""

    spot: float = 100.0
    strike: float = 105.0
    rate: float = 0.05
    volatility: float = 0.2
    years: float = 1.0

    def black_scholes(self) -> float:
        """Its price in closed form (Black and Scholes, 1973)."""
        spread = self.volatility * math.sqrt(self.years)
        d1 = (
            math.log(self.spot / self.strike) + (self.rate + self.volatility**2 / 2) * self.years
        ) / spread
        discounted = self.strike * math.exp(-self.rate * self.years)
        return self.spot * _normal(d1) - discounted * _normal(d1 - spread)

    def environment(self) -> dict[str, str]:
        """What the simulation is told of it."""
        return {
            "SPOT": repr(self.spot),
            "STRIKE": repr(self.strike),
            "RATE": repr(self.rate),
            "VOLATILITY": repr(self.volatility),
            "YEARS": repr(self.years),
        }


def _normal(x: float) -> float:
    """The standard normal distribution function."""
    return math.erfc(-x / math.sqrt(2)) / 2
