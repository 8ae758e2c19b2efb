"""Gets what capacity orders ask for, and puts it on record.

An order is answered without an open transaction, since a cloud may take a minute:

1. One transaction puts the order on record, and until when it is being answered at the longest.
   From there on its environment gets no other one, and instances that the provider has for it are
   no strays. Nobody else records orders, so that is the one moment at which it is decided whether
   an order counts: what comes later than the pass of the scaler that decided it does not.
   It may then have to wait: a provider is asked for so many orders at one time.
2. The provider is asked, by the order's id: it launches once, however often it is asked.
3. One transaction puts the instances on record and closes the order.

A crash between 2 and 3, or a caller that went away, leaves the order open: it is taken up again, by
the next holder of the lease if need be (`left_over`), and gets the same instances. Where the
provider did not answer in time, or nobody took the order up in that time, it is given up: closed
with nothing. The scaler makes a new one, and what the provider may still launch for the old one is
not on record, and ended as a stray.
"""

import asyncio
import contextlib
import math
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog

from longshore.backoff import Backoff
from longshore.domain.catalogue import Catalogue, InstanceType
from longshore.domain.checks import Json
from longshore.domain.errors import InvalidRequest, NotFound, Unavailable
from longshore.domain.order import CapacityError, CapacityOrder
from longshore.provisioning.provider import Fulfilment, Provider
from longshore.runtime.loop import BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS
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
#: How long it may take to note that an order is given up.
GIVE_UP_SECONDS = 2.0


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

    def _kinds(self, order: CapacityOrder) -> Mapping[str, InstanceType]:
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

    async def answer(
        self, order: CapacityOrder, seconds: float, decision_token: int | None = None
    ) -> Provisioned:
        """What an order got; asks the provider unless that was done before.

        Args:
            order: what to get.
            seconds: how long that may take.
            decision_token: see `capacity_order.accept`.

        Raises:
            InvalidRequest: an entry names an unknown type.
            NotFound: there is no such compute environment.
            PreconditionFailed: the order comes too late.
            Unavailable: the provider does not answer, and the order is given up; or another holder
                answers orders now.
        """
        kinds = self._kinds(order)
        if len(self._turns) >= ORDERS_WAITING and order.order_id not in self._turns:
            raise Unavailable(f"{len(self._turns):,} orders are being answered; try again.")
        turn = self._turns.setdefault(order.order_id, asyncio.Lock())
        until = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(until):
                await turn.acquire()
        except TimeoutError:
            # Who has the turn goes on: the order is not ours to give up.
            raise Unavailable(f"The provider did not answer in {seconds:.0f} s.") from None
        try:
            async with asyncio.timeout_at(until):
                return await self._answer(order, kinds, seconds, decision_token)
        except TimeoutError:
            await self._give_up(order.order_id)
            raise Unavailable(f"The provider did not answer in {seconds:.0f} s.") from None
        except Exception:
            await self._give_up(order.order_id)
            raise
        finally:
            turn.release()

    async def _answer(
        self,
        order: CapacityOrder,
        kinds: Mapping[str, InstanceType],
        seconds: float,
        decision_token: int | None,
    ) -> Provisioned:
        """Answers an order, of which nobody else does at this time."""
        async with self._leadership.transaction() as conn:
            if not await instance.environment_exists(conn, order.compute_environment):
                raise NotFound(f"There is no compute environment {order.compute_environment!r}.")
            if not await capacity_order.accept(conn, order, seconds, decision_token):
                errors = await capacity_order.errors(conn, order.order_id)
                return await _provisioned(conn, order.order_id, errors)
        async with self._places:
            return await self._fulfil(order, kinds)

    async def _fulfil(self, order: CapacityOrder, kinds: Mapping[str, InstanceType]) -> Provisioned:
        """Asks the provider for an order that has its place, and puts on record what it got."""
        with self._asking_for(order) as ahead:
            async with self._leadership.transaction() as conn:
                live = await instance.count_live(conn, self._provider.name, self._machine)
                resources = await instance.compute_resources(conn, order.compute_environment)
            fulfilment = await self._ask(order, kinds, resources, live + ahead)
            async with self._leadership.transaction() as conn:
                return await self._close(conn, order, kinds, fulfilment)

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
        """Open orders that nobody answers; those that are too old by now are given up first."""
        if not await self._leadership.hold():
            return []
        async with self._leadership.transaction() as conn:
            given_up = await capacity_order.give_up_lapsed(conn, list(self._turns))
            still_open = await capacity_order.open_orders(conn)
        if given_up:
            log.warning("orders.given_up", order_ids=[str(order_id) for order_id in given_up])
        return [order for order in still_open if order.order_id not in self._turns]

    async def _ask(
        self,
        order: CapacityOrder,
        kinds: Mapping[str, InstanceType],
        resources: Json,
        live: int,
    ) -> Fulfilment:
        """Asks the provider until it answers; the caller's deadline bounds that."""
        backoff = Backoff(BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS)
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
            await asyncio.sleep(backoff.delay())

    async def _close(
        self,
        conn: Connection,
        order: CapacityOrder,
        kinds: Mapping[str, InstanceType],
        got: Fulfilment,
    ) -> Provisioned:
        """Puts on record what an order got, and closes it."""
        ordered = [(one, kinds[one.entry.instance_type]) for one in got.instances]
        await instance.insert(conn, order, self._provider.name, ordered, self._machine)
        await capacity_order.close(conn, order.order_id, got.errors)
        if got.errors:
            # The scheduler says of jobs that wait what the provider is short of.
            await instance.notify_capacity(conn)
        log.info(
            "order.accepted",
            order_id=str(order.order_id),
            compute_environment=order.compute_environment,
            instances=len(ordered),
            errors=len(got.errors),
        )
        return await _provisioned(conn, order.order_id, got.errors)

    async def _give_up(self, order_id: uuid.UUID) -> None:
        """Closes an order that is not asked for any more; if that fails, it lapses."""
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(GIVE_UP_SECONDS), self._leadership.transaction() as conn:
                await capacity_order.give_up(conn, order_id)


async def _provisioned(
    conn: Connection, order_id: uuid.UUID, errors: Sequence[CapacityError]
) -> Provisioned:
    """What a closed order got."""
    return Provisioned(order_id, await instance.of_order(conn, order_id), list(errors))
