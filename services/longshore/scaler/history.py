"""Forgets activities of long ago."""

from datetime import UTC, datetime, timedelta

from longshore.state.pool import Pool, transaction
from longshore.state.scaler import scaling

#: Activities that a pass forgets.
PRUNE_BATCH = 1_000


class ActivityHistory:
    """Keeps activities for a time; several may do so side by side."""

    def __init__(self, pool: Pool, kept: timedelta) -> None:
        """Makes a keeper.

        Args:
            pool: of the database.
            kept: for how long activities are kept.
        """
        self._pool = pool
        self._kept = kept

    async def tick(self) -> None:
        """Forgets some; what is left is for the next pass."""
        async with transaction(self._pool) as conn:
            await scaling.prune(conn, datetime.now(UTC) - self._kept, PRUNE_BATCH)
