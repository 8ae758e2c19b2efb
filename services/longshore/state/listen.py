"""LISTEN on a connection of its own: a notification only wakes, the tables are the truth."""

import asyncio
from collections.abc import Callable, Mapping

import asyncpg
import structlog

from longshore.backoff import Backoff
from longshore.state.pool import ACQUIRE_SECONDS, Connection

log = structlog.get_logger()

#: Jobs were submitted, or requests to cancel or terminate were recorded.
JOBS = "longshore_jobs"
#: The scheduler says: demand, or what is known of agents, changed. Who decides about instances
#: should look.
DEMAND = "longshore_demand"
#: Provisioning says: instances are on their way out or over, or may be had otherwise than before.
CAPACITY = "longshore_capacity"
#: Compute environments or queues changed.
ENVIRONMENTS = "longshore_environments"
#: There is more, or less, of consumable resources.
CONSUMABLES = "longshore_consumables"
#: Rules of events changed, or their targets.
EVENT_RULES = "longshore_event_rules"
#: Something happened that events tell of.
EVENTS = "longshore_events"
#: There are more events to deliver.
DELIVERIES = "longshore_deliveries"
#: Users, keys or policies changed.
ACCESS = "longshore_access"

#: Between tries to connect again.
RECONNECT_FIRST_SECONDS = 0.5
RECONNECT_LAST_SECONDS = 5.0


class Listener:
    """Calls a function per channel whenever it is notified, and once after each (re)connect."""

    def __init__(self, database_url: str, wakes: Mapping[str, Callable[[], None]]) -> None:
        self._database_url = database_url
        self._wakes = wakes
        self._backoff = Backoff(RECONNECT_FIRST_SECONDS, RECONNECT_LAST_SECONDS)

    async def run(self) -> None:
        """Listens until cancelled; connects again when the connection breaks."""
        while True:
            try:
                await self._listen()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("listener.broken", error=str(error))
            await asyncio.sleep(self._backoff.delay())

    async def _listen(self) -> None:
        broken = asyncio.Event()
        connection = await asyncpg.connect(self._database_url, timeout=ACQUIRE_SECONDS)
        try:
            connection.add_termination_listener(lambda _: broken.set())
            for channel, wake in self._wakes.items():
                await connection.add_listener(channel, lambda *_, wake=wake: wake())
            self._backoff.reset()
            for wake in self._wakes.values():
                wake()
            await broken.wait()
        finally:
            await connection.close(timeout=ACQUIRE_SECONDS)


async def notify(conn: Connection, channel: str) -> None:
    """Wakes the listeners of a channel when the transaction commits."""
    await conn.execute("SELECT pg_notify($1, '')", channel)
