"""The market of the simulated provider: pools of instances, their prices, their shortages.

Simple meaning: a pool is an instance type in a zone by a purchase option. It has so many instances,
a depth, a rate of interruptions, and at each moment a price. On demand the price stands still. Spot
prices walk around a share of the on-demand price, and are drawn back to it; shallow pools are
interrupted more often than deep ones.

All of it follows from the seed, and each pool has a stream of random numbers of its own: what is
asked of one pool never changes another, so two runs that order differently meet the same market.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from longshore.domain.catalogue import InstanceType, fargate_type
from longshore.domain.order import SPOT

#: How much of its distance from the mean a spot price keeps from step to step.
PERSISTENCE = 0.9
#: Depths that are drawn.
DEPTH_LEAST, DEPTH_MOST = 0.2, 1.0
DEPTH_MEAN = (DEPTH_LEAST + DEPTH_MOST) / 2
#: The depth at which nothing would ever be interrupted; even the deepest pools are, now and then.
SAFEST = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRule:
    """What is special about some pools; empty members hold for all."""

    instance_types: frozenset[str] = frozenset()
    zone: str = ""
    purchase_option: str = ""
    #: Most instances at one time. None: no bound.
    size: int | None = None
    depth: float | None = None
    interruptions_per_hour: float | None = None

    def covers(self, instance_type: str, zone: str, purchase_option: str) -> bool:
        """Whether it is about a pool."""
        return (
            (not self.instance_types or instance_type in self.instance_types)
            and self.zone in ("", zone)
            and self.purchase_option in ("", purchase_option)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedShortage:
    """A time in which some pools give no more instances; `rule.size` and the like mean nothing."""

    rule: PoolRule
    begins_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMarket:
    """What instances cost and how they come and go; everything may be set."""

    zones: tuple[str, ...] = ("zone-a",)
    #: From launch to registration, give or take the spread (a share of it, evenly drawn).
    boot: timedelta = timedelta(seconds=60)
    fargate_boot: timedelta = timedelta(seconds=30)
    boot_spread: float = 0.0
    #: Share of launched instances that never register.
    boot_failures: float = 0.0
    #: From the request to end an instance until it is gone.
    shutdown: timedelta = timedelta(0)
    #: How far spot prices lie below on-demand ones, as a share, in the long run.
    spot_discount: float = 0.65
    #: Standard deviation of each step of a spot price, as a share of it.
    spot_volatility: float = 0.05
    price_step: timedelta = timedelta(minutes=5)
    #: Of a spot instance in a pool of mean depth.
    interruptions_per_hour: float = 0.0
    notice: timedelta = timedelta(minutes=2)
    #: The first that covers a pool holds.
    pools: tuple[PoolRule, ...] = ()
    shortages: tuple[SimulatedShortage, ...] = ()


class SimulatedPool:
    """One type in one zone by one purchase option."""

    def __init__(
        self,
        kind: InstanceType,
        zone: str,
        purchase_option: str,
        *,
        market: SimulatedMarket,
        seed: int,
        epoch: datetime,
    ) -> None:
        self.kind = kind
        self.zone = zone
        self.purchase_option = purchase_option
        self.used = 0
        self._market = market
        self._epoch = epoch
        self._random = random.Random(f"{seed}/{kind.name}/{zone}/{purchase_option}")
        self._step = 0
        self._distance = 0.0  # of the price's logarithm from its mean
        rule = next(
            (rule for rule in market.pools if rule.covers(kind.name, zone, purchase_option)),
            PoolRule(),
        )
        self.size = rule.size
        drawn = self._random.uniform(DEPTH_LEAST, DEPTH_MOST) if purchase_option == SPOT else 1.0
        self.depth = drawn if rule.depth is None else rule.depth
        self.interruptions_per_hour = 0.0
        if purchase_option == SPOT:
            shallow = (SAFEST - self.depth) / (SAFEST - DEPTH_MEAN)
            own = rule.interruptions_per_hour
            self.interruptions_per_hour = (
                market.interruptions_per_hour * shallow if own is None else own
            )
        self._shortages = [s for s in market.shortages if s.rule.covers(*self.key)]

    @property
    def key(self) -> tuple[str, str, str]:
        """Type, zone, purchase option."""
        return (self.kind.name, self.zone, self.purchase_option)

    def has_room(self, now: datetime) -> bool:
        """Whether one more instance may be had."""
        return (self.size is None or self.used < self.size) and not any(
            s.begins_at <= now < s.ends_at for s in self._shortages
        )

    def price_per_hour(self, now: datetime) -> float:
        """The price; `now` never goes backwards."""
        full = self.kind.price_per_hour
        if self.purchase_option != SPOT:
            return full
        if self.kind.is_slot:  # has a list price
            slot = fargate_type(self.kind.offer, spot=True)
            return full if slot is None else slot.price_per_hour
        for _ in range((now - self._epoch) // self._market.price_step - self._step):
            self._step += 1
            self._distance *= PERSISTENCE
            self._distance += self._random.gauss(0, self._market.spot_volatility)
        share = (1 - self._market.spot_discount) * math.exp(self._distance)
        return round(full * min(share, 1.0), 6)


def preferred(pools: Sequence[SimulatedPool], strategy: str, now: datetime) -> list[SimulatedPool]:
    """Pools in the order in which a provider with a choice takes them, by allocation strategy.

    Those that are equal stay in the order given.
    """
    if strategy == "SPOT_CAPACITY_OPTIMIZED":
        return sorted(pools, key=lambda pool: -pool.depth)
    if strategy == "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED":
        return sorted(pools, key=lambda pool: -round(pool.depth * 4))  # by quarters
    if strategy == "SPOT_PRICE_CAPACITY_OPTIMIZED":
        return sorted(pools, key=lambda pool: _per_vcpu(pool, now) / max(pool.depth, 0.01))
    return sorted(pools, key=lambda pool: _per_vcpu(pool, now))


def _per_vcpu(pool: SimulatedPool, now: datetime) -> float:
    return pool.price_per_hour(now) / pool.kind.vcpus
