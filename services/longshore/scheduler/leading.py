"""Leading: the lease of a domain, and the mirror that only its holder may trust."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import structlog

from longshore.domain.errors import Unavailable
from longshore.scheduler.apart import Aside
from longshore.scheduler.instances import drain_leaving
from longshore.scheduler.isolating import Pass
from longshore.scheduler.memory import Memory
from longshore.scheduler.reading import read_consumables, read_topology
from longshore.state.leadership import Leadership
from longshore.state.pool import Connection
from longshore.state.scheduler import topology

log = structlog.get_logger()


class Lead:
    """The lease, the mirror, and what of the mirror is to be read again.

    The mirror does not outlive the lease. All that changes it takes its turn.
    """

    def __init__(self, leadership: Leadership, cool_down: timedelta) -> None:
        """Makes a lead that is not held.

        Args:
            leadership: the lease of the domain.
            cool_down: how long the scaler does not ask again for what the provider was short of.
        """
        self.leadership = leadership
        self.turn = asyncio.Lock()
        self.memory: Memory | None = None
        self.topology_changed = False
        self.capacity_changed = False
        self.consumables_changed = False
        #: Told that the lease is no longer held.
        self.on_lost: Callable[[], None] = lambda: None
        #: Told that the mirror was loaded: what was stored last may never have been told.
        self.on_loaded: Callable[[Memory], None] = lambda _: None
        self._cool_down = cool_down
        self._aside = Aside()

    @property
    def held(self) -> bool:
        """Whether this process holds the domain, as far as it knows."""
        return self.leadership.held

    async def hold(self) -> bool:
        """Takes or prolongs the lease; True if it is held afterwards."""
        before = self.held
        after = await self.leadership.hold()
        if before and not after:
            self._step_down()
        return after

    async def release(self) -> None:
        """Gives the domain back, so that a successor need not wait."""
        async with self.turn:
            self._step_down()
            await self.leadership.release()

    def discard(self) -> None:
        """Throws the mirror away: how much of it is true is not known.

        What was set aside is known all the same. An agent whose report of an end was acknowledged,
        although it could not be stored, says it once more to another scheduler alone.
        """
        self.memory = None

    def _step_down(self) -> None:
        self.discard()
        self._aside = Aside()
        self.on_lost()

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[tuple[Connection, Memory]]:
        """A transaction of the holder, with the mirror loaded.

        The mirror does not outlive the lease, nor a connection that broke.
        """
        try:
            async with self.leadership.transaction() as conn:
                if self.memory is None:
                    self.memory = await Memory.load(conn, time.monotonic())
                    self.memory.aside = self._aside
                    self.capacity_changed = True
                    self.on_loaded(self.memory)
                    log.info(
                        "memory.loaded",
                        instances=len(self.memory.instances),
                        live=len(self.memory.live),
                    )
                yield conn, self.memory
        except Unavailable:
            self.discard()
            if not self.held:
                self._step_down()
            raise

    async def refresh(self, this: Pass) -> list[str]:
        """Reads queues, environments, supply and leaving instances again if they changed.

        Where that fails, what was known of them holds until they are read. Returns the instances
        that drain from now on.
        """
        drained: list[str] = []
        memory, now = this.memory, this.changes.now
        if self.topology_changed:
            self.topology_changed = False
            if not await read_topology(this):
                self.topology_changed = True
        if self.capacity_changed:
            self.capacity_changed = False
            supply = await this.part(
                "supply", lambda: topology.supply(this.conn, now, self._cool_down), None
            )
            if supply is not None:
                memory.see_supply(supply)
            left = await this.part("leaving", lambda: drain_leaving(this.conn, memory), None)
            drained = left or []
            if supply is None or left is None:
                self.capacity_changed = True
        if self.consumables_changed:
            self.consumables_changed = False
            if not await read_consumables(this):
                self.consumables_changed = True
        memory.forget_shortages(now)
        return drained
