"""One pass of the scaler: load, decide, apply, and again where the provider was short."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta

import structlog

from longshore.domain.capacity import Snapshot
from longshore.domain.catalogue import Catalogue
from longshore.domain.decision import Decision, ScalingSettings
from longshore.domain.errors import Unavailable
from longshore.domain.scaling import decide, next_due
from longshore.scaler.applying import Applying, Troubles
from longshore.scaler.flight import Flights
from longshore.scaler.ordering import Ordering
from longshore.state import capacity_order, lease, scaling
from longshore.state.pool import Connection, Pool, connection, transaction

log = structlog.get_logger()

LEASE_DOMAIN = "scaler"
LEASE_SECONDS = 30.0
RENEW_SECONDS = 10.0
PASS_SECONDS = 240.0
#: For how long a round waits for an order.
PATIENCE_SECONDS = 3.0
#: Rounds of a pass: after the first one only where the provider was short of what was ordered.
ROUNDS_MOST = 3
#: Environments that are served at one time.
AT_ONCE = 16
#: When to look again at an environment with an order that is still being answered.
IN_FLIGHT_SECONDS = 5.0
#: How soon to look at the earliest whether busy instances have become idle.
LOOK_LEAST = timedelta(seconds=1)
#: How long activities are kept.
HISTORY = timedelta(days=42)
#: Of those that are older, each pass forgets so many.
PRUNE_BATCH = 100


class Scaler:
    """Decides for all managed compute environments."""

    def __init__(
        self,
        pool: Pool,
        ordering: Ordering,
        catalogue: Catalogue,
        settings: ScalingSettings,
        *,
        cool_down: timedelta = timedelta(seconds=60),
        provider: str = "local",
        patience: float = PATIENCE_SECONDS,
        wake_at: Callable[[Iterable[datetime | None]], None] = lambda _: None,
    ) -> None:
        """Makes a scaler.

        Args:
            pool: of the database.
            ordering: places orders.
            catalogue: what names of instance types stand for.
            settings: of decisions.
            cool_down: for how long what the provider was short of is not asked for again.
            provider: whose quotes hold.
            patience: seconds for which a pass waits for an order.
            wake_at: told after each pass at which times another one is due.
        """
        self._pool = pool
        self._ordering = ordering
        self._catalogue = catalogue
        self._settings = settings
        self._cool_down = cool_down
        self._provider = provider
        self._wake_at = wake_at
        self._holder = f"scaler:{uuid.uuid4()}"
        self._turn = asyncio.Lock()
        self._troubles = Troubles()
        self._flights = Flights(ordering, patience, lambda: wake_at([datetime.now(UTC)]))

    async def close(self) -> None:
        """Waits for no order any more."""
        await self._flights.close()

    async def evaluate(self) -> list[Decision]:
        """One pass; returns what was decided first, in the order of environments.

        Raises:
            Unavailable: another scaler decides, or the database is away.
            StaleLease: the lease lapsed and another scaler has gone ahead.
        """
        async with self._turn, asyncio.timeout(PASS_SECONDS):
            async with transaction(self._pool) as conn:
                token = await lease.acquire(conn, LEASE_DOMAIN, self._holder, LEASE_SECONDS)
            if token is None:
                raise Unavailable("Another scaler is deciding; try again.")
            try:
                with _first_of_group():
                    async with asyncio.TaskGroup() as group:
                        keeping = group.create_task(self._keep(token))
                        decisions = await self._pass(token)
                        keeping.cancel()
                return decisions
            finally:
                async with connection(self._pool) as conn:
                    await lease.release(conn, LEASE_DOMAIN, token)

    async def _keep(self, token: int) -> None:
        """Prolongs the lease for as long as the pass takes."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            async with connection(self._pool) as conn:
                await lease.renew(conn, LEASE_DOMAIN, token, LEASE_SECONDS)

    async def _pass(self, token: int) -> list[Decision]:
        applying = Applying(
            lambda: self._guarded(token), self._ordering, self._flights, self._troubles
        )
        async with self._guarded(token) as conn:
            if abandoned := await capacity_order.abandon(conn):
                log.warning("orders.abandoned", order_ids=[str(order) for order in abandoned])
            await scaling.prune(conn, datetime.now(UTC) - HISTORY, PRUNE_BATCH)
        await applying.take_landed()
        first, was_short = await self._round(applying)
        for _ in range(ROUNDS_MOST - 1):
            if not was_short:
                break
            _, was_short = await self._round(applying)
        return first

    async def _round(self, applying: Applying) -> tuple[list[Decision], bool]:
        """Decides once and applies it; also whether the provider was short of something."""
        now = datetime.now(UTC)
        async with transaction(self._pool) as conn:
            seen = await scaling.load_snapshot(
                conn,
                self._catalogue,
                now=now,
                cool_down=self._cool_down,
                provider=self._provider,
            )
        snapshot = seen.snapshot
        decisions = await asyncio.to_thread(decide, snapshot, now, self._settings)
        due = await asyncio.to_thread(next_due, snapshot, now, self._settings)
        environments = {env.name: env for env in snapshot.environments}
        self._troubles.keep(environments)
        waiting = seen.in_flight | self._troubles.waiting(now)
        limit = asyncio.Semaphore(AT_ONCE)

        async def apply(decision: Decision) -> bool:
            env = environments[decision.compute_environment]
            async with limit:
                return await applying.apply(env, decision, may_order=env.name not in waiting)

        with _first_of_group():
            async with asyncio.TaskGroup() as group:
                applied = [group.create_task(apply(decision)) for decision in decisions]
                group.create_task(applying.delete_empty(environments.values()))
        was_short = any(task.result() for task in applied)
        self._wake_at(
            [
                due,
                self._idle_at_first(snapshot, now),
                seen.cool_down_ends_at,
                datetime.now(UTC) + self._cool_down if was_short else None,
                now + timedelta(seconds=IN_FLIGHT_SECONDS) if seen.in_flight else None,
                now if self._flights.any_landed else None,
                *self._troubles.times(),
            ]
        )
        return decisions, was_short

    def _idle_at_first(self, snapshot: Snapshot, now: datetime) -> datetime | None:
        """When an instance that is busy could have been idle for long enough; nobody tells."""
        if not any(instance.live_attempts and instance.is_ours for instance in snapshot.instances):
            return None
        return now + max(self._settings.idle, LOOK_LEAST)

    @contextlib.asynccontextmanager
    async def _guarded(self, token: int) -> AsyncIterator[Connection]:
        """A transaction that only the holder of the lease commits."""
        async with transaction(self._pool) as conn:
            await lease.check(conn, LEASE_DOMAIN, token)
            yield conn


@contextlib.contextmanager
def _first_of_group() -> Iterator[None]:
    """Raises the first error of a group of tasks by itself: the others follow from it."""
    try:
        yield
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
