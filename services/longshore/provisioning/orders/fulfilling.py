"""Gets what capacity orders ask for, and puts it on record.

An order is answered without an open transaction, since a cloud may take a minute:

1. It is noted that the order is being answered, and until when at the longest. So long the scaler
   does not give it up, and instances that the provider has for it are no strays. It may have to
   wait: a provider is asked for so many orders at one time.
2. The provider is asked, by the order's id: it launches once, however often it is asked.
3. One transaction puts the instances on record and closes the order.

A crash between 2 and 3, or a caller that went away, leaves the note: the order is taken up again,
by the next holder of the lease if need be (`left_over`), and gets the same instances. Where the
provider did not answer in time the note is taken back: the scaler gives the order up and makes a
new one, and what the provider may still launch for the old one is not on record, and ended as a
stray. An order that was given up in step 2 is closed in step 3: what it got is put on record on its
way out.
"""

import asyncio
import contextlib
import math
import random
import uuid
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from longshore.domain.catalogue import Catalogue, InstanceType
from longshore.domain.checks import Json
from longshore.domain.errors import InvalidRequest, Unavailable
from longshore.domain.order import CapacityError, CapacityOrder
from longshore.provisioning.provider import Fulfilment, Provider
from longshore.state.leadership import Leadership
from longshore.state.pool import Connection
from longshore.state.provisioning import capacity_order, instance

log = structlog.get_logger()

#: How long an order may take.
ANSWER_SECONDS = 50.0
#: Orders that a provider is asked for at one time.
ORDERS_AT_ONCE = 8
#: Orders that wait for that at the most. A scaler has one on its way for each environment.
ORDERS_WAITING = 1_000
#: Delay after the first try at which the provider did not answer, doubled with each further one.
FIRST_DELAY = 0.25
LAST_DELAY = 5.0
#: How long it may take to note that an order is not asked for any more.
LET_GO_SECONDS = 2.0
GIVEN_UP = "Its order had been given up when the provider answered."


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What an order got: id, type and zone of each instance, and what could not be had."""

    order_id: uuid.UUID
    instances: list[tuple[str, str, str]]
    errors: list[CapacityError]


class Fulfilling:
    """Answers orders, each once."""

    def __init__(
        self, leadership: Leadership, provider: Provider, catalogue: Catalogue, machine: str = ""
    ) -> None:
        """Answers none yet; for `machine` see `Reconciler`."""
        self._leadership = leadership
        self._provider = provider
        self._machine = machine
        self._catalogue = catalogue
        # A provider that only reserves goes by what is on record, so one order after the other.
        self._places = asyncio.Semaphore(1 if provider.revives else ORDERS_AT_ONCE)
        #: Most instances that each order may get that is being answered.
        self._asked_for: dict[uuid.UUID, int] = {}
        self._turns: weakref.WeakValueDictionary[uuid.UUID, asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )

    def check(self, order: CapacityOrder) -> Mapping[str, InstanceType]:
        """The types of an order's entries.

        Raises:
            InvalidRequest: an entry names an unknown type.
        """
        kinds = {}
        for number, entry in enumerate(order.entries):
            kind = self._catalogue.get(entry.instance_type)
            if kind is None:
                raise InvalidRequest(
                    f"Instance type {entry.instance_type!r} is not in the catalogue.",
                    member=f"order.entries[{number}].instanceType",
                )
            kinds[kind.name] = kind
        return kinds

    async def answer(self, order: CapacityOrder, seconds: float) -> Provisioned:
        """What a recorded order got; asks the provider unless that was done before.

        Raises:
            Unavailable: the provider does not answer, or another holder answers orders now.
        """
        kinds = self.check(order)
        if len(self._turns) >= ORDERS_WAITING and order.order_id not in self._turns:
            raise Unavailable(f"{len(self._turns):,} orders are being answered; try again.")
        turn = self._turns.setdefault(order.order_id, asyncio.Lock())
        until = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(until):
                await turn.acquire()
        except TimeoutError:
            # Who has the turn goes on: its note is not ours to take back.
            raise Unavailable(f"The provider did not answer in {seconds:.0f} s.") from None
        try:
            return await self._answer(order, kinds, seconds, until)
        finally:
            turn.release()

    async def _answer(
        self,
        order: CapacityOrder,
        kinds: Mapping[str, InstanceType],
        seconds: float,
        until: float,
    ) -> Provisioned:
        """Answers an order, of which nobody else does at this time."""
        try:
            async with asyncio.timeout_at(until):
                async with self._leadership.transaction() as conn:
                    if answer := await self._answered(conn, order.order_id):
                        return answer
                    await capacity_order.begin(conn, order.order_id, seconds)
                async with self._places:
                    return await self._fulfil(order, kinds)
        except TimeoutError:
            await self._let_go(order.order_id)
            raise Unavailable(f"The provider did not answer in {seconds:.0f} s.") from None
        except Exception:
            await self._let_go(order.order_id)
            raise

    async def _fulfil(self, order: CapacityOrder, kinds: Mapping[str, InstanceType]) -> Provisioned:
        """Asks the provider for an order that has its place, and puts on record what it got."""
        with self._asking_for(order) as ahead:
            async with self._leadership.transaction() as conn:
                if answer := await self._answered(conn, order.order_id):
                    return answer
                live = await instance.count_live(conn, self._provider.name, self._machine)
                resources = await instance.compute_resources(conn, order.compute_environment)
            fulfilment = await self._ask(order, kinds, resources, live + ahead)
            async with self._leadership.transaction() as conn:
                return await self._close(conn, order, kinds, fulfilment)

    async def _answered(self, conn: Connection, order_id: uuid.UUID) -> Provisioned | None:
        """What an order got that is closed; None while it is open."""
        is_closed, errors = await capacity_order.lock(conn, order_id)
        if not is_closed:
            return None
        return Provisioned(order_id, await instance.of_order(conn, order_id), errors)

    @contextlib.contextmanager
    def _asking_for(self, order: CapacityOrder) -> Iterator[int]:
        """Counts what an order may get, as none of it is on record; yields that of those before it.

        So orders that are answered at one time do not each take the provider's last room.
        """
        ahead = sum(self._asked_for.values())
        least = min(entry.weight for entry in order.entries)
        self._asked_for[order.order_id] = math.ceil(order.target_vcpus / least)
        try:
            yield ahead
        finally:
            del self._asked_for[order.order_id]

    async def left_over(self) -> list[CapacityOrder]:
        """Open orders that are noted as being answered, although nobody does."""
        if not await self._leadership.hold():
            return []
        async with self._leadership.transaction() as conn:
            begun = await capacity_order.begun(conn)
        return [order for order in begun if order.order_id not in self._turns]

    async def _ask(
        self,
        order: CapacityOrder,
        kinds: Mapping[str, InstanceType],
        resources: Json,
        live: int,
    ) -> Fulfilment:
        """Asks the provider until it answers; the caller's deadline bounds that."""
        delay = FIRST_DELAY
        while True:
            try:
                return await self._provider.fulfil(order, kinds, resources, live)
            except (Unavailable, TimeoutError) as error:
                log.warning(
                    "provider.unavailable",
                    operation="fulfil",
                    order_id=str(order.order_id),
                    error=str(error),
                )
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, LAST_DELAY)

    async def _close(
        self,
        conn: Connection,
        order: CapacityOrder,
        kinds: Mapping[str, InstanceType],
        got: Fulfilment,
    ) -> Provisioned:
        """Puts on record what an order got, and closes it."""
        is_closed, errors = await capacity_order.lock(conn, order.order_id)
        ordered = [(one, kinds[one.entry.instance_type]) for one in got.instances]
        if is_closed:
            there = [pair for pair in ordered if pair[0].provider_id is not None]
            await instance.insert(conn, order, self._provider.name, there, self._machine)
            ids = [one.instance_id for one, _ in there]
            await instance.terminating(conn, ids, GIVEN_UP, drain_until=datetime.now(UTC))
            log.warning("order.given_up", order_id=str(order.order_id), instance_ids=ids)
            return Provisioned(order.order_id, [], errors)
        await instance.insert(conn, order, self._provider.name, ordered, self._machine)
        await capacity_order.close(conn, order.order_id, got.errors)
        log.info(
            "order.accepted",
            order_id=str(order.order_id),
            compute_environment=order.compute_environment,
            instances=len(ordered),
            errors=len(got.errors),
        )
        instances = await instance.of_order(conn, order.order_id)
        return Provisioned(order.order_id, instances, list(got.errors))

    async def _let_go(self, order_id: uuid.UUID) -> None:
        """Takes back the note that an order is being answered; if that fails, it lapses."""
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(LET_GO_SECONDS), self._leadership.transaction() as conn:
                await capacity_order.let_go(conn, order_id)
