"""Orders on their way: those that are not answered soon are answered later.

A cloud may take a minute over an order, and a provider that is away is asked again for as long. No
pass waits for that: it leaves the order in flight and goes on with the other environments. While
its order is open an environment gets no further one; once it is answered, the next pass writes down
what came of it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from longshore.domain.errors import LongshoreError, Unavailable
from longshore.domain.order import CapacityOrder
from longshore.domain.scaling.decision import Decision
from longshore.scaler.ordering import Ordering, OrderResult

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Landed:
    """An order that was answered after the pass that placed it."""

    order: CapacityOrder
    outcome: OrderResult | LongshoreError


class Flights:
    """Places orders, and keeps those that take long."""

    def __init__(self, ordering: Ordering, patience: float, answered: Callable[[], None]) -> None:
        """Makes a keeper of none.

        Args:
            ordering: places orders.
            patience: seconds after which an order is left in flight.
            answered: called when one that was left is answered.
        """
        self._ordering = ordering
        self._patience = patience
        self._answered = answered
        self._tasks: dict[asyncio.Task[OrderResult], CapacityOrder] = {}

    async def place(
        self, order: CapacityOrder, decision: Decision, token: int | None
    ) -> OrderResult | None:
        """What an order got; None if that is not known soon.

        Raises:
            LongshoreError: it was refused, or provisioning does not answer.
        """
        task = asyncio.create_task(self._ordering.place(order, decision, token))
        try:
            await asyncio.wait({task}, timeout=self._patience)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.done():
            return task.result()
        self._tasks[task] = order
        task.add_done_callback(lambda _: self._answered())
        return None

    @property
    def environments(self) -> frozenset[str]:
        """Those with an order of which what it got is not written down.

        It may not be on record yet, if provisioning is slow.
        """
        return frozenset(order.compute_environment for order in self._tasks.values())

    @property
    def any_landed(self) -> bool:
        """Whether one was answered of which what it got is not written down."""
        return any(task.done() for task in self._tasks)

    def landed(self) -> list[Landed]:
        """Orders that were answered meanwhile, until they are settled."""
        return [Landed(order, _outcome(task)) for task, order in self._tasks.items() if task.done()]

    def settle(self, landed: Landed) -> None:
        """What an order got is written down: it is not told of again."""
        self._tasks = {
            task: order for task, order in self._tasks.items() if order is not landed.order
        }

    async def close(self) -> None:
        """Waits for none any more. Provisioning answers them all the same."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


def _outcome(task: asyncio.Task[OrderResult]) -> OrderResult | LongshoreError:
    error = task.exception() if not task.cancelled() else Unavailable("The order was not awaited.")
    if error is None:
        return task.result()
    if isinstance(error, LongshoreError):
        return error
    log.error("order.failed", exc_info=error)
    return Unavailable(f"The order was not answered ({type(error).__name__}).")
