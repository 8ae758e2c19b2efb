"""Forgets what was over long ago, so that what is there now is found quickly."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog

from longshore.state.leadership import Leadership
from longshore.state.pool import Connection
from longshore.state.provisioning import capacity_order, instance, joining

log = structlog.get_logger()

#: Rows that a transaction forgets, and transactions of a pass for each table.
BATCH = 1_000
BATCHES_MOST = 20
#: How long a token that is over is kept: its use may be asked about.
TOKENS_KEPT = timedelta(days=1)


class InstanceHistory:
    """Keeps instances that are over, what they cost and their orders for a time."""

    def __init__(self, leadership: Leadership, kept: timedelta) -> None:
        """Makes a keeper.

        Args:
            leadership: the lease of provisioning.
            kept: for how long what is over is kept.
        """
        self._leadership = leadership
        self._kept = kept

    async def tick(self) -> None:
        """Forgets some; what is left is for the next pass."""
        if not await self._leadership.hold():
            return
        before = datetime.now(UTC) - self._kept
        # Instances before the orders that they are of.
        await self._forget("instances", instance.prune, before)
        await self._forget("capacity_orders", capacity_order.prune, before)
        await self._forget("environment_costs", instance.prune_costs, before)
        await self._forget("agent_identities", joining.prune_identities, before)
        await self._forget("join_tokens", joining.prune_tokens, datetime.now(UTC) - TOKENS_KEPT)

    async def _forget(
        self,
        what: str,
        prune: Callable[[Connection, datetime, int], Awaitable[int]],
        before: datetime,
    ) -> None:
        count = 0
        for _ in range(BATCHES_MOST):
            async with self._leadership.transaction() as conn:
                some = await prune(conn, before, BATCH)
            count += some
            if some < BATCH:
                break
        if count:
            log.info("history.forgotten", what=what, count=count)
