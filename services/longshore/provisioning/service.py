"""Use cases of provisioning: order capacity, give instances back, interrupt them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from longshore.domain.errors import LongshoreError, NotFound, PreconditionFailed, Unavailable
from longshore.domain.instance import NOTICE_MARGIN, InstanceStatus
from longshore.domain.order import CapacityOrder
from longshore.provisioning.instances.watch import run_all
from longshore.provisioning.orders.fulfilling import ANSWER_SECONDS, Fulfilling, Provisioned
from longshore.state.leadership import Leadership
from longshore.state.pool import Pool, transaction
from longshore.state.provisioning import instance

log = structlog.get_logger()

INTERRUPTED = "Spot interruption: the provider takes the instance back at {:%H:%M:%S} UTC."


class Provisioning:
    """Records what is ordered and given back; loops do the rest."""

    def __init__(
        self,
        pool: Pool,
        *,
        leadership: Leadership,
        fulfilling: Fulfilling,
        provider_name: str,
        wake: Callable[[], None],
    ) -> None:
        """Makes the service.

        Args:
            pool: the database.
            leadership: the lease of provisioning.
            fulfilling: what gets what is ordered.
            provider_name: the provider's, as on record.
            wake: asks for a pass over instances.
        """
        self._pool = pool
        self._leadership = leadership
        self._fulfilling = fulfilling
        self._provider_name = provider_name
        self._wake = wake

    async def provision(
        self,
        order: CapacityOrder,
        seconds: float = ANSWER_SECONDS,
        decision_token: int | None = None,
    ) -> Provisioned:
        """Gets what may be had of an order, once, however often it is asked.

        Args and errors are those of `Fulfilling.answer`.
        """
        if not self._leadership.held and not await self._leadership.hold():
            raise Unavailable("Another provisioning service is at work; try again.")
        answer = await self._fulfilling.answer(order, seconds, decision_token)
        self._wake()
        return answer

    async def resume(self) -> None:
        """Answers open orders whose caller went away, or that a holder before this one died over.

        The provider is asked again, by the same id: it may have launched something for them.
        """
        await run_all(map(self._resume, await self._fulfilling.left_over()))

    async def _resume(self, order: CapacityOrder) -> None:
        try:
            await self._fulfilling.answer(order, ANSWER_SECONDS)
        except LongshoreError as error:
            log.warning("order.unanswered", order_id=str(order.order_id), error=error.message)
        self._wake()

    async def terminate(
        self, instance_ids: Sequence[str], reason: str, drain_until: datetime | None = None
    ) -> list[str]:
        """Asks for the end of instances; returns those that were live and not asked before."""
        async with transaction(self._pool) as conn:
            terminating = await instance.terminating(
                conn, instance_ids, reason, drain_until=drain_until
            )
        for instance_id in terminating:
            log.info("instance.terminating", instance_id=instance_id, reason=reason)
        self._wake()
        return terminating

    async def interrupt(self, instance_id: str, notice: timedelta) -> datetime:
        """Plays an interruption: the instance drains, and ends when the notice is over.

        Returns:
            When it ends.

        Raises:
            NotFound: there is no such instance.
            PreconditionFailed: it is over, or on its way out.
        """
        now = datetime.now(UTC)
        ends_at = now + notice
        reason = INTERRUPTED.format(ends_at)
        async with transaction(self._pool) as conn:
            status = await instance.lock_status(conn, instance_id)
            if status is None:
                text = f"longshore launched no instance {instance_id}."
                raise NotFound(text, instance_id=instance_id)
            if status not in (InstanceStatus.ORDERED, InstanceStatus.LAUNCHED):
                raise PreconditionFailed(
                    f"Instance {instance_id} is {status}: only one that is there, and not on its "
                    "way out, can be interrupted."
                )
            await instance.terminating(
                conn,
                [instance_id],
                reason,
                drain_until=max(ends_at - NOTICE_MARGIN, now),
                ends_at=ends_at,
            )
        log.info("instance.interrupted", instance_id=instance_id, ends_at=ends_at.isoformat())
        self._wake()
        return ends_at

    async def take_notices(self) -> None:
        """Drains instances whose agents were told by the provider that they will be taken away."""
        async with transaction(self._pool) as conn:
            noticed = await instance.take_notices(conn, self._provider_name, NOTICE_MARGIN)
        for instance_id, reason in noticed:
            log.info("instance.noticed", instance_id=instance_id, reason=reason)
        if noticed:
            self._wake()
