"""The simulated provider: instances that exist in virtual time alone.

It answers as a cloud does, at once and without waiting, and is moved by whoever owns the clock:
`next_at` says when something will happen, `take_due` what has happened by now. What instances do
follows from the seed and their ids, so equal orders at equal times get equal answers.
"""

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from longshore.domain.catalogue import InstanceType
from longshore.domain.checks import Json
from longshore.domain.instance import InstanceRecord
from longshore.domain.order import (
    INSUFFICIENT_INSTANCE_CAPACITY,
    PRICE_TOO_LOW,
    SPOT,
    CapacityError,
    CapacityOrder,
    Ordered,
    OrderEntry,
    allot,
    instance_ids,
)
from longshore.domain.scaling.market import Quote
from longshore.provisioning.provider import Fulfilment, LaunchError, ProviderInstance
from longshore.simulation.market import SimulatedMarket, SimulatedPool, preferred


class Happening(StrEnum):
    """What befalls an instance."""

    #: Its agent registers.
    BOOTED = "BOOTED"
    #: A spot instance will be taken back once the notice is over.
    NOTICE = "NOTICE"
    #: It is gone, whatever was on it.
    RECLAIMED = "RECLAIMED"
    #: It has ended as it was asked to.
    ENDED = "ENDED"


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """Something that befalls an instance, and when."""

    at: datetime
    instance_id: str
    happening: Happening


@dataclass(slots=True)
class _Instance:
    pool: SimulatedPool
    provider_id: str
    is_ending: bool = False


class SimulatedProvider:
    """Instances in virtual time. Not for use from several threads at once."""

    name = "simulated"
    revives = False

    def __init__(self, market: SimulatedMarket, *, seed: int, now: Callable[[], datetime]) -> None:
        """Makes a provider that has no instances.

        Args:
            market: how instances behave and what they cost.
            seed: all that is drawn follows from it.
            now: the virtual clock; it never goes backwards.
        """
        self._market = market
        self._seed = seed
        self._now = now
        self._epoch = now()
        self._pools: dict[tuple[str, str, str], SimulatedPool] = {}
        self._instances: dict[str, _Instance] = {}
        self._orders: dict[UUID, Fulfilment] = {}
        self._events: list[Event] = []

    # ------------------------------------------------------------------ as a provider

    async def fulfil(
        self,
        order: CapacityOrder,
        kinds: Mapping[str, InstanceType],
        resources: Json,
        live: int,
    ) -> Fulfilment:
        """Launches what the pools have; the same order again gets the same answer."""
        del resources, live
        if (known := self._orders.get(order.order_id)) is not None:
            return known
        found: list[SimulatedPool] = []

        def refuse(entry: OrderEntry, taken: int) -> CapacityError | None:
            del taken
            choice = self._choose(entry, kinds[entry.instance_type])
            if isinstance(choice, CapacityError):
                return choice
            choice.used += 1
            found.append(choice)
            return None

        taken, errors = allot(self._in_order_of_choice(order, kinds), refuse)
        instances = []
        ids = instance_ids(order.order_id, len(taken))
        for instance_id, entry, pool in zip(ids, taken, found, strict=True):
            self._launch(instance_id, pool)
            got = replace(entry, price_per_hour=pool.price_per_hour(self._now()))
            instances.append(
                Ordered(instance_id=instance_id, entry=got, zone=pool.zone, provider_id=instance_id)
            )
        answer = self._orders[order.order_id] = Fulfilment(tuple(instances), tuple(errors))
        return answer

    async def launch(self, instance: InstanceRecord) -> ProviderInstance:
        """Finds an instance; all are launched by their order.

        Raises:
            LaunchError: it is not there, or no more.
        """
        known = self._instances.get(instance.instance_id)
        if known is None:
            raise LaunchError(f"Instance {instance.instance_id} is gone.")
        return ProviderInstance(instance.instance_id, known.provider_id)

    async def terminate(self, instance_ids: Sequence[str], *, force: bool) -> None:
        """Ends instances, at once or after the time that ending takes."""
        for instance_id in instance_ids:
            instance = self._instances.get(instance_id)
            if instance is None or (instance.is_ending and not force):
                continue
            instance.is_ending = True
            delay = timedelta(0) if force else self._market.shutdown
            self._at(delay, instance_id, Happening.ENDED)

    async def describe(self) -> list[ProviderInstance]:
        """Every instance that is there."""
        return [ProviderInstance(key, value.provider_id) for key, value in self._instances.items()]

    async def taken_back(self, instance_ids: Sequence[str]) -> Mapping[str, str]:
        """None that are not known: `take_due` tells of each."""
        del instance_ids
        return {}

    async def quote(self, kinds: Sequence[InstanceType]) -> list[Quote]:
        """Prices and depths of the spot pools of the types; on demand prices stand still."""
        now = self._now()
        return [
            Quote(
                instance_type=kind.name,
                zone=zone,
                purchase_option=SPOT,
                price_per_hour=pool.price_per_hour(now),
                depth=pool.depth,
            )
            for kind in kinds
            for zone in self._market.zones
            for pool in [self._pool(kind, zone, SPOT)]
        ]

    async def clean(self, instance_id: str) -> None:
        """Nothing is ever left behind."""

    async def remains(self) -> list[str]:
        """Nothing is ever left behind."""
        return []

    # ------------------------------------------------------------------ in virtual time

    def next_at(self) -> datetime | None:
        """When something happens next; None if nothing will."""
        return self._events[0].at if self._events else None

    def take_due(self) -> list[Event]:
        """What has happened by now, in order of time."""
        now, due = self._now(), []
        while self._events and self._events[0].at <= now:
            event = heapq.heappop(self._events)
            instance = self._instances.get(event.instance_id)
            if instance is None:
                continue  # it was gone before this could befall it
            if event.happening in (Happening.RECLAIMED, Happening.ENDED):
                del self._instances[event.instance_id]
                instance.pool.used -= 1
            elif instance.is_ending:
                continue
            due.append(event)
        return due

    def interrupt(self, instance_id: str) -> None:
        """Gives an instance its notice now."""
        self._at(timedelta(0), instance_id, Happening.NOTICE)
        self._at(self._market.notice, instance_id, Happening.RECLAIMED)

    # ------------------------------------------------------------------ inside

    def _in_order_of_choice(
        self, order: CapacityOrder, kinds: Mapping[str, InstanceType]
    ) -> CapacityOrder:
        """The order with entries of equal rank in the order in which they are taken."""
        now = self._now()
        pools: dict[int, SimulatedPool] = {}
        for number, entry in enumerate(order.entries):
            zone = entry.zone or self._market.zones[0]
            kind = kinds[entry.instance_type]
            pools[number] = self._pool(kind, zone, entry.purchase_option)
        place = {
            id(pool): place
            for place, pool in enumerate(
                preferred(list(pools.values()), order.allocation_strategy, now)
            )
        }
        chosen = sorted(
            range(len(order.entries)),
            key=lambda number: (order.entries[number].rank, place[id(pools[number])]),
        )
        return replace(order, entries=tuple(order.entries[number] for number in chosen))

    def _choose(self, entry: OrderEntry, kind: InstanceType) -> SimulatedPool | CapacityError:
        """The pool that gives one more instance of an entry, or why none does."""
        now = self._now()
        zones = (entry.zone,) if entry.zone else self._market.zones
        pools = [self._pool(kind, zone, entry.purchase_option) for zone in zones]
        bound = entry.max_price_per_hour
        if entry.purchase_option == SPOT and bound is not None:
            cheap = [pool for pool in pools if pool.price_per_hour(now) <= bound]
            if not cheap:
                least = min(pool.price_per_hour(now) for pool in pools)
                message = f"{kind.name} costs {least:.4f} an hour, {bound:.4f} at most is paid."
                return CapacityError(
                    kind.name, entry.zone, entry.purchase_option, PRICE_TOO_LOW, message
                )
            pools = cheap
        with_room = [pool for pool in pools if pool.has_room(now)]
        if with_room:
            return min(with_room, key=lambda pool: pool.price_per_hour(now))
        where = f" in {entry.zone}" if entry.zone else ""
        message = f"There is no more {kind.name}{where} just now."
        return CapacityError(
            kind.name, entry.zone, entry.purchase_option, INSUFFICIENT_INSTANCE_CAPACITY, message
        )

    def _launch(self, instance_id: str, pool: SimulatedPool) -> None:
        market = self._market
        self._instances[instance_id] = _Instance(pool, instance_id)
        fate = random.Random(f"{self._seed}/{instance_id}")
        # All is drawn whether it is used or not, so that one setting never shifts another's draws.
        spread = fate.uniform(-market.boot_spread, market.boot_spread)
        fails = fate.random() < market.boot_failures
        hours = fate.expovariate(1.0)
        boot = (market.fargate_boot if pool.kind.is_slot else market.boot) * (1 + spread)
        if not fails:
            self._at(boot, instance_id, Happening.BOOTED)
        if pool.interruptions_per_hour:
            notice = timedelta(hours=min(hours / pool.interruptions_per_hour, 1e6))
            self._at(notice, instance_id, Happening.NOTICE)
            self._at(notice + market.notice, instance_id, Happening.RECLAIMED)

    def _pool(self, kind: InstanceType, zone: str, purchase_option: str) -> SimulatedPool:
        key = (kind.name, zone, purchase_option)
        if (pool := self._pools.get(key)) is None:
            pool = self._pools[key] = SimulatedPool(
                kind, zone, purchase_option, market=self._market, seed=self._seed, epoch=self._epoch
            )
        return pool

    def _at(self, delay: timedelta, instance_id: str, happening: Happening) -> None:
        heapq.heappush(self._events, Event(self._now() + delay, instance_id, happening))
